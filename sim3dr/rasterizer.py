"""A z-buffer rasterizer in plain NumPy: the readable twin of any faster one.

Conventions, here and in all of `sim3dr`:

- Screen: x to the right, y down, in pixels. Pixel (row r, column c) is sampled at x = c, y = r, so
  pixel centres have whole coordinates, as in OpenCV.
- Depth: z grows away from the camera; the smaller depth hides the greater.
- Winding: the front of a triangle is the side from which its corners run clockwise on the screen
  (y down). Back sides are culled unless asked for; triangles without area never appear.
- Coverage: a pixel belongs to a triangle when its centre lies inside or on an edge. Of triangles
  at equal depth the one with the lowest index is seen.
- Interpolation is linear on the screen, which is exact for a camera without perspective and for
  depth stored as a plane; with a strong perspective colours bend slightly within a triangle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Bounds the memory of one pass (about 100 bytes a pixel and triangle).
_CANDIDATES_AT_ONCE = 1 << 20
# Sides this close to zero count as on the edge, so that rounding opens no cracks between triangles.
_EDGE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Rasterized:
    """What each pixel of a picture shows.

    Attributes:
        image: (H, W, 3) float64, in the unit of the colours.
        depth: (H, W) float64, infinite where nothing is seen.
        triangle_index: (H, W) int64, -1 where nothing is seen.
        barycentric: (H, W, 3) float64, weights of the triangle's three corners; they sum to 1, or
            are 0 where nothing is seen.
    """

    image: NDArray[np.float64]
    depth: NDArray[np.float64]
    triangle_index: NDArray[np.int64]
    barycentric: NDArray[np.float64]


def checked_mesh(
    vertices: ArrayLike, triangles: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns a mesh as float64 (V, 3) and int64 (T, 3).

    Raises:
        ValueError: A shape is wrong, indices are not whole numbers or lie outside the vertices.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"vertices must have shape (V, 3), not {points.shape}")
    corners = np.asarray(triangles)
    if corners.ndim != 2 or corners.shape[1] != 3:
        raise ValueError(f"triangles must have shape (T, 3), not {corners.shape}")
    if corners.size and not np.issubdtype(corners.dtype, np.integer):
        raise ValueError(f"triangles must be whole numbers, not {corners.dtype}")
    if corners.size and (corners.min() < 0 or corners.max() >= len(points)):
        raise ValueError(
            f"triangles must name vertices 0 to {len(points) - 1}, not"
            f" {corners.min()} to {corners.max()}"
        )
    return points, corners.astype(np.int64)


def _canvas(background: ArrayLike | None, height: int, width: int) -> NDArray[np.float64]:
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1, not {height} and {width}")
    colour = np.zeros(3) if background is None else np.asarray(background, dtype=np.float64)
    if colour.shape not in ((3,), (height, width, 3)):
        raise ValueError(
            f"background must have shape (3,) or ({height}, {width}, 3), not {colour.shape}"
        )
    return np.array(np.broadcast_to(colour, (height, width, 3)))


def _candidate_pixels(
    corners_xy: NDArray[np.float64], order: NDArray[np.int64], height: int, width: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yields (triangle, row, column) of every pixel in the triangles' bounding boxes, in parts."""
    last = np.array([width - 1, height - 1])
    start = np.maximum(np.ceil(corners_xy[order].min(axis=1)), 0).astype(np.int64)
    stop = np.minimum(np.floor(corners_xy[order].max(axis=1)), last).astype(np.int64) + 1
    columns, rows = np.maximum(stop - start, 0).T
    counts = columns * rows
    first = 0
    while first < len(order):
        total = np.cumsum(counts[first:])
        end = first + max(1, int(np.searchsorted(total, _CANDIDATES_AT_ONCE, side="right")))
        part = slice(first, end)
        owner = np.repeat(np.arange(first, end), counts[part])
        offsets = np.concatenate(([0], np.cumsum(counts[part])[:-1]))
        within = np.arange(len(owner)) - np.repeat(offsets, counts[part])
        row = start[owner, 1] + within // columns[owner]
        column = start[owner, 0] + within % columns[owner]
        yield order[owner], row, column
        first = end


def rasterize(
    vertices_screen: ArrayLike,
    triangles: ArrayLike,
    colours: ArrayLike,
    height: int,
    width: int,
    background: ArrayLike | None = None,
    *,
    cull_back: bool = True,
) -> Rasterized:
    """Draws a mesh with a z-buffer.

    Args:
        vertices_screen: (V, 3); x and y in pixels, z any depth that grows away from the camera.
        triangles: (T, 3) vertex indices, front sides clockwise on the screen.
        colours: (V, 3), interpolated over the triangles.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        background: One colour (3,) or a picture (height, width, 3); black if not given.
        cull_back: Leaves out triangles seen from behind.

    Returns:
        Picture, depth, and for each pixel the triangle seen and the place within it. Triangles
        with a corner that is not finite are left out.

    Raises:
        ValueError: A shape is wrong or an index lies outside the vertices.
    """
    vertices, corners = checked_mesh(vertices_screen, triangles)
    paint = np.asarray(colours, dtype=np.float64)
    if paint.shape != vertices.shape:
        raise ValueError(f"colours must have shape {vertices.shape}, not {paint.shape}")
    image = _canvas(background, height, width)
    depth = np.full(height * width, np.inf)
    seen = np.full(height * width, -1, dtype=np.int64)
    weights = np.zeros((height * width, 3))

    finite = np.asarray(np.isfinite(vertices[corners]).all(axis=(1, 2)))
    # Triangles left out stand at the origin, where they have no area.
    xyz = np.where(finite[:, None, None], vertices[corners], 0.0)
    xy = xyz[..., :2]
    side_ab, side_ac = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
    # Twice the signed area; positive where the corners run clockwise with y down.
    area = side_ab[:, 0] * side_ac[:, 1] - side_ab[:, 1] * side_ac[:, 0]
    shown = np.flatnonzero(area > 0 if cull_back else area != 0)

    for triangle, row, column in _candidate_pixels(xy, shown, height, width):
        offset = np.stack([column, row], axis=1) - xy[triangle, 0]
        ab, ac = side_ab[triangle], side_ac[triangle]
        weight_b = (offset[:, 0] * ac[:, 1] - offset[:, 1] * ac[:, 0]) / area[triangle]
        weight_c = (ab[:, 0] * offset[:, 1] - ab[:, 1] * offset[:, 0]) / area[triangle]
        bary = np.stack([1.0 - weight_b - weight_c, weight_b, weight_c], axis=1)
        inside = (bary >= -_EDGE_TOLERANCE).all(axis=1)
        triangle, bary = triangle[inside], bary[inside]
        pixel = row[inside] * width + column[inside]
        z = (bary * xyz[triangle, :, 2]).sum(axis=1)
        # Nearest first, then lowest index, so `unique` picks each pixel's winner of this part.
        order = np.lexsort((triangle, z, pixel))
        _, leader = np.unique(pixel[order], return_index=True)
        best = order[leader]
        best = best[z[best] < depth[pixel[best]]]
        depth[pixel[best]] = z[best]
        seen[pixel[best]] = triangle[best]
        weights[pixel[best]] = bary[best]

    hit = np.flatnonzero(seen >= 0)
    shades = (weights[hit, :, None] * paint[corners[seen[hit]]]).sum(axis=1)
    image.reshape(-1, 3)[hit] = shades
    return Rasterized(
        image,
        depth.reshape(height, width),
        seen.reshape(height, width),
        weights.reshape(height, width, 3),
    )
