from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from sim3dr import apart, subdivide, thin, vertex_normals

OCTAHEDRON = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
SIDES = np.array([[x, y, z] for x in (0, 1) for y in (2, 3) for z in (4, 5)])


def ball() -> tuple[np.ndarray, np.ndarray]:
    """(1026, 3) vertices of a ball of radius 1, and triangles whose fronts are outside."""
    facing = np.linalg.det(OCTAHEDRON[SIDES]) < 0
    vertices, triangles = OCTAHEDRON, np.where(facing[:, None], SIDES, SIDES[:, ::-1])
    for _ in range(4):
        vertices, triangles, _ = subdivide(vertices, triangles)
        vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    return vertices, triangles


@settings(deadline=None, max_examples=60)
@given(
    points=arrays(np.float64, (40, 2), elements=st.integers(-30, 30).map(float)),
    distance=st.just(0.0) | st.floats(1e-3, 70),
)
def test_points_that_stay_are_apart_and_near_all_others(
    points: np.ndarray, distance: float
) -> None:
    kept = apart(points, distance)
    assert (np.diff(kept) > 0).all() and len(kept)
    between = cdist(points[kept], points[kept])
    np.fill_diagonal(between, np.inf)
    assert between.min() >= distance
    assert cdist(points, points[kept]).min(axis=1).max() <= 2 * distance
    np.testing.assert_array_equal(apart(points, distance), kept)


def test_few_points_and_crowds() -> None:
    assert apart(np.zeros((0, 2)), 1.0).tolist() == []
    assert apart(np.zeros((1, 3)), 1.0).tolist() == [0]
    assert len(apart(np.zeros((1000, 2)), 1e-300)) == len(apart(np.zeros((1000, 2)), 5.0)) == 1
    assert len(apart(np.zeros((5, 2)), 0.0)) == 5


def test_a_thinned_ball_is_a_closed_ball_with_its_front_outside() -> None:
    vertices, triangles = ball()
    for distance in (0.1, 0.3, 0.6):
        kept, corners = thin(vertices, triangles, distance)
        coarse = vertices[kept]
        assert 0.5 < len(kept) * distance**2 / (4 * np.pi) < 1.3
        assert len(np.unique(corners)) == len(kept)
        # Closed: each side belongs to two triangles, and there are as many as Euler says.
        sides = np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        _, count = np.unique(sides, axis=0, return_counts=True)
        assert (count == 2).all()
        assert len(corners) == 2 * len(kept) - 4
        assert ((vertex_normals(coarse, corners) * coarse).sum(axis=1) > 0.7).all()


def test_small_distances_keep_the_mesh_and_great_ones_no_triangle() -> None:
    vertices, triangles = ball()
    for distance in (0.0, 1e-6):
        kept, corners = thin(vertices, triangles, distance)
        np.testing.assert_array_equal(kept, np.arange(len(vertices)))
        np.testing.assert_array_equal(corners, triangles)
    kept, corners = thin(vertices, triangles, 5.0)
    assert len(kept) == 1 and corners.shape == (0, 3)


def test_wrong_input_is_named() -> None:
    for points in (np.zeros(3), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="points must be finite"):
            apart(points, 1.0)
    for distance in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="least_distance"):
            apart(np.zeros((3, 2)), distance)
        with pytest.raises(ValueError, match="least_distance"):
            thin(*ball(), distance)
    with pytest.raises(ValueError, match="name vertices"):
        thin(np.zeros((2, 3)), [[0, 1, 2]], 1.0)
