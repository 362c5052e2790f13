"""Normals and lamps. Frame and winding are those of `sim3dr.rasterizer`."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr.mesh import checked_vertices_and_triangles
from sim3dr.rasterizer import Engine, check_engine


def vertex_normals(
    vertices: ArrayLike, triangles: ArrayLike, *, engine: Engine = "numba"
) -> NDArray[np.float64]:
    """Mean direction in which the surface around each vertex faces.

    Args:
        vertices: (V, 3), any unit; x right, y down, z away from the camera.
        triangles: (T, 3) vertex indices, corners clockwise seen from outside.
        engine: "numba" or "numpy".

    Returns:
        (V, 3) unit vectors that point outward, the mean of the triangles around weighted by their
        area; zero at vertices without a triangle that has an area.

    Raises:
        TypeError: An array does not hold numbers of the right kind.
        ValueError: A shape is wrong, a vertex is not finite or an index lies outside the vertices.
    """
    check_engine(engine)
    points, corners = checked_vertices_and_triangles(vertices, triangles)
    if engine == "numba":
        from sim3dr import kernels

        normals = np.zeros_like(points)
        kernels.vertex_normals(points, corners, normals)
        return normals
    a, b, c = points[corners].transpose(1, 0, 2)
    # Clockwise from outside in a right-handed frame: this order of the sides points outward.
    facing = np.cross(c - a, b - a)
    normals = np.zeros_like(points)
    for corner in corners.T:
        np.add.at(normals, corner, facing)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(
        normals, length, out=np.zeros_like(normals), where=length > 0
    )
    return unit


@dataclass(frozen=True)
class PhongLight:
    """A lamp, an even glow, and the place from which the surface is seen.

    Places and directions are in the frame of the vertices that are lit. With the camera's frame
    and nothing else said, lamp and viewer are at the camera.

    Attributes:
        intensity_ambient: Share of the surface's colour that is seen in full shadow.
        color_ambient: (3,) colour of the glow, 1 for full.
        intensity_directional: Share added where the lamp shines straight onto the surface.
        color_directional: (3,) colour of the lamp, 1 for full.
        intensity_specular: Share added where the lamp is mirrored to the viewer.
        specular_exp: How small that highlight is; above 0.
        light_pos: (3,) place of the lamp.
        view_pos: (3,) place of the viewer.
        light_direction: (3,) from the lamp into the scene, for a lamp so far away that its light
            comes from one side; `light_pos` is then not used.

    Raises:
        TypeError: A value is no number.
        ValueError: A value is not finite or not allowed.
    """

    intensity_ambient: float = 0.35
    color_ambient: tuple[float, float, float] = (1.0, 1.0, 1.0)
    intensity_directional: float = 0.65
    color_directional: tuple[float, float, float] = (1.0, 1.0, 1.0)
    intensity_specular: float = 0.0
    specular_exp: float = 5.0
    light_pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    view_pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    light_direction: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "light_direction":
                continue
            triple = isinstance(field.default, tuple) or field.name == "light_direction"
            try:
                array = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError):
                raise TypeError(f"{field.name} must be numbers, not {value!r}") from None
            if array.shape != ((3,) if triple else ()) or not np.isfinite(array).all():
                wanted = "three finite numbers" if triple else "a finite number"
                raise ValueError(f"{field.name} must be {wanted}, not {value!r}")
            kept = tuple(array.tolist()) if triple else float(array)
            object.__setattr__(self, field.name, kept)
        if not self.specular_exp > 0:
            raise ValueError(f"specular_exp must be above 0, not {self.specular_exp}")
        if self.light_direction is not None and not any(self.light_direction):
            raise ValueError("light_direction must not be 0, 0, 0")


def _checked_rows(name: str, value: ArrayLike, shapes: list[tuple[int, ...]]) -> NDArray[np.float64]:
    array = np.ascontiguousarray(value, dtype=np.float64)
    if array.shape not in shapes:
        wanted = " or ".join(str(shape) for shape in shapes)
        raise ValueError(f"{name} must have shape {wanted}, not {array.shape}")
    return array


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V, 3) of length 1; zero where they have none."""
    x, y, z = vectors.T
    length = np.sqrt(x * x + y * y + z * z)[:, None]
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def _plain_phong(
    own: NDArray[np.float64],
    points: NDArray[np.float64],
    outward: NDArray[np.float64],
    light: PhongLight,
) -> NDArray[np.float64]:
    if light.light_direction is None:
        to_lamp = _unit(np.array(light.light_pos) - points)
    else:
        to_lamp = _unit(-np.array([light.light_direction]))
    facing_lamp = np.maximum((outward * to_lamp).sum(axis=1), 0.0)[:, None]
    glow = light.intensity_ambient * np.array(light.color_ambient)
    share = glow + light.intensity_directional * np.array(light.color_directional) * facing_lamp
    if light.intensity_specular:
        to_viewer = _unit(np.array(light.view_pos) - points)
        mirrored = 2.0 * facing_lamp * outward - to_lamp
        along = np.maximum((mirrored * to_viewer).sum(axis=1), 0.0)[:, None]
        highlight = np.where(facing_lamp > 0, along**light.specular_exp, 0.0)
        share = share + light.intensity_specular * np.array(light.color_directional) * highlight
    lit: NDArray[np.float64] = own * share
    return lit


def phong(
    colours: ArrayLike,
    vertices: ArrayLike,
    normals: ArrayLike,
    light: PhongLight | None = None,
    *,
    engine: Engine = "numba",
) -> NDArray[np.float64]:
    """Lights a surface after Phong: a glow, a matt surface before a lamp, and a highlight.

    The three shares are added and multiply the surface's colour. Nothing is limited: colours may
    leave their range where the shares add up to more than 1.

    Args:
        colours: (V, 3) or (3,), the surface's own colour in any unit.
        vertices: (V, 3), in the frame of the light's places.
        normals: (V, 3) outward unit vectors in the same frame.
        light: Lamp, glow and viewer; `PhongLight()` if not given.
        engine: "numba" or "numpy".

    Returns:
        (V, 3) float64 colours, in the unit of `colours`.

    Raises:
        ValueError: A shape is wrong.

    Source:
        Phong, Illumination for computer generated pictures, CACM 1975.
    """
    check_engine(engine)
    light = PhongLight() if light is None else light
    points = np.ascontiguousarray(vertices, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"vertices must have shape (V, 3), not {points.shape}")
    outward = _checked_rows("normals", normals, [points.shape])
    own = _checked_rows("colours", colours, [(3,), points.shape])
    if engine == "numpy":
        return _plain_phong(own, points, outward, light)
    from sim3dr import kernels

    far = light.light_direction is not None
    lamp = -np.array(light.light_direction) if far else np.array(light.light_pos)
    lit = np.empty_like(points)
    kernels.phong(
        own.reshape(-1, 3),
        points,
        outward,
        light.intensity_ambient * np.array(light.color_ambient),
        light.intensity_directional * np.array(light.color_directional),
        light.intensity_specular * np.array(light.color_directional),
        light.specular_exp,
        lamp,
        far,
        np.array(light.view_pos),
        lit,
    )
    return lit


def shade(
    colours: ArrayLike,
    normals: ArrayLike,
    *,
    ambient: float = 0.35,
    directional: float = 0.65,
    light_direction: ArrayLike = (0.0, 0.0, 1.0),
) -> NDArray[np.float64]:
    """Lights matt surfaces by one far lamp and an even glow; `phong` without a highlight.

    Args:
        colours: (V, 3) or (3,), the surface's own colour.
        normals: (V, 3) outward unit vectors.
        ambient: Share of the colour seen in full shadow.
        directional: Share added where the lamp shines straight onto the surface.
        light_direction: (3,) from the lamp into the scene; (0, 0, 1) is a lamp at the camera.

    Returns:
        (V, 3) float64 colours, in the unit of `colours`; above its range if the two shares are.

    Raises:
        ValueError: A shape is wrong or the direction has no length.
    """
    outward = np.asarray(normals, dtype=np.float64)
    if outward.ndim != 2 or outward.shape[1] != 3:
        raise ValueError(f"normals must have shape (V, 3), not {outward.shape}")
    light = PhongLight(ambient, intensity_directional=directional, light_direction=light_direction)  # type: ignore[arg-type]
    # A far lamp lights a matt surface alike wherever it stands.
    return phong(colours, np.zeros_like(outward), outward, light, engine="numpy")
