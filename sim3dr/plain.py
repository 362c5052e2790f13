"""The plain engine: a z-buffer in readable NumPy, which the compiled one is tested against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim3dr.mesh import Floats, Indices, Mesh

EDGE_TOLERANCE = 1e-9
"""Weights this close to zero count as on the edge, so that rounding opens no cracks."""

# Bounds the memory of one pass (about 100 bytes a pixel and triangle).
_CANDIDATES_AT_ONCE = 1 << 20


def _candidate_pixels(
    corners_xy: Floats, order: NDArray[np.int64], height: int, width: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yields (triangle, row, column) of every pixel in the triangles' bounding boxes, in parts."""
    # Clamped before they become whole numbers: any float may be a coordinate.
    last = np.array([width - 1.0, height - 1.0])
    start = np.maximum(np.ceil(corners_xy[order].min(axis=1)), 0.0)
    stop = np.minimum(np.floor(corners_xy[order].max(axis=1)), last)
    on_screen = (start <= stop).all(axis=1)
    order, start = order[on_screen], start[on_screen].astype(np.int64)
    stop = stop[on_screen].astype(np.int64) + 1
    columns, rows = (stop - start).T
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


def draw_triangles(
    vertices: Floats,
    triangles: Indices,
    number: int,
    cull_back: bool,
    perspective: bool,
    depth: NDArray[Any],
    seen: NDArray[Any],
    weights: NDArray[Any],
) -> None:
    """Draws a mesh into a depth buffer.

    Args:
        vertices: (V, 3), on the screen.
        triangles: (T, 3).
        number: What is added to a triangle's index in `seen`.
        cull_back: Leave out triangles seen from behind.
        perspective: Depths are distances along the camera's axis; 1 / depth is linear.
        depth: (H, W), infinite where nothing is seen yet.
        seen: (H, W), -1 where nothing is.
        weights: (H, W, 3), barycentric.
    """
    height, width = depth.shape
    flat_depth, flat_seen, flat_weights = depth.ravel(), seen.ravel(), weights.reshape(-1, 3)
    xyz = vertices[triangles]
    xy = xyz[..., :2]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ab, ac = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
        # Twice the signed area; positive where the corners run clockwise with y down.
        area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
        inverse_area = 1.0 / area
        shown = np.isfinite(area) & ((area > 0) if cull_back else (area != 0))
        for triangle, row, column in _candidate_pixels(xy, np.flatnonzero(shown), height, width):
            x, y = column - xy[triangle, 0, 0], row - xy[triangle, 0, 1]
            bary = np.empty((len(triangle), 3))
            bary[:, 1] = (x * ac[triangle, 1] - y * ac[triangle, 0]) * inverse_area[triangle]
            bary[:, 2] = (ab[triangle, 0] * y - ab[triangle, 1] * x) * inverse_area[triangle]
            bary[:, 0] = 1.0 - bary[:, 1] - bary[:, 2]
            inside = (bary >= -EDGE_TOLERANCE).all(axis=1)
            triangle, bary = triangle[inside], bary[inside]
            pixel = row[inside] * width + column[inside]
            corner_z = xyz[triangle, :, 2]
            if perspective:
                bary /= corner_z
                z = 1.0 / (bary[:, 0] + bary[:, 1] + bary[:, 2])
                bary *= z[:, None]
            else:
                terms = bary * corner_z
                z = terms[:, 0] + terms[:, 1] + terms[:, 2]
            # Nearest first, then lowest index, so `unique` picks each pixel's winner of this part.
            order = np.lexsort((triangle, z, pixel))
            _, leader = np.unique(pixel[order], return_index=True)
            best = order[leader]
            best = best[z[best] < flat_depth[pixel[best]]]
            flat_depth[pixel[best]] = z[best]
            flat_seen[pixel[best]] = number + triangle[best]
            flat_weights[pixel[best]] = bary[best]


def paint(mesh: Mesh, triangle: NDArray[np.int64], weights: Floats) -> Floats:
    """The colours of places on a mesh.

    Args:
        mesh: See `Mesh`.
        triangle: (N,) in which triangle a place is.
        weights: (N, 3) barycentric.

    Returns:
        (N, 3) in the unit of the mesh's colours.
    """
    painted = _mixed(mesh.vertex_colours[mesh.triangles[triangle]], weights)
    if mesh.texture is None:
        return painted
    assert mesh.texture_coordinates is not None
    assert mesh.texture_triangles is not None
    uv = _mixed(mesh.texture_coordinates[mesh.texture_triangles[triangle]], weights)
    return painted * (bilinear(mesh.texture, uv) / 255.0)


def _mixed(values: NDArray[Any], weights: Floats) -> Floats:
    terms = values * weights[..., None]
    mixed: Floats = terms[:, 0] + terms[:, 1] + terms[:, 2]
    return mixed


def bilinear(texture: NDArray[Any], uv: NDArray[Any]) -> Floats:
    """Looks a texture up between its texels, whose centres are half a texel from its edges.

    Args:
        texture: (h, w, C).
        uv: (N, 2), u to the right, v upward, 0..1 over the texture; beyond it, its edge goes on.

    Returns:
        (N, C) float64.
    """
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0.0, width - 1.0)
    y = np.clip((1.0 - uv[:, 1]) * height - 0.5, 0.0, height - 1.0)
    left, upper = x.astype(np.int64), y.astype(np.int64)
    right, lower = np.minimum(left + 1, width - 1), np.minimum(upper + 1, height - 1)
    x, y = (x - left)[:, None], (y - upper)[:, None]
    above = (1.0 - x) * texture[upper, left] + x * texture[upper, right]
    below = (1.0 - x) * texture[lower, left] + x * texture[lower, right]
    looked_up: Floats = (1.0 - y) * above + y * below
    return looked_up
