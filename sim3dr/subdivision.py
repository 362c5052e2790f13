"""Finer meshes of the same shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr.mesh import checked_triangles, checked_vertices


def subdivide(
    vertices: ArrayLike, triangles: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Splits each triangle into four at the middles of its sides; the surface stays as it is.

    Args:
        vertices: (V, 3), any frame and unit.
        triangles: (T, 3) vertex indices.

    Returns:
        (V + E, 3) vertices, the given ones first, then the middles of the E edges; (4 T, 3)
        triangles, wound as before, row 4 t to 4 t + 3 from triangle t; and the (E, 2) vertices
        between which each middle lies, for whatever else vertices carry (colours, for example, are
        `np.vstack([colours, colours[ends].mean(axis=1)])`).

    Raises:
        TypeError: An array does not hold numbers of the right kind.
        ValueError: A shape is wrong, a vertex is not finite or an index lies outside the vertices.
    """
    points = checked_vertices(vertices)
    corners = checked_triangles(triangles, len(points))
    sides = np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    ends, at = np.unique(sides, axis=0, return_inverse=True)
    ab, bc, ca = (at.reshape(-1, 3) + len(points)).T
    a, b, c = corners.T
    quarters = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1)
    finer = np.vstack([points, points[ends].mean(axis=1)])
    return finer, quarters.reshape(-1, 3).astype(np.int32), ends.astype(np.int32)
