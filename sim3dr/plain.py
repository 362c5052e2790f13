"""The rasterizer in plain NumPy: slow, readable, and what the fast one is tested against.

Both evaluate the same float64 expressions in the same order, so what is seen where, and at what
depth, is the same in every bit; colours and weights are kept in float64 here, in float32 there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim3dr.canvas import Canvas, Rasterized
from sim3dr.mesh import Mesh
from sim3dr.screen import ScreenMesh

# Bounds the memory of one pass (about 200 bytes a sample and triangle).
_CANDIDATES_AT_ONCE = 1 << 19

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]


def _candidates(xy: _Floats, order: _Integers, height: int, width: int) -> Iterator[_Integers]:
    """Yields (3, N) triangle, row, column of samples in the triangles' bounding boxes, in parts."""
    last = np.array([width - 1.0, height - 1.0])
    # Limited before they become whole numbers, which hold less than a float does.
    start = np.maximum(np.ceil(xy[order].min(axis=1)), 0)
    stop = np.minimum(np.floor(xy[order].max(axis=1)), last)
    shown = (start <= stop).all(axis=1)
    order, start, stop = order[shown], start[shown].astype(int), stop[shown].astype(int) + 1
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
        yield np.stack([order[owner], row, column])
        first = end


def _edges(xy: _Floats, sign: _Floats, row: _Integers, column: _Integers) -> list[_Floats]:
    """The three (N,) edge functions opposite to corners a, b, c; none is negative inside.

    Each is twice the signed area of an edge's ends and the sample. Seen from the sample, swapping
    the ends changes nothing but the sign, in every bit: no sample between two triangles that share
    an edge is lost to rounding.
    """
    (ax, ay), (bx, by), (cx, cy) = xy.transpose(1, 2, 0)
    x, y = column.astype(np.float64), row.astype(np.float64)
    ax, bx, cx = ax - x, bx - x, cx - x
    ay, by, cy = sign * (ay - y), sign * (by - y), sign * (cy - y)
    return [bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx]


def _signed_area(xy: _Floats) -> _Floats:
    """Twice the area of (N, 3, 2); positive where the corners run clockwise with y down."""
    ab, ac = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
    area: _Floats = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    return area


def _draw_depth(screen: ScreenMesh, number: int, canvas: Canvas, samples: Rasterized) -> None:
    """Writes depth, mesh and part of each sample where this mesh is the nearest so far."""
    height, width = samples.depth.shape
    depth, mesh_index = samples.depth.reshape(-1), samples.mesh_index.reshape(-1)
    part_index = samples.triangle_index.reshape(-1)
    corners = screen.vertices[screen.corners]
    xy, z = corners[..., :2], corners[..., 2]
    area = _signed_area(xy)
    shown = np.isfinite(area) & ((area > 0) if canvas.cull_back else (area != 0))
    sign = np.where(area < 0, -1.0, 1.0)
    for part, row, column in _candidates(xy, np.flatnonzero(shown), height, width):
        a, b, c = _edges(xy[part], sign[part], row, column)
        total = a + b + c
        inside = (a >= 0) & (b >= 0) & (c >= 0) & (total > 0) & (total < np.inf)
        a, b, c, total, part = a[inside], b[inside], c[inside], total[inside], part[inside]
        za, zb, zc = (1.0 / z[part] if canvas.perspective_correct else z[part]).T
        scaled = a * za + b * zb + c * zc
        sample_z = total / scaled if canvas.perspective_correct else scaled / total
        # What leaves the numbers has no weights.
        sample_z[~(scaled < np.inf)] = np.inf
        sample = row[inside] * width + column[inside]
        # Nearest first, then lowest index, so `unique` picks each sample's winner of this pass.
        order = np.lexsort((part, sample_z, sample))
        order = order[np.isfinite(sample_z[order])]
        _, leader = np.unique(sample[order], return_index=True)
        best = order[leader]
        best = best[sample_z[best] < depth[sample[best]]]
        depth[sample[best]] = sample_z[best]
        part_index[sample[best]] = part[best]
        mesh_index[sample[best]] = number


def bilinear(texture: NDArray[Any], uv: NDArray[Any]) -> _Floats:
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
    looked_up: _Floats = (1.0 - y) * above + y * below
    return looked_up


def _mixed(values: NDArray[Any], weights: _Floats) -> _Floats:
    """(N, 3, C) of corners with (N, 3) weights -> (N, C)."""
    terms = values * weights[..., None]
    mixed: _Floats = terms[:, 0] + terms[:, 1] + terms[:, 2]
    return mixed


def _colours(mesh: Mesh, triangle: _Integers, weights: _Floats) -> _Floats:
    """(N, 3) colours at places within triangles of a mesh."""
    painted = _mixed(mesh.vertex_colours[mesh.triangles[triangle]], weights)
    if mesh.texture is None:
        return painted
    assert mesh.texture_coordinates is not None and mesh.texture_triangles is not None
    uv = _mixed(mesh.texture_coordinates[mesh.texture_triangles[triangle]], weights)
    return painted * (bilinear(mesh.texture, uv) / 255.0)


def _shade(screen: ScreenMesh, number: int, canvas: Canvas, samples: Rasterized) -> None:
    """Writes colour, weights and coverage where this mesh is seen; parts become triangles."""
    row, column = np.nonzero(samples.mesh_index == number)
    part = samples.triangle_index[row, column].astype(np.int64)
    corners = screen.vertices[screen.corners[part]]
    sign = np.where(_signed_area(corners[..., :2]) < 0, -1.0, 1.0)
    edges = np.stack(_edges(corners[..., :2], sign, row, column), axis=1)
    if canvas.perspective_correct:
        edges = edges * (1.0 / corners[..., 2])
    weights = edges / (edges[:, 0] + edges[:, 1] + edges[:, 2])[:, None]
    if len(screen.parents):
        weights = _mixed(screen.piece_weights[part], weights)
        part = screen.parents[part].astype(np.int64)
    samples.triangle_index[row, column] = part
    samples.barycentric[row, column] = weights
    samples.image[row, column, :3] = _colours(screen.mesh, part, weights)
    samples.image[row, column, 3:] = 255.0
    samples.coverage[row, column] = 1.0


def _resolve(samples: Rasterized, canvas: Canvas) -> Rasterized:
    """Pixels from their samples: means of colours, the nearest sample of everything else."""
    size, drawn = canvas.supersampling, canvas.blank(np.float64)
    count = size * size
    total = np.zeros((canvas.height, canvas.width, 3))
    covered = np.zeros((canvas.height, canvas.width))
    for down in range(size):
        for across in range(size):
            part = (slice(down, None, size), slice(across, None, size))
            seen = samples.mesh_index[part] >= 0
            total += np.where(seen[..., None], samples.image[part][..., :3], 0.0)
            covered += seen
            nearer = samples.depth[part] < drawn.depth
            for name in ("depth", "mesh_index", "triangle_index", "barycentric"):
                getattr(drawn, name)[nearer] = getattr(samples, name)[part][nearer]
    drawn.coverage[...] = covered / count
    hit = covered > 0
    if canvas.background is None:
        drawn.image[hit, :3] = total[hit] / covered[hit][:, None]
        drawn.image[..., 3] = 255.0 * (covered / count)
    else:
        rest = (count - covered[hit])[:, None] * drawn.image[hit].astype(np.float64)
        drawn.image[hit] = (total[hit] + rest) / count
    return drawn


def draw(screens: Sequence[ScreenMesh], canvas: Canvas) -> Rasterized:
    """Draws meshes that share one depth buffer; at equal depth the first one is seen."""
    if canvas.supersampling == 1:
        samples = canvas.blank(np.float64)
    else:
        size = canvas.supersampling
        samples = Rasterized.empty(canvas.height * size, canvas.width * size, 3, np.float64)
    with np.errstate(all="ignore"):
        for number, screen in enumerate(screens):
            _draw_depth(screen, number, canvas, samples)
    for number, screen in enumerate(screens):
        _shade(screen, number, canvas, samples)
    return samples if canvas.supersampling == 1 else _resolve(samples, canvas)
