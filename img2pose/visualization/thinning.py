"""Fewer vertices for faces that are small in their picture, where all would run into each other."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from img2pose.references import FaceMesh
from sim3dr import thin

# Of a mesh's extent: however small a face is, its vertices need not be farther apart.
_LARGEST_SHARE = 0.2


def thinned(
    mesh: FaceMesh, pixels_a_unit: float, least_pixels: float
) -> tuple[np.ndarray, np.ndarray]:
    """The vertices of a mesh that keep a distance on the picture, and triangles of them.

    Distances come in steps of half an octave of the mesh's own frame, so a face keeps its vertices
    however it turns, and as long as its size changes little.

    Args:
        mesh: Of all faces.
        pixels_a_unit: Of the face, see `FaceScene.pixels_a_unit`.
        least_pixels: Between neighbours where the surface is seen frontally; 0 keeps all.

    Returns:
        (K,) indices of the mesh's vertices and (T, 3) triangles, indices of these.
    """
    largest = _LARGEST_SHARE * float(np.ptp(mesh.vertices, axis=0).max())
    least = min(least_pixels / pixels_a_unit, largest)
    if not least > 0:
        return np.arange(len(mesh.vertices)), mesh.triangles
    return _thinned(mesh, int(np.floor(2 * np.log2(least))))


@lru_cache(maxsize=64)
def _thinned(mesh: FaceMesh, half_octave: int) -> tuple[np.ndarray, np.ndarray]:
    kept, triangles = thin(mesh.vertices, mesh.triangles, 2 ** (half_octave / 2))
    if not len(triangles):
        return np.arange(len(mesh.vertices)), mesh.triangles
    return kept, triangles
