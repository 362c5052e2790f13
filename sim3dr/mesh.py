"""What is drawn: a triangle mesh with its colours or its texture, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MOST_VERTICES = 2**31 - 1


def _numbers(name: str, value: ArrayLike, dtype: type[np.floating]) -> NDArray[np.floating]:
    """The array as contiguous numbers of a float type; finite ones only.

    Raises:
        TypeError: It holds no real numbers.
        ValueError: It is ragged, or a row holds NaN or infinity; the first such row is named.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be one regular array: {error}") from None
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, not {array.dtype}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=dtype)
    # One sum tells of most arrays that nothing is wrong; it may overflow, then each is looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = array.size > 0 and not np.isfinite(array.sum())
    if suspicious and not np.isfinite(array).all():
        rows = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.ndim else [True]
        row = int(np.flatnonzero(rows)[0])
        raise ValueError(f"{name} must be finite; row {row} is {array[row].tolist()}")
    return array


def _indices(name: str, value: ArrayLike, count: int, named: str) -> NDArray[np.int32]:
    """The array as contiguous int32 (T, 3), each below `count`.

    Raises:
        TypeError: It holds no whole numbers.
        ValueError: The shape is wrong, or an index lies outside; the first such row is named.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be one regular array: {error}") from None
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"{name} must have shape (T, 3), not {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be whole numbers, not {array.dtype}")
    if not array.size:
        return np.zeros((0, 3), dtype=np.int32)
    low, high = array.min(), array.max()
    if low < 0 or high >= count:
        row = int(np.flatnonzero(((array < 0) | (array >= count)).any(axis=1))[0])
        raise ValueError(
            f"{name} must name {named} 0 to {count - 1}, not {low} to {high};"
            f" row {row} is {array[row].tolist()}"
        )
    return np.ascontiguousarray(array, dtype=np.int32)


def checked_vertices_and_triangles(
    vertices: ArrayLike, triangles: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices as float64 (V, 3) and triangles as int32 (T, 3), both contiguous.

    Raises:
        TypeError: An array does not hold numbers of the right kind.
        ValueError: A shape is wrong, a vertex is not finite or an index lies outside the vertices.
    """
    points = _numbers("vertices", vertices, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"vertices must have shape (V, 3), not {points.shape}")
    if len(points) > _MOST_VERTICES:
        raise ValueError(f"vertices must be at most {_MOST_VERTICES}, not {len(points)}")
    return points.astype(np.float64, copy=False), _indices(
        "triangles", triangles, len(points), "vertices"
    )


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh as `sim3dr.rasterize` draws it.

    Arrays are checked and kept as contiguous arrays of the types below; those that are so already
    are kept without a copy. `dataclasses.replace(mesh, vertices=moved)` moves a mesh.

    Attributes:
        vertices: (V, 3) float64; x right, y down, z away, on the screen or in a camera's frame
            (see `sim3dr.rasterize`).
        triangles: (T, 3) int32 vertex indices; corners run clockwise seen from the front.
        colours: (V, 3) or, for a whole mesh, (3,) float64 in the unit of the picture, 0..255 by
            convention. White if neither colours nor a texture are given.
        texture: (h, w, 3) float32 picture in the unit of the picture; uint8 is taken too.
        texture_coordinates: (U, 2) float64 (u, v) of the texture: u to the right, v up, as in OBJ
            files; (0, 0) is the lower left corner of the lower left texel and (1, 1) the upper
            right corner of the upper right one. Beyond them the border's colour goes on.
        texture_triangles: (T, 3) int32 indices of `texture_coordinates`, a row a triangle, so that
            a vertex may have another place in each triangle (a seam). Not needed where
            `texture_coordinates` has a row for each vertex.

    Raises:
        TypeError: An array holds no numbers of the right kind.
        ValueError: A shape is wrong, a number is not finite, an index lies outside, there is no
            triangle, or colours and texture do not fit together.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]
    colours: NDArray[np.float64] | None = None
    texture: NDArray[np.float32] | None = None
    texture_coordinates: NDArray[np.float64] | None = None
    texture_triangles: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        vertices, triangles = checked_vertices_and_triangles(self.vertices, self.triangles)
        if not len(triangles):
            raise ValueError("a mesh needs at least one triangle")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "triangles", triangles)
        if self.colours is not None:
            if self.texture is not None:
                raise ValueError("a mesh has colours or a texture, not both")
            colours = _numbers("colours", self.colours, np.float64)
            if colours.shape not in ((3,), vertices.shape):
                raise ValueError(
                    f"colours must have shape (3,) or {vertices.shape}, not {colours.shape}"
                )
            object.__setattr__(self, "colours", colours)
        self._check_texture()

    def _check_texture(self) -> None:
        if self.texture is None:
            if self.texture_coordinates is not None or self.texture_triangles is not None:
                raise ValueError("texture coordinates need a texture")
            return
        if self.texture_coordinates is None:
            raise ValueError("a texture needs texture_coordinates")
        texture = _numbers("texture", self.texture, np.float32)
        if texture.ndim != 3 or texture.shape[2] != 3 or not texture.size:
            raise ValueError(f"texture must have shape (h, w, 3), not {texture.shape}")
        coordinates = _numbers("texture_coordinates", self.texture_coordinates, np.float64)
        if coordinates.ndim != 2 or coordinates.shape[1] != 2:
            raise ValueError(f"texture_coordinates must have shape (U, 2), not {coordinates.shape}")
        if self.texture_triangles is not None:
            corners = _indices(
                "texture_triangles", self.texture_triangles, len(coordinates), "coordinates"
            )
            if len(corners) != len(self.triangles):
                raise ValueError(
                    f"texture_triangles must have a row for each of {len(self.triangles)}"
                    f" triangles, not {len(corners)}"
                )
            object.__setattr__(self, "texture_triangles", corners)
        elif len(coordinates) != len(self.vertices):
            raise ValueError(
                f"texture_coordinates must have a row for each of {len(self.vertices)} vertices,"
                f" not {len(coordinates)}, unless texture_triangles are given"
            )
        object.__setattr__(self, "texture", texture)
        object.__setattr__(self, "texture_coordinates", coordinates)
