"""Known answers of the plain rasterizer."""

from __future__ import annotations

import numpy as np
import pytest

from sim3dr import rasterize

TRIANGLE = np.array([[0, 1, 2]])
# Corners clockwise on a screen with y down: the front is seen.
FRONT = np.array([[0.0, 0.0, 2.0], [3.0, 0.0, 2.0], [0.0, 3.0, 2.0]])
RED, GREEN = np.tile([1.0, 0.0, 0.0], (3, 1)), np.tile([0.0, 1.0, 0.0], (3, 1))


def test_one_triangle_covers_the_pixels_whose_centres_it_holds() -> None:
    drawn = rasterize(FRONT, TRIANGLE, RED, 5, 6)
    expected = np.add.outer(np.arange(5), np.arange(6)) <= 3
    np.testing.assert_array_equal(drawn.triangle_index == 0, expected)
    np.testing.assert_array_equal(drawn.image[..., 0], expected)
    np.testing.assert_allclose(drawn.depth[expected], 2.0)
    assert np.isinf(drawn.depth[~expected]).all()


def test_pixel_centres_have_whole_coordinates() -> None:
    small = np.array([[1.9, 0.9, 1.0], [2.2, 0.9, 1.0], [2.0, 1.2, 1.0]])
    drawn = rasterize(small, TRIANGLE, RED, 4, 4)
    assert np.argwhere(drawn.triangle_index == 0).tolist() == [[1, 2]]


def test_corner_pixels_take_the_corner_colours() -> None:
    drawn = rasterize(FRONT, TRIANGLE, np.eye(3), 4, 4)
    np.testing.assert_allclose(drawn.image[0, 0], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(drawn.image[0, 3], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(drawn.image[3, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(drawn.image[1, 1], [1 / 3, 1 / 3, 1 / 3], atol=1e-12)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_nearer_hides_farther_in_any_order(order: list[int]) -> None:
    nearer = FRONT - np.array([0.0, 0.0, 1.0])
    triangles = np.array([[0, 1, 2], [3, 4, 5]])[order]
    drawn = rasterize(np.vstack([FRONT, nearer]), triangles, np.vstack([RED, GREEN]), 4, 4)
    covered = drawn.triangle_index >= 0
    np.testing.assert_array_equal(drawn.image[covered], np.tile([0, 1, 0], (covered.sum(), 1)))
    np.testing.assert_allclose(drawn.depth[covered], 1.0)


def test_at_equal_depth_the_lowest_index_is_seen() -> None:
    drawn = rasterize(
        np.vstack([FRONT, FRONT]), [[3, 4, 5], [0, 1, 2]], np.vstack([RED, GREEN]), 4, 4
    )
    assert set(drawn.triangle_index.ravel()) == {-1, 0}


def test_intersecting_triangles_are_split_where_they_cross() -> None:
    flat = np.array([[0.0, 0.0, 1.0], [20.0, 0.0, 1.0], [0.0, 20.0, 1.0]])
    steep = np.array([[0.0, 0.0, 0.05], [20.0, 0.0, 2.05], [0.0, 20.0, 0.05]])
    drawn = rasterize(
        np.vstack([flat, steep]), [[0, 1, 2], [3, 4, 5]], np.vstack([RED, GREEN]), 10, 10
    )
    columns = np.arange(10)
    expected = np.tile(np.where(0.05 + 0.1 * columns < 1.0, 1, 0), (10, 1))
    np.testing.assert_array_equal(drawn.triangle_index, expected)


def test_back_sides_are_culled_unless_asked_for() -> None:
    back = FRONT[[0, 2, 1]]
    assert (rasterize(back, TRIANGLE, RED, 4, 4).triangle_index == -1).all()
    kept = rasterize(back, TRIANGLE, RED, 4, 4, cull_back=False)
    front = rasterize(FRONT, TRIANGLE, RED, 4, 4)
    np.testing.assert_array_equal(kept.triangle_index, front.triangle_index)


def test_barycentric_weights_sum_to_one_and_rebuild_the_pixel() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.uniform(-10, 50, (60, 3))
    triangles = rng.integers(0, 60, (40, 3))
    drawn = rasterize(vertices, triangles, rng.uniform(size=(60, 3)), 40, 30, cull_back=False)
    covered = drawn.triangle_index >= 0
    assert covered.any() and not covered.all()
    weights = drawn.barycentric[covered]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert (weights >= -1e-8).all()
    np.testing.assert_array_equal(drawn.barycentric[~covered], 0.0)
    corners = vertices[triangles[drawn.triangle_index[covered]]]
    points = (weights[..., None] * corners).sum(axis=1)
    rows, columns = np.nonzero(covered)
    np.testing.assert_allclose(points[:, 0], columns, atol=1e-8)
    np.testing.assert_allclose(points[:, 1], rows, atol=1e-8)
    np.testing.assert_allclose(points[:, 2], drawn.depth[covered], atol=1e-8)


def test_depth_is_the_nearest_of_all_triangles_checked_one_by_one() -> None:
    rng = np.random.default_rng(1)
    vertices = rng.uniform(0, 12, (30, 3))
    triangles = rng.integers(0, 30, (25, 3))
    colours = np.zeros((30, 3))
    together = rasterize(vertices, triangles, colours, 12, 12, cull_back=False).depth
    alone = [
        rasterize(vertices, t[None], colours, 12, 12, cull_back=False).depth for t in triangles
    ]
    np.testing.assert_array_equal(together, np.min(alone, axis=0))


def test_a_closed_surface_has_no_cracks() -> None:
    side = np.linspace(1.3, 17.7, 9)
    x, y = np.meshgrid(side, side)
    vertices = np.stack([x.ravel(), y.ravel(), np.ones(81)], axis=1)
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    triangles = np.vstack(
        [
            np.stack([corner, corner + 1, corner + 10], axis=1),
            np.stack([corner, corner + 10, corner + 9], axis=1),
        ]
    )
    drawn = rasterize(vertices, triangles, np.ones((81, 3)), 20, 20)
    assert (drawn.triangle_index[2:18, 2:18] >= 0).all()
    assert drawn.image.sum() == 3 * 16 * 16


def test_memory_parts_do_not_change_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    vertices, triangles = rng.uniform(0, 30, (50, 3)), rng.integers(0, 50, (60, 3))
    whole = rasterize(vertices, triangles, vertices, 30, 30, cull_back=False)
    monkeypatch.setattr("sim3dr.rasterizer._CANDIDATES_AT_ONCE", 100)
    parts = rasterize(vertices, triangles, vertices, 30, 30, cull_back=False)
    np.testing.assert_array_equal(whole.triangle_index, parts.triangle_index)
    np.testing.assert_array_equal(whole.image, parts.image)


def test_background_is_a_colour_or_a_picture_and_is_not_changed() -> None:
    picture = np.random.default_rng(3).uniform(size=(5, 6, 3))
    before = picture.copy()
    drawn = rasterize(FRONT, TRIANGLE, RED, 5, 6, background=picture)
    np.testing.assert_array_equal(picture, before)
    empty = drawn.triangle_index < 0
    np.testing.assert_array_equal(drawn.image[empty], picture[empty])
    plain = rasterize(FRONT, TRIANGLE, RED, 5, 6, background=[0.1, 0.2, 0.3])
    np.testing.assert_allclose(plain.image[4, 5], [0.1, 0.2, 0.3])


def test_nothing_to_draw_leaves_the_background() -> None:
    nothing = np.zeros((0, 3))
    drawn = rasterize(nothing, np.zeros((0, 3), dtype=int), nothing, 3, 4)
    assert (drawn.triangle_index == -1).all() and (drawn.image == 0).all()
    outside = rasterize(FRONT + np.array([100.0, 0.0, 0.0]), TRIANGLE, RED, 3, 4)
    assert (outside.triangle_index == -1).all()


def test_triangles_without_area_or_with_infinite_corners_never_appear() -> None:
    line = np.array([[0.0, 0.0, 1.0], [2.0, 2.0, 1.0], [4.0, 4.0, 1.0]])
    lost = np.array([[0.0, 0.0, 1.0], [np.nan, 0.0, 1.0], [0.0, np.inf, 1.0]])
    for vertices in (line, lost):
        drawn = rasterize(vertices, TRIANGLE, RED, 5, 5, cull_back=False)
        assert (drawn.triangle_index == -1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vertices_screen": FRONT[:, :2]}, "vertices must have shape"),
        ({"triangles": np.array([0, 1, 2])}, "triangles must have shape"),
        ({"triangles": np.array([[0, 1, 3]])}, "name vertices 0 to 2"),
        ({"triangles": np.array([[0, -1, 2]])}, "name vertices 0 to 2"),
        ({"triangles": np.array([[0.0, 1.0, 2.0]])}, "whole numbers"),
        ({"colours": RED[:2]}, "colours must have shape"),
        ({"height": 0}, "at least 1"),
        ({"background": np.zeros((2, 2, 3))}, "background must have shape"),
    ],
)
def test_wrong_input_is_named(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "vertices_screen": FRONT,
        "triangles": TRIANGLE,
        "colours": RED,
        "height": 5,
        "width": 6,
    }
    with pytest.raises(ValueError, match=message):
        rasterize(**(arguments | changes))  # type: ignore[arg-type]
