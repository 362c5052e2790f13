"""Wireframes without hidden lines, from what a depth buffer shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim3dr.mesh import Mesh
from sim3dr.rasterizer import Rasterized


def line_coverage(
    drawn: Rasterized, meshes: Sequence[Mesh], line_width: float = 1.0
) -> NDArray[np.float32]:
    """How much of each pixel the sides of the triangles seen there cover.

    A side is half drawn by each of its two triangles, so lines that others hide do not appear.

    Args:
        drawn: The meshes with one sample a pixel and weights linear on the screen.
        meshes: The same, in the same order, on the screen.
        line_width: Pixels.

    Returns:
        (H, W) in 0..1, anti-aliased.

    Raises:
        ValueError: The picture shows other meshes, or the width is not above 0.
    """
    if not (np.isfinite(line_width) and line_width > 0):
        raise ValueError(f"line_width must be above 0, not {line_width}")
    coverage = np.zeros(drawn.depth.shape, dtype=np.float32)
    rows, columns = np.nonzero(drawn.mesh_index >= 0)
    if not len(rows):
        return coverage
    shown = drawn.mesh_index[rows, columns]
    if shown.max() >= len(meshes):
        raise ValueError(f"the picture shows mesh {shown.max()}, but {len(meshes)} are given")
    heights = np.concatenate([_heights(mesh) for mesh in meshes])
    first = np.cumsum([0, *(len(mesh.triangles) for mesh in meshes)])
    at = rows, columns
    triangle = first[shown] + drawn.triangle_index[at]
    if not (triangle < first[shown + 1]).all():
        raise ValueError("the picture shows triangles that the meshes given do not have")
    # A weight times the triangle's height over the side across is the distance from that side.
    distance = (drawn.barycentric[at] * heights[triangle]).min(axis=1)
    coverage[at] = (line_width / 2 + 0.5 - distance).clip(0, 1)
    return coverage


def _heights(mesh: Mesh) -> NDArray[np.float64]:
    """(T, 3) height of each triangle over the side across from each corner, in pixels."""
    xy = mesh.vertices[mesh.triangles, :2]
    sides = np.roll(xy, -1, axis=1) - np.roll(xy, 1, axis=1)
    ab, ac = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
    doubled_area = np.abs(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    length = np.linalg.norm(sides, axis=2)
    heights: NDArray[np.float64] = doubled_area[:, None] / np.maximum(
        length, np.finfo(np.float64).tiny
    )
    return heights
