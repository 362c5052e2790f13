"""From a mesh to what its triangles cover: near plane, projection and the grid of samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim3dr.mesh import Mesh

_NO_PARENTS = np.zeros(0, dtype=np.int32)
_NO_WEIGHTS = np.zeros((0, 3, 3))


@dataclass(frozen=True)
class ScreenMesh:
    """A mesh over the grid of samples, which lie at whole coordinates.

    Attributes:
        mesh: What it was made from.
        vertices: (V', 3) float64; x and y in samples, z grows away. Those before the near plane
            are not used by any triangle.
        corners: (T', 3) int32 indices of `vertices`: triangles, or pieces of cut ones, in the
            order of the mesh's triangles.
        parents: (T',) int32, the mesh's triangle that each is a part of; empty if nothing was cut
            or left out.
        piece_weights: (T', 3, 3) float64, for each corner of a part the weights of its parent's
            three corners; empty if nothing was cut or left out.
    """

    mesh: Mesh
    vertices: NDArray[np.float64]
    corners: NDArray[np.int32]
    parents: NDArray[np.int32]
    piece_weights: NDArray[np.float64]


def _cut_points(
    points: NDArray[np.float64],
    start: NDArray[np.int32],
    end: NDArray[np.int32],
    near: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where edges pierce the near plane, and the share of the way from start to end.

    An edge is walked in the same direction for both of its triangles: they meet without a gap.
    """
    first, last = np.minimum(start, end), np.maximum(start, end)
    share = (near - points[first, 2]) / (points[last, 2] - points[first, 2])
    where = points[first] + share[:, None] * (points[last] - points[first])
    where[:, 2] = near
    return where, np.where(first == start, share, 1.0 - share)


def _clip(
    points: NDArray[np.float64], triangles: NDArray[np.int32], near: float
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Leaves out what lies before the near plane; `vertices` to `piece_weights` of `ScreenMesh`."""
    hidden = points[:, 2] < near
    hidden_corners = hidden[triangles]
    count = hidden_corners.sum(axis=1)
    whole = np.flatnonzero(count == 0).astype(np.int32)
    new_points = [points]
    corners = [triangles[whole]]
    parents = [whole]
    weights = [np.tile(np.eye(3), (len(whole), 1, 1))]
    total = len(points)
    for hidden_count in (1, 2):
        chosen = np.flatnonzero(count == hidden_count).astype(np.int32)
        if not len(chosen):
            continue
        # The corner that is alone on its side comes first; the winding stays.
        alone = hidden_corners[chosen] == (hidden_count == 1)
        turn = (alone.argmax(axis=1)[:, None] + np.arange(3)) % 3
        a, b, c = np.take_along_axis(triangles[chosen], turn, axis=1).T
        p, share_p = _cut_points(points, a, b, near)
        q, share_q = _cut_points(points, a, c, near)
        new_points += [p, q]
        at_p = np.arange(total, total + len(p), dtype=np.int32)
        at_q = at_p + np.int32(len(p))
        total += 2 * len(p)
        # Weights of (a, b, c).
        one_a, one_b, one_c = (np.tile(row, (len(p), 1)) for row in np.eye(3))
        weight_p = np.stack([1 - share_p, share_p, np.zeros(len(p))], axis=1)
        weight_q = np.stack([1 - share_q, np.zeros(len(q)), share_q], axis=1)
        if hidden_count == 1:
            parts = [
                ((at_p, b, c), (weight_p, one_b, one_c)),
                ((at_p, c, at_q), (weight_p, one_c, weight_q)),
            ]
        else:
            parts = [((a, at_p, at_q), (one_a, weight_p, weight_q))]
        for indices, part_weights in parts:
            corners.append(np.stack(indices, axis=1))
            parents.append(chosen)
            turned = np.stack(part_weights, axis=1)
            back = np.empty_like(turned)
            np.put_along_axis(back, np.broadcast_to(turn[:, None], turned.shape), turned, axis=2)
            weights.append(back)
    all_parents = np.concatenate(parents)
    order = np.argsort(all_parents, kind="stable")
    return (
        np.concatenate(new_points),
        np.ascontiguousarray(np.concatenate(corners)[order], dtype=np.int32),
        all_parents[order],
        np.concatenate(weights)[order],
    )


def to_screen(
    mesh: Mesh,
    intrinsics: NDArray[np.float64] | None,
    near: float,
    supersampling: int,
) -> ScreenMesh:
    """Brings a mesh over the grid of samples.

    Args:
        mesh: On the screen, or in the camera's frame if there are intrinsics.
        intrinsics: (3, 3) with last row (0, 0, 1), or None.
        near: Smallest depth that is drawn; used with intrinsics only.
        supersampling: Samples along a pixel's side.

    Returns:
        The mesh; coordinates that overflow are infinite or NaN.
    """
    points, corners = mesh.vertices, mesh.triangles
    parents, weights = _NO_PARENTS, _NO_WEIGHTS
    if intrinsics is None:
        if supersampling == 1:
            return ScreenMesh(mesh, points, corners, parents, weights)
        screen = points.copy()
    else:
        if points[:, 2].min() < near:
            points, corners, parents, weights = _clip(points, corners, near)
        with np.errstate(over="ignore", invalid="ignore"):
            z = np.where(points[:, 2] < near, 1.0, points[:, 2])
            screen = np.empty_like(points)
            for axis in (0, 1):
                in_z = intrinsics[axis, 0] * points[:, 0] + intrinsics[axis, 1] * points[:, 1]
                screen[:, axis] = in_z / z + intrinsics[axis, 2]
            screen[:, 2] = z
    if supersampling > 1:
        # A pixel reaches half a pixel to each side of its centre; so do its samples.
        with np.errstate(over="ignore", invalid="ignore"):
            screen[:, :2] = (screen[:, :2] + 0.5) * supersampling - 0.5
    return ScreenMesh(mesh, screen, corners, parents, weights)
