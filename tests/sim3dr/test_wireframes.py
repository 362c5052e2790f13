from __future__ import annotations

import numpy as np
import pytest

from sim3dr import Mesh, line_coverage, rasterize

BIG = np.array([[5.0, 5, 2], [55, 5, 2], [5, 55, 2]])


def coverage_of(*triangles: np.ndarray, line_width: float = 1.0) -> np.ndarray:
    meshes = [Mesh(vertices, [[0, 1, 2]]) for vertices in triangles]
    return line_coverage(rasterize(meshes, 60, 60, engine="numpy"), meshes, line_width)


def test_sides_are_drawn_and_the_inside_is_not() -> None:
    lines = coverage_of(BIG)
    np.testing.assert_array_equal(lines[5, 6:50], 1)
    np.testing.assert_array_equal(lines[6:50, 5], 1)
    np.testing.assert_array_equal(lines[np.arange(6, 55), np.arange(54, 5, -1)], 1)
    # A line of one pixel reaches half a pixel to each side of the triangle's.
    np.testing.assert_allclose(lines[6, 10:40], 0, atol=1e-6)
    assert lines[20, 20] == 0 and lines[58, 58] == 0
    np.testing.assert_allclose(coverage_of(BIG, line_width=4.0)[7, 10:40], 0.5, atol=1e-6)


def test_hidden_lines_are_not_drawn() -> None:
    nearer = np.array([[0.0, 0, 1], [70, 0, 1], [0, 70, 1]])
    lines = coverage_of(BIG, nearer)
    assert lines[5, 10:50].max() == 0
    np.testing.assert_array_equal(lines, coverage_of(nearer))


def test_without_meshes_there_are_no_lines() -> None:
    assert (line_coverage(rasterize([], 4, 5, engine="numpy"), []) == np.zeros((4, 5))).all()


def test_wrong_input_is_named() -> None:
    meshes = [Mesh(BIG, [[0, 1, 2]]), Mesh(BIG - [0, 0, 1], [[0, 1, 2], [0, 2, 1]])]
    drawn = rasterize(meshes, 60, 60, cull_back=False, engine="numpy")
    for width in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="line_width"):
            line_coverage(drawn, meshes, width)
    with pytest.raises(ValueError, match="shows mesh 1, but 1 are given"):
        line_coverage(drawn, meshes[:1])
    flipped = rasterize(Mesh(BIG, [[0, 2, 1], [0, 1, 2]]), 60, 60, engine="numpy")
    with pytest.raises(ValueError, match="triangles that the meshes given do not have"):
        line_coverage(flipped, meshes)
