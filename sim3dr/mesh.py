"""Triangle meshes, checked once when they are built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int32]


def _all_finite(array: NDArray[Any]) -> bool:
    # One sum tells of most arrays that nothing is wrong; it may overflow, then each is looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def checked_vertices(vertices: ArrayLike, name: str = "vertices") -> Floats:
    """Points as C-ordered float64 (V, 3).

    Raises:
        TypeError: They are not real numbers.
        ValueError: The shape is wrong, there are none, or one is not finite.
    """
    points = np.asarray(vertices)
    if not (np.issubdtype(points.dtype, np.floating) or np.issubdtype(points.dtype, np.integer)):
        raise TypeError(f"{name} must be real numbers, not {points.dtype}")
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{name} must have shape (V, 3), not {points.shape}")
    if not len(points):
        raise ValueError(f"{name}: the mesh is empty; it needs at least one triangle")
    result = np.ascontiguousarray(points, dtype=np.float64)
    if not _all_finite(result):
        bad = ~np.isfinite(result).all(axis=1)
        first = int(bad.argmax())
        raise ValueError(
            f"{name}: {int(bad.sum())} are not finite, the first is {first}:"
            f" {result[first].tolist()}"
        )
    return result


def checked_triangles(triangles: ArrayLike, count: int, name: str = "triangles") -> Indices:
    """Corners as C-ordered int32 (T, 3).

    Args:
        triangles: Whole numbers from 0 to `count` - 1.
        count: How many vertices there are.
        name: For errors.

    Raises:
        TypeError: They are not whole numbers.
        ValueError: The shape is wrong, there are none, or one names no vertex.
    """
    corners = np.asarray(triangles)
    if corners.ndim != 2 or corners.shape[1] != 3:
        raise ValueError(f"{name} must have shape (T, 3), not {corners.shape}")
    if not len(corners):
        raise ValueError(f"{name}: the mesh is empty; it needs at least one triangle")
    if not np.issubdtype(corners.dtype, np.integer):
        raise TypeError(f"{name} must be whole numbers, not {corners.dtype}")
    if corners.min() < 0 or corners.max() >= count:
        raise ValueError(
            f"{name} must name vertices 0 to {count - 1}, not {corners.min()} to {corners.max()}"
        )
    return np.ascontiguousarray(corners, dtype=np.int32)


def within_float32(array: NDArray[Any]) -> bool:
    """Whether pictures, which are float32, can hold the numbers; False if one is not finite."""
    low, high = float(array.min()), float(array.max())
    limit = float(np.finfo(np.float32).max)
    return -limit <= low and high <= limit


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface of triangles with a colour at each vertex, or a texture.

    Attributes:
        vertices: (V, 3) float64. Where `rasterize` is given intrinsics, points in the camera's
            frame (x to the right, y down, z away); else on the screen: x and y in pixels, z any
            depth that grows away from the camera.
        triangles: (T, 3) int32 vertex indices, clockwise on the screen where the front is seen.
        colours: (V, 3) float64, 0..255, of the vertices; one colour (3,) for all is spread out.
            White where neither colours nor a texture are given. With a texture, the light on the
            vertices, as shares of 255 that the texture is multiplied by.
        texture: (h, w, 3) float32, 0..255, or None.
        texture_coordinates: (U, 2) float64 or None: u to the right and v upward, as in OBJ files;
            (0, 0) is the texture's left lower corner, (1, 1) its right upper one.
        texture_triangles: (T, 3) int32 indices of texture coordinates; `triangles` where they are
            not given.

    Raises:
        TypeError: Something of the wrong type is given.
        ValueError: A shape is wrong, the mesh is empty, a number is not finite or an index names
            nothing.
    """

    vertices: Floats
    triangles: Indices
    colours: Floats | None = None
    texture: NDArray[np.float32] | None = None
    texture_coordinates: Floats | None = None
    texture_triangles: Indices | None = None

    def __post_init__(self) -> None:
        vertices = checked_vertices(self.vertices)
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "triangles", checked_triangles(self.triangles, len(vertices)))
        colours = np.full(3, 255.0) if self.colours is None else self.colours
        object.__setattr__(self, "colours", _checked_colours(colours, len(vertices)))
        self._check_texture()

    @property
    def vertex_colours(self) -> Floats:
        """(V, 3): `colours`, of which there are always some once the mesh is built."""
        assert self.colours is not None
        return self.colours

    def with_colours(self, colours: ArrayLike) -> Mesh:
        """The same mesh with other colours, (V, 3) or (3,); nothing else is checked again."""
        mesh = copy(self)
        object.__setattr__(mesh, "colours", _checked_colours(colours, len(self.vertices)))
        return mesh

    def _check_texture(self) -> None:
        if (self.texture is None) != (self.texture_coordinates is None):
            raise ValueError("texture and texture_coordinates belong together: give both or none")
        if self.texture is None or self.texture_coordinates is None:
            if self.texture_triangles is not None:
                raise ValueError("texture_triangles: given without a texture")
            return
        texture = np.asarray(self.texture)
        if texture.ndim != 3 or texture.shape[2] != 3 or not texture.size:
            raise ValueError(f"texture must have shape (h, w, 3), not {texture.shape}")
        if not np.issubdtype(texture.dtype, np.number) or np.iscomplexobj(texture):
            raise TypeError(f"texture must be real numbers, not {texture.dtype}")
        coordinates = np.asarray(self.texture_coordinates)
        if coordinates.ndim != 2 or coordinates.shape[1] != 2:
            raise ValueError(f"texture_coordinates must have shape (U, 2), not {coordinates.shape}")
        if not np.issubdtype(coordinates.dtype, np.floating):
            raise TypeError(f"texture_coordinates must be floats, not {coordinates.dtype}")
        if not _all_finite(coordinates):
            raise ValueError("texture_coordinates must be finite")
        if not within_float32(texture):
            raise ValueError("texture must be finite, and within float32")
        given = self.triangles if self.texture_triangles is None else self.texture_triangles
        corners = checked_triangles(given, len(coordinates), "texture_triangles")
        if len(corners) != len(self.triangles):
            raise ValueError(
                f"texture_triangles must be as many as triangles, {len(self.triangles)}, not"
                f" {len(corners)}"
            )
        object.__setattr__(self, "texture", np.ascontiguousarray(texture, dtype=np.float32))
        object.__setattr__(
            self, "texture_coordinates", np.ascontiguousarray(coordinates, dtype=np.float64)
        )
        object.__setattr__(self, "texture_triangles", corners)


def _checked_colours(colours: ArrayLike, count: int) -> Floats:
    given = np.asarray(colours)
    if not np.issubdtype(given.dtype, np.number) or np.iscomplexobj(given):
        raise TypeError(f"colours must be real numbers, not {given.dtype}")
    if given.shape not in ((3,), (count, 3)):
        raise ValueError(f"colours must have shape (3,) or ({count}, 3), not {given.shape}")
    result = np.ascontiguousarray(np.broadcast_to(given, (count, 3)), dtype=np.float64)
    if not within_float32(result):
        raise ValueError("colours must be finite, and within float32")
    return result


def checked_meshes(meshes: Mesh | Sequence[Mesh]) -> list[Mesh]:
    """One mesh or several as a list.

    Raises:
        TypeError: Something else is among them.
    """
    if not isinstance(meshes, Mesh | Iterable):
        raise TypeError(f"meshes must be a Mesh or several, not {type(meshes).__name__}")
    checked = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    for number, mesh in enumerate(checked):
        if not isinstance(mesh, Mesh):
            raise TypeError(f"meshes[{number}] must be a Mesh, not {type(mesh).__name__}")
    return checked
