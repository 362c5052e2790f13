"""Laws of subdivision."""

from __future__ import annotations

import numpy as np

from img2pose.references import default_mesh
from sim3dr import subdivide


def test_one_triangle_becomes_four_wound_alike() -> None:
    vertices = np.array([[0.0, 0, 1], [4, 0, 1], [0, 4, 1]])
    finer, triangles, ends = subdivide(vertices, [[0, 1, 2]])
    np.testing.assert_array_equal(finer[:3], vertices)
    np.testing.assert_array_equal(finer[3:], vertices[ends].mean(axis=1))
    a, b, c = finer[triangles].transpose(1, 0, 2)
    np.testing.assert_array_equal(np.cross(b - a, c - a), np.tile([0.0, 0, 4], (4, 1)))


def test_the_surface_stays_and_edges_are_shared() -> None:
    mesh = default_mesh()
    finer, triangles, ends = subdivide(mesh.vertices, mesh.triangles)
    edges = np.sort(mesh.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert len(ends) == len(np.unique(edges, axis=0))
    assert len(triangles) == 4 * len(mesh.triangles)

    def facing(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
        a, b, c = points[corners].transpose(1, 0, 2)
        crossed: np.ndarray = np.cross(b - a, c - a)
        return crossed

    whole = facing(mesh.vertices, mesh.triangles)
    parts = facing(finer, triangles).reshape(-1, 4, 3)
    np.testing.assert_allclose(parts, np.repeat(whole[:, None] / 4, 4, axis=1), atol=1e-12)
