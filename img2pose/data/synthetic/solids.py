"""Simple surfaces as vertices and triangles: grids, tubes, ellipsoids, boxes."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

Surface = tuple[np.ndarray, np.ndarray]
"""(V, 3) float64 vertices and (T, 3) int32 triangles."""


@cache
def grid_triangles(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """(T, 3) int32 triangles of a grid of vertices stored row by row; not to be changed.

    Args:
        rows: Of vertices.
        columns: Of vertices.
        closed: The last column is joined to the first one.
    """
    right = np.arange(1, columns + 1) % columns
    left = np.arange(columns)
    if not closed:
        left, right = left[:-1], right[:-1]
    first = (np.arange(rows - 1) * columns)[:, None]
    a, b = first + left, first + right
    c, d = a + columns, b + columns
    quads = np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], axis=-2)
    triangles = quads.reshape(-1, 3).astype(np.int32)
    triangles.flags.writeable = False
    return triangles


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products; NumPy's own takes ten times as long for few vectors."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _frames(along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors (..., 3) across unit vectors (..., 3)."""
    # Any direction across will do where it is not parallel.
    flat = np.where(np.abs(along[..., 2:]) < 0.8, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    first = _cross(along, np.broadcast_to(flat, along.shape))
    first = first / (np.sqrt((first**2).sum(-1, keepdims=True)) + 1e-12)
    return first, _cross(along, first)


def joined(surfaces: list[Surface]) -> Surface:
    """Several surfaces as one."""
    counts = np.cumsum([0, *(len(vertices) for vertices, _ in surfaces)])
    return (
        np.concatenate([vertices for vertices, _ in surfaces]),
        np.concatenate(
            [
                triangles + np.int32(first)
                for (_, triangles), first in zip(surfaces, counts[:-1], strict=True)
            ]
        ),
    )


def lofted(rings: np.ndarray) -> Surface:
    """A skin over closed rings (R, N, 3)."""
    count, columns = rings.shape[:2]
    return rings.reshape(-1, 3), grid_triangles(count, columns, closed=True)


def tube(
    path: np.ndarray, radii: np.ndarray | float, sides: int = 6, closed: bool = False
) -> Surface:
    """A round tube along a path (N, 3), N >= 2, open at its ends.

    Args:
        path: Points of its middle.
        radii: Of each point, or one for all.
        sides: Around.
        closed: The end is joined to the beginning.
    """
    if closed:
        path = np.concatenate([path, path[:1]])
    along = np.empty_like(path)
    along[1:-1] = path[2:] - path[:-2]
    along[0], along[-1] = path[1] - path[0], path[-1] - path[-2]
    along /= np.sqrt((along**2).sum(axis=1, keepdims=True)) + 1e-12
    # One direction for the whole path, so that the tube does not twist.
    aside = np.zeros(3)
    aside[np.abs(along.mean(axis=0)).argmin()] = 1
    first = _cross(along, np.broadcast_to(aside, along.shape))
    first /= np.sqrt((first**2).sum(axis=1, keepdims=True)) + 1e-12
    second = _cross(along, first)
    turn = np.linspace(0, 2 * math.pi, sides, endpoint=False)[None, :, None]
    ring = np.cos(turn) * first[:, None] + np.sin(turn) * second[:, None]
    wide = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(path) - closed,))
    if closed:
        wide = np.append(wide, wide[0])
    return lofted(path[:, None] + wide[:, None, None] * ring)


def ellipsoid(center: np.ndarray, radii: np.ndarray, rows: int = 8, columns: int = 12) -> Surface:
    """An ellipsoid with its axes along the frame's."""
    polar = np.linspace(0, math.pi, rows)[:, None]
    turn = np.linspace(0, 2 * math.pi, columns, endpoint=False)[None]
    unit = np.stack(
        [
            np.sin(polar) * np.cos(turn),
            np.broadcast_to(np.cos(polar), (rows, columns)),
            np.sin(polar) * np.sin(turn),
        ],
        axis=-1,
    )
    return lofted(np.asarray(center) + unit * np.asarray(radii))


def capsules(
    starts: np.ndarray, ends: np.ndarray, start_radii: np.ndarray, end_radii: np.ndarray
) -> Surface:
    """Limbs: tubes with rounded ends.

    Args:
        starts: (N, 3).
        ends: (N, 3).
        start_radii: (N,).
        end_radii: (N,).
    """
    starts, ends = np.atleast_2d(starts), np.atleast_2d(ends)
    along = ends - starts
    along = along / (np.sqrt((along**2).sum(axis=1, keepdims=True)) + 1e-9)
    first, second = _frames(along)
    turn = np.linspace(0, 2 * math.pi, 8, endpoint=False)[:, None]
    around = np.cos(turn) * first[:, None] + np.sin(turn) * second[:, None]
    rings = []
    for points, radii, sign in ((starts, start_radii, -1.0), (ends, end_radii, 1.0)):
        wide = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(starts),))[:, None]
        profile = ((1.0, 0.05), (0.7, 0.7), (0.0, 1.0))
        for out, share in profile if sign < 0 else reversed(profile):
            middle = points + sign * out * wide * along
            rings.append(middle[:, None] + share * wide[..., None] * around)
    vertices = np.stack(rings, axis=1)
    one = grid_triangles(6, 8, closed=True)
    first_vertex = np.arange(len(starts), dtype=np.int32)[:, None, None] * np.int32(48)
    return vertices.reshape(-1, 3), (one + first_vertex).reshape(-1, 3)


def capsule(start: np.ndarray, end: np.ndarray, start_radius: float, end_radius: float) -> Surface:
    """A single limb."""
    return capsules(start, end, np.array([start_radius]), np.array([end_radius]))


def box(center: np.ndarray, half: np.ndarray) -> Surface:
    """A box with its own vertices for each side, so that edges stay sharp."""
    faces = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            corners = np.zeros((2, 2, 3))
            others = [i for i in range(3) if i != axis]
            corners[..., axis] = sign
            corners[..., others[0]] = np.array([[-1, 1], [-1, 1]])
            corners[..., others[1]] = np.array([[-1, -1], [1, 1]])
            triangles = grid_triangles(2, 2)
            # Clockwise seen from outside on each side.
            turned = (axis == 1) != (sign > 0)
            faces.append((corners.reshape(-1, 3), triangles[:, ::-1] if turned else triangles))
    vertices, triangles = joined(faces)
    return np.asarray(center) + vertices * np.asarray(half), triangles
