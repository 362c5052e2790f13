from __future__ import annotations

import numpy as np
import pytest

from sim3dr import depth_picture, pncc_colours

DEPTH = np.array([[1.0, 2.0, 3.0], [10.0, 12.0, np.inf]])


def test_the_nearest_is_white_the_farthest_dark_and_nothing_black() -> None:
    picture = depth_picture(DEPTH)
    assert picture.dtype == np.uint8
    assert picture[0, 0] == 255 and picture[1, 2] == 0
    assert 0 < picture[1, 1] == picture[np.inf > DEPTH].min()
    assert (np.diff(picture[np.inf > DEPTH].astype(int)) < 0).all()
    assert (depth_picture(np.full((2, 2), np.inf)) == 0).all()
    assert (depth_picture(np.full((2, 2), 7.0)) == 255).all()


def test_given_depths_set_the_range() -> None:
    picture = depth_picture(DEPTH, near=2.0, far=10.0)
    assert picture[0, :2].tolist() == [255, 255]
    assert picture[1, 0] == picture[1, 1] == depth_picture(DEPTH)[1, 1]


def test_each_mesh_can_have_its_own_range() -> None:
    meshes = np.array([[0, 0, 0], [4, 4, -1]])
    picture = depth_picture(DEPTH, meshes)
    assert picture[0, 0] == picture[1, 0] == 255
    assert picture[0, 2] == picture[1, 1] > 0
    assert picture[1, 2] == 0
    with pytest.raises(ValueError, match="own range"):
        depth_picture(DEPTH, meshes, near=1.0)
    with pytest.raises(ValueError, match="mesh_index"):
        depth_picture(DEPTH, meshes[:1])
    with pytest.raises(ValueError, match="depth"):
        depth_picture(DEPTH[0])


def test_limits_that_make_no_range_are_refused() -> None:
    for limits in ({"near": np.nan}, {"far": np.inf}, {"near": 3.0, "far": 1.0}):
        with pytest.raises(ValueError, match=r"near|far"):
            depth_picture(DEPTH, **limits)


def test_pncc_runs_from_0_to_255_along_each_axis() -> None:
    vertices = np.array([[-1.0, 2, 5], [3, 2, 6], [1, 4, 9]])
    code = pncc_colours(vertices)
    np.testing.assert_allclose(code, [[0, 0, 0], [255, 0, 63.75], [127.5, 255, 255]])
    # A shift and a scale do not change places on the shape.
    np.testing.assert_allclose(pncc_colours(vertices * [2, 3, 4] + 7), code)
    np.testing.assert_array_equal(pncc_colours(np.ones((2, 3))), 0)
    with pytest.raises(ValueError, match="vertices"):
        pncc_colours(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="not finite"):
        pncc_colours(vertices * np.nan)
