"""The pipeline called as Sim3DR's users call it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from img2pose.references import default_mesh
from sim3dr import RenderPipeline

SQUARE = np.array([[2.0, 1, 5], [6, 1, 5], [6, 4, 5], [2, 4, 5]])
CORNERS = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
GLOW = {"intensity_ambient": 1.0, "intensity_directional": 0.0, "intensity_specular": 0.0}


def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 10, 3)).astype(np.uint8)


def test_a_white_mesh_covers_its_pixels_and_leaves_the_rest() -> None:
    background = photograph()
    before = background.copy()
    drawn = RenderPipeline(**GLOW)(SQUARE, CORNERS, background)
    np.testing.assert_array_equal(background, before)
    before[1:5, 2:7] = 255
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, before)


def test_the_greater_z_is_nearer() -> None:
    nearer = SQUARE + [0, 0, 1]
    vertices = np.vstack([nearer, SQUARE])
    colours = np.repeat([[1.0, 0, 0], [0, 0.2, 0]], 4, axis=0)
    drawn = RenderPipeline(**GLOW)(
        vertices, np.vstack([CORNERS, CORNERS + 4]), photograph(), texture=colours
    )
    np.testing.assert_array_equal(drawn[1:5, 2:7], np.tile([255, 0, 0], (4, 5, 1)))


def test_the_lamp_before_the_face_lights_it_and_the_one_behind_does_not() -> None:
    settings: dict[str, Any] = {"intensity_ambient": 0.2, "intensity_specular": 0.0}
    front = RenderPipeline(**settings)(SQUARE, CORNERS, photograph())
    behind = RenderPipeline(**settings, light_pos=(0, 0, -5))(SQUARE, CORNERS, photograph())
    # Seen straight on from (0, 0, 5), the corners lie at most 15 degrees aside.
    assert (front[1:5, 2:7] > 255 * (0.2 + 0.6 * 0.95)).all()
    np.testing.assert_array_equal(behind[1:5, 2:7], 51)


def test_parts_beyond_the_picture_are_left_out() -> None:
    background = photograph()
    drawn = RenderPipeline(**GLOW)(SQUARE + [5.0, -3, 0], CORNERS, background)
    expected = background.copy()
    expected[:2, 7:] = 255
    np.testing.assert_array_equal(drawn, expected)
    for shift in ([100.0, 0, 0], [0, -100, 0], [1e12, 0, 0]):
        untouched = RenderPipeline(**GLOW)(SQUARE + shift, CORNERS, background)
        np.testing.assert_array_equal(untouched, background)


def test_engines_and_threads_agree_on_a_head() -> None:
    vertices = default_mesh().vertices * [40.0, 40.0, -40.0] + [60, 50, 0]
    background = np.full((100, 120, 3), 90, dtype=np.uint8)
    drawn = [
        RenderPipeline(**settings)(vertices, default_mesh().triangles, background)
        for settings in ({"threads": 1}, {"threads": 2}, {"engine": "numpy"})
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0].astype(int) - drawn[2]).max() <= 1
    assert (drawn[0][50, 60] > 120).all() and (drawn[0][0, 0] == 90).all()


def test_wrong_input_is_named() -> None:
    with pytest.raises(TypeError, match="no setting light"):
        RenderPipeline(light=1)
    render = RenderPipeline()
    with pytest.raises(TypeError, match="uint8"):
        render(SQUARE, CORNERS, photograph().astype(float))
    with pytest.raises(ValueError, match="background must have shape"):
        render(SQUARE, CORNERS, photograph()[..., 0])
    with pytest.raises(ValueError, match="texture must have shape"):
        render(SQUARE, CORNERS, photograph(), texture=np.ones((3, 3)))
    with pytest.raises(ValueError, match="name vertices"):
        render(SQUARE, CORNERS + 1, photograph())
