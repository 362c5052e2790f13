"""Points that keep a distance from each other, and coarser meshes of such vertices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr.mesh import Floats, checked_triangles, checked_vertices

_MOST_STEPS = 20


def thin(
    vertices: ArrayLike, triangles: ArrayLike, least_distance: float
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Leaves out vertices until all are apart, and joins the rest as they were joined.

    Each vertex left out goes to the nearest one that stays; triangles of three that stay apart
    remain. The same mesh and distance always give the same.

    Args:
        vertices: (V, 3), any frame and unit.
        triangles: (T, 3) vertex indices.
        least_distance: Between any two vertices that stay, in the same unit; 0 keeps all.

    Returns:
        (K,) ascending indices of the vertices that stay, see `apart`; and (T', 3) triangles,
        indices of these, wound as before. T' may be 0.

    Raises:
        TypeError: An array does not hold numbers of the right kind.
        ValueError: A shape is wrong, a vertex is not finite, an index lies outside the vertices or
            the distance is negative.

    Source:
        Vertex clustering: Rossignac and Borrel, Multi-resolution 3D approximations, 1993; here
        around vertices that stay instead of in the cells of a grid.
    """
    points = checked_vertices(vertices)
    corners = checked_triangles(triangles, len(points))
    kept = apart(points, least_distance)
    if len(kept) == len(points):
        return kept, corners
    _, nearest = _tree(points[kept]).query(points)
    merged = nearest[corners].astype(np.int32)
    a, b, c = merged.T
    merged = merged[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(merged, axis=1), axis=0, return_index=True)
    return kept, merged[np.sort(first)]


def apart(points: ArrayLike, least_distance: float) -> NDArray[np.int64]:
    """A choice of points that all keep a distance from each other.

    The same points and distance always give the same.

    Args:
        points: (P, D), any unit.
        least_distance: Between any two, in the same unit; 0 keeps all.

    Returns:
        (K,) ascending indices; from every point one of these is nearer than twice the distance.

    Raises:
        ValueError: The shape is wrong, a point is not finite or the distance is negative.

    Source: Luby, A simple parallel algorithm for the maximal independent set problem, 1986.
    """
    places = np.asarray(points, dtype=np.float64)
    if places.ndim != 2 or not np.isfinite(places).all():
        raise ValueError(f"points must be finite, of shape (P, D), not {places.shape}")
    if not (np.isfinite(least_distance) and least_distance >= 0):
        raise ValueError(f"least_distance must be 0 or greater, not {least_distance}")
    kept = np.arange(len(places))
    if least_distance == 0 or len(places) < 2:
        return kept
    # A mixed order: along rows of points, one after the other would have to be decided.
    order = np.random.default_rng(0).permutation(len(places))
    neighbour, _ = _tree(places).query(places, k=2)
    usual = float(np.median(neighbour[:, 1]))
    # In steps, so that none has more than a few neighbours left. The last one alone decides.
    steps = 0
    if usual < least_distance:
        octaves = np.log2(least_distance) - np.log2(max(usual, np.finfo(np.float64).tiny))
        steps = min(int(np.ceil(octaves)), _MOST_STEPS)
    for distance in least_distance / 2.0 ** np.arange(steps, -1, -1):
        kept = kept[_independent(places[kept], order[kept], float(distance))]
    return kept


def _tree(points: Floats) -> Any:
    # SciPy takes a while to import: only who thins waits for it.
    from scipy.spatial import cKDTree

    return cKDTree(points)


def _independent(points: Floats, order: NDArray[np.int64], distance: float) -> NDArray[np.bool_]:
    """(P,) True for points of which no two are nearer than a distance; no other could be added."""
    pairs = _tree(points).query_pairs(np.nextafter(distance, 0), output_type="ndarray")
    stays, undecided = np.zeros(len(points), dtype=bool), np.ones(len(points), dtype=bool)
    while len(pairs):
        # Who comes before all undecided neighbours stays, and they go.
        first = undecided.copy()
        earlier = order[pairs[:, 0]] < order[pairs[:, 1]]
        first[np.where(earlier, pairs[:, 1], pairs[:, 0])] = False
        stays |= first
        gone = np.zeros(len(points), dtype=bool)
        gone[pairs[first[pairs[:, 0]], 1]] = True
        gone[pairs[first[pairs[:, 1]], 0]] = True
        undecided &= ~(first | gone)
        pairs = pairs[undecided[pairs].all(axis=1)]
    return stays | undecided
