"""Normals, and Phong's lamps. Frame and winding are those of `sim3dr.rasterizer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr.mesh import (
    Floats,
    Indices,
    Mesh,
    checked_meshes,
    checked_triangles,
    checked_vertices,
)
from sim3dr.rasterizer import ENGINES, Engine
from sim3dr.threads import checked_threads, run_all

WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Lighting:
    """An even glow and one white or coloured lamp, far away or near.

    Attributes:
        ambient: Share of the surface's colour seen in full shadow.
        directional: Share added where the lamp shines straight onto the surface.
        specular: Share of 255 added where the lamp mirrors straight into the eye.
        specular_exponent: The higher, the smaller the highlight.
        ambient_colour: (3,) factors of red, green and blue.
        lamp_colour: (3,) factors of red, green and blue.
        light_direction: (3,) of a far lamp, into the scene; (0, 0, 1) is a lamp at the camera.
        light_position: (3,) of a near lamp, in the frame of the vertices; None: the lamp is far.
        view_position: (3,) of the eye; None: it is far, and looks along +z.

    Raises:
        TypeError: A number is none.
        ValueError: A number is not finite or is negative, a triple is none, or the direction has no
            length.
    """

    ambient: float = 0.35
    directional: float = 0.65
    specular: float = 0.0
    specular_exponent: float = 5.0
    ambient_colour: tuple[float, float, float] = WHITE
    lamp_colour: tuple[float, float, float] = WHITE
    light_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    light_position: tuple[float, float, float] | None = None
    view_position: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("ambient", "directional", "specular", "specular_exponent"):
            value = getattr(self, name)
            if not isinstance(value, SupportsFloat):
                raise TypeError(f"{name} must be a number, not {value!r}")
            if not (np.isfinite(float(value)) and float(value) >= 0):
                raise ValueError(f"{name} must be 0 or greater, not {value}")
        for name in ("ambient_colour", "lamp_colour", "light_direction"):
            self._check_triple(name)
        for name in ("ambient_colour", "lamp_colour"):
            if min(getattr(self, name)) < 0:
                raise ValueError(f"{name} must be 0 or greater, not {getattr(self, name)}")
        for name in ("light_position", "view_position"):
            if getattr(self, name) is not None:
                self._check_triple(name)
        if not np.linalg.norm(self.light_direction) > 0:
            raise ValueError("light_direction must not be all 0")

    def _check_triple(self, name: str) -> None:
        value = np.asarray(getattr(self, name), dtype=np.float64)
        if value.shape != (3,) or not np.isfinite(value).all():
            raise ValueError(f"{name} must be three numbers, not {getattr(self, name)}")
        object.__setattr__(self, name, tuple(value.tolist()))


def vertex_normals(
    vertices: ArrayLike, triangles: ArrayLike, *, engine: Engine = "numba"
) -> Floats:
    """Mean direction in which the surface around each vertex faces.

    Args:
        vertices: (V, 3), any unit; x right, y down, z away from the camera.
        triangles: (T, 3) vertex indices, corners clockwise seen from outside.
        engine: `numba`, or its plain twin `numpy`.

    Returns:
        (V, 3) float64 unit vectors that point outward, the mean of the triangles around weighted
        by their area; zero at vertices without a triangle that has an area.

    Raises:
        TypeError: Something of the wrong type is given.
        ValueError: A shape or value is wrong, or an index lies outside the vertices.
    """
    points = checked_vertices(vertices)
    return _normals(points, checked_triangles(triangles, len(points)), engine)


def _check_engine(engine: Engine) -> None:
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")


def _normals(points: Floats, corners: Indices, engine: Engine) -> Floats:
    _check_engine(engine)
    normals = np.zeros_like(points)
    if engine == "numba":
        from sim3dr import kernels

        kernels.vertex_normals(points, corners, normals)
        return normals
    a, b, c = points[corners].transpose(1, 0, 2)
    # Clockwise from outside in a right-handed frame: this order of the sides points outward.
    facing = np.cross(c - a, b - a)
    for triangle_corners in corners.T:
        np.add.at(normals, triangle_corners, facing)
    return _unit(normals)


def _unit(vectors: NDArray[np.float64]) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Floats = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return unit


def phong(
    colours: ArrayLike,
    normals: ArrayLike,
    lighting: Lighting | None = None,
    points: ArrayLike | None = None,
    *,
    engine: Engine = "numba",
) -> Floats:
    """Lights surfaces; nothing casts a shadow.

    Args:
        colours: (V, 3) or (3,), the surface's own colour, 0..255.
        normals: (V, 3) outward unit vectors.
        lighting: None: `Lighting()`.
        points: (V, 3) where the normals stand; needed with a near lamp or eye only.
        engine: `numba`, or its plain twin `numpy`.

    Returns:
        (V, 3) float64; above 255 where the shares add up to more than 1.

    Raises:
        ValueError: A shape is wrong, `points` are missing or the engine is not known.

    Source: Phong, Illumination for Computer Generated Pictures, 1975.
    """
    _check_engine(engine)
    lamps = Lighting() if lighting is None else lighting
    outward = np.ascontiguousarray(normals, dtype=np.float64)
    if outward.ndim != 2 or outward.shape[1] != 3:
        raise ValueError(f"normals must have shape (V, 3), not {outward.shape}")
    own = np.asarray(colours, dtype=np.float64)
    if own.shape not in ((3,), outward.shape):
        raise ValueError(f"colours must have shape (3,) or {outward.shape}, not {own.shape}")
    near = lamps.light_position is not None or lamps.view_position is not None
    if near and points is None:
        raise ValueError("points: a near lamp or eye needs to know where the surface is")
    places = outward if points is None else np.ascontiguousarray(points, dtype=np.float64)
    if places.shape != outward.shape:
        raise ValueError(f"points must have shape {outward.shape}, not {places.shape}")
    if engine == "numpy":
        return _phong_plain(own, outward, lamps, places)
    from sim3dr import kernels

    lit = np.empty_like(outward)
    kernels.phong(
        np.ascontiguousarray(own.reshape(-1, 3)),
        outward,
        places,
        lamps.ambient * np.array(lamps.ambient_colour),
        lamps.directional * np.array(lamps.lamp_colour),
        255 * lamps.specular * np.array(lamps.lamp_colour),
        lamps.specular_exponent,
        lamps.light_position is not None,
        _towards_lamp(lamps),
        lamps.view_position is not None,
        _towards_eye(lamps),
        lit,
    )
    return lit


def _towards_lamp(lamps: Lighting) -> Floats:
    """The lamp's place if it is near, else the unit vector that leads to it."""
    if lamps.light_position is not None:
        return np.array(lamps.light_position)
    return -_unit(np.array(lamps.light_direction))


def _towards_eye(lamps: Lighting) -> Floats:
    return np.array([0.0, 0.0, -1.0] if lamps.view_position is None else lamps.view_position)


def _phong_plain(own: Floats, outward: Floats, lamps: Lighting, points: Floats) -> Floats:
    lamp, eye = _towards_lamp(lamps), _towards_eye(lamps)
    to_lamp = lamp if lamps.light_position is None else _unit(lamp - points)
    to_eye = eye if lamps.view_position is None else _unit(eye - points)
    cosine = (outward * to_lamp).sum(axis=-1)
    mirrored = 2 * cosine[:, None] * outward - to_lamp
    into_eye = np.maximum((mirrored * to_eye).sum(axis=-1), 0.0)
    highlight = np.where(cosine > 0, into_eye**lamps.specular_exponent, 0.0)
    lamp_colour = np.array(lamps.lamp_colour)
    glow = lamps.ambient * np.array(lamps.ambient_colour)
    lit: Floats = own * (glow + lamps.directional * lamp_colour * np.maximum(cosine, 0)[:, None])
    lit += 255 * lamps.specular * lamp_colour * highlight[:, None]
    return lit


def light_meshes(
    meshes: Sequence[Mesh],
    lighting: Lighting | None = None,
    *,
    threads: int | None = None,
    engine: Engine = "numba",
) -> list[Mesh]:
    """The meshes with light on their colours, by the normals of their vertices.

    Args:
        meshes: Vertices in the camera's frame, for highlights and near lamps to be right.
        lighting: None: `Lighting()`.
        threads: None: as many as there are cores; each takes whole meshes.
        engine: `numba`, or its plain twin `numpy`.

    Returns:
        New meshes in the same order.

    Raises:
        TypeError: Something else than meshes is given.
        ValueError: `threads` or `engine` is wrong.
    """
    scene = checked_meshes(meshes)

    def light(mesh: Mesh) -> Mesh:
        normals = _normals(mesh.vertices, mesh.triangles, engine)
        colours = phong(mesh.vertex_colours, normals, lighting, mesh.vertices, engine=engine)
        return mesh.with_colours(colours)

    return run_all(light, scene, checked_threads(threads))
