"""From the camera's frame to the screen: what lies too near is cut off first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim3dr.mesh import Floats, Indices


@dataclass(frozen=True, eq=False)
class ScreenMesh:
    """A mesh on the screen, and where its triangles come from.

    Attributes:
        vertices: (V, 3): x and y in pixels, z the distance along the camera's axis.
        triangles: (T, 3).
        source: (T,) the triangle of the original mesh that each is a part of; None: the same.
        source_weights: (T, 3, 3) barycentric weights, in that triangle, of each corner.
    """

    vertices: Floats
    triangles: Indices
    source: NDArray[np.int64] | None = None
    source_weights: Floats | None = None


def project(vertices: Floats, intrinsics: Floats) -> Floats:
    """Points before the camera (V, 3) to x and y in pixels and their distance along the axis."""
    with np.errstate(over="ignore", invalid="ignore"):
        homogeneous = vertices @ intrinsics.T
        screen: Floats = np.concatenate(
            [homogeneous[:, :2] / vertices[:, 2:], vertices[:, 2:]], axis=1
        )
    return screen


def to_screen(vertices: Floats, triangles: Indices, intrinsics: Floats, near: float) -> ScreenMesh:
    """Projects a mesh; triangles nearer than `near` are left out, those that cross it cut.

    Args:
        vertices: (V, 3) in the camera's frame.
        triangles: (T, 3).
        intrinsics: (3, 3), pixels.
        near: Distance along the camera's axis, positive.

    Source: Sutherland and Hodgman's clipping of a polygon by a half-space; a triangle leaves a
        triangle (one corner kept) or a quadrilateral (two), which is split in two.
    """
    if vertices[:, 2].min() >= near:
        return ScreenMesh(project(vertices, intrinsics), triangles)
    kept = vertices[:, 2] >= near
    count = kept[triangles].sum(axis=1)
    whole = np.flatnonzero(count == 3)
    pieces = [_one_corner_kept(vertices, triangles, kept, np.flatnonzero(count == 1), near)]
    pieces += _two_corners_kept(vertices, triangles, kept, np.flatnonzero(count == 2), near)
    source = np.concatenate([whole, *(piece[0] for piece in pieces)])
    identity = np.broadcast_to(np.eye(3), (len(whole), 3, 3))
    weights = np.concatenate([identity, *(piece[1] for piece in pieces)])
    corners = weights @ vertices[triangles[source]]
    # Of all pieces in the order of their triangles, so that ties stay the lowest index's.
    order = np.argsort(source, kind="stable")
    source, weights, corners = source[order], weights[order], corners[order]
    corners[..., 2] = np.maximum(corners[..., 2], near)
    flat = np.arange(3 * len(source), dtype=np.int32).reshape(-1, 3)
    return ScreenMesh(project(corners.reshape(-1, 3), intrinsics), flat, source, weights)


def _crossing(z_kept: Floats, z_cut: Floats, near: float) -> Floats:
    """Share of the way from a kept corner to a cut one at which the plane lies."""
    share: Floats = (z_kept - near) / (z_kept - z_cut)
    return share


def _turned(
    triangles: Indices, lone: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The corner that stands alone and the two after it, as positions 0 to 2: (N,), (N, 3)."""
    first = lone.argmax(axis=1)
    return first, (first[:, None] + np.arange(3)) % 3


def _weights_on(position: NDArray[np.int64], other: NDArray[np.int64], share: Floats) -> Floats:
    """(N, 3) weights of points that lie `share` of the way from one corner to another."""
    weights = np.zeros((len(position), 3))
    rows = np.arange(len(position))
    weights[rows, position] = 1.0 - share
    weights[rows, other] = share
    return weights


def _one_corner_kept(
    vertices: Floats,
    triangles: Indices,
    kept: NDArray[np.bool_],
    chosen: NDArray[np.int64],
    near: float,
) -> tuple[NDArray[np.int64], Floats]:
    corners = triangles[chosen]
    _, order = _turned(corners, kept[corners])
    z = vertices[np.take_along_axis(corners, order, 1), 2]
    zero = np.zeros(len(chosen))
    a, b, c = order.T
    weights = [
        _weights_on(a, b, zero),
        _weights_on(a, b, _crossing(z[:, 0], z[:, 1], near)),
        _weights_on(a, c, _crossing(z[:, 0], z[:, 2], near)),
    ]
    return chosen, np.stack(weights, axis=1)


def _two_corners_kept(
    vertices: Floats,
    triangles: Indices,
    kept: NDArray[np.bool_],
    chosen: NDArray[np.int64],
    near: float,
) -> list[tuple[NDArray[np.int64], Floats]]:
    corners = triangles[chosen]
    _, order = _turned(corners, ~kept[corners])
    z = vertices[np.take_along_axis(corners, order, 1), 2]
    zero = np.zeros(len(chosen))
    a, b, c = order.T
    at_b, at_c = _weights_on(b, a, zero), _weights_on(c, a, zero)
    on_ab = _weights_on(b, a, _crossing(z[:, 1], z[:, 0], near))
    on_ac = _weights_on(c, a, _crossing(z[:, 2], z[:, 0], near))
    return [
        (chosen, np.stack([at_b, at_c, on_ac], axis=1)),
        (chosen, np.stack([at_b, on_ac, on_ab], axis=1)),
    ]
