"""Simple surfaces as vertices and triangles: grids, tubes, ellipsoids, boxes."""

from __future__ import annotations

import math

import numpy as np

Surface = tuple[np.ndarray, np.ndarray]
"""(V, 3) float64 vertices and (T, 3) int32 triangles."""


def grid_triangles(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """(T, 3) int32 triangles of a grid of vertices stored row by row.

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
    return quads.reshape(-1, 3).astype(np.int32)


def joined(surfaces: list[Surface]) -> Surface:
    """Several surfaces as one."""
    counts = np.cumsum([0, *(len(vertices) for vertices, _ in surfaces)])
    return (
        np.concatenate([vertices for vertices, _ in surfaces]),
        np.concatenate(
            [triangles + np.int32(first) for (_, triangles), first in zip(surfaces, counts[:-1], strict=True)]
        ),
    )


def lofted(rings: np.ndarray) -> Surface:
    """A skin over closed rings (R, N, 3)."""
    count, columns = rings.shape[:2]
    return rings.reshape(-1, 3), grid_triangles(count, columns, closed=True)


def tube(path: np.ndarray, radii: np.ndarray | float, sides: int = 6, closed: bool = False) -> Surface:
    """A round tube along a path (N, 3), N >= 2, open at its ends.

    Args:
        path: Points of its middle.
        radii: Of each point, or one for all.
        sides: Around.
        closed: The end is joined to the beginning.
    """
    if closed:
        path = np.concatenate([path, path[:1]])
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-12
    # Any direction across will do where the path is not parallel to it.
    aside = np.eye(3)[np.abs(along.mean(axis=0)).argmin()]
    first = np.cross(along, aside)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-12
    second = np.cross(along, first)
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


def capsule(start: np.ndarray, end: np.ndarray, start_radius: float, end_radius: float) -> Surface:
    """A limb: a tube with rounded ends."""
    along = end - start
    length = float(np.linalg.norm(along)) + 1e-9
    along = along / length
    steps = [(-1.0, 0.05), (-0.7, 0.7), (0.0, 1.0)]
    places = [start + along * step * start_radius for step, _ in steps]
    widths = [start_radius * width for _, width in steps]
    places += [end - along * step * end_radius for step, _ in reversed(steps)]
    widths += [end_radius * width for _, width in reversed(steps)]
    return tube(np.array(places), np.array(widths), sides=8)


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
            faces.append((corners.reshape(-1, 3), grid_triangles(2, 2)))
    vertices, triangles = joined(faces)
    return np.asarray(center) + vertices * np.asarray(half), triangles
