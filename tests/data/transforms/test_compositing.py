from __future__ import annotations

import numpy as np
import pytest

from img2pose.data.transforms import Composer, Picture, Tile, face_boxes, warp_pixels
from img2pose.data.transforms import projected_points as points_of
from img2pose.references import PoseReferences

HEIGHT, WIDTH = 240, 320
FACE = np.array([[0.1, -0.2, 0.05, 0.3, 0.1, 8.0]])


def checkerboard(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    rows, columns = np.indices((height, width)) // 16
    return np.repeat((((rows + columns) % 2) * 200 + 30)[..., None], 3, axis=2).astype(np.uint8)


@pytest.fixture
def picture() -> Picture:
    return Picture(checkerboard(), FACE.copy())


@pytest.fixture
def composer(references: PoseReferences) -> Composer:
    return Composer(references, min_face_pixels=4)


def test_warp_identity_and_mirror_are_exact() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp_pixels(pixels, np.eye(2, 3), (20, 30)), pixels)
    mirror = np.array([[-1.0, 0, 30], [0, 1, 0]])
    np.testing.assert_array_equal(warp_pixels(pixels, mirror, (20, 30)), pixels[:, ::-1])


def test_warp_shrinks_by_area() -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:, ::2] = 255  # stripes that sampling without area would keep or lose
    small = warp_pixels(pixels, np.diag([0.25, 0.25, 1])[:2], (10, 10))
    assert np.abs(small.astype(int) - 127).max() <= 2


def test_warp_fills_outside_with_the_border() -> None:
    pixels = np.full((10, 10, 3), 200, dtype=np.uint8)
    moved = warp_pixels(pixels, np.array([[1.0, 0, 5], [0, 1, 0]]), (10, 10), border=(77, 78, 79))
    assert (moved[:, :5] == [77, 78, 79]).all()
    assert (moved[:, 5:] == 200).all()


def test_a_shifted_picture_moves_its_face(
    picture: Picture, composer: Composer, references: PoseReferences
) -> None:
    shift = np.array([[1.0, 0, -20], [0, 1, 10]])
    window = (0, 0, WIDTH, HEIGHT)
    moved = composer.compose([Tile(picture, shift, window)], (HEIGHT, WIDTH))
    expected = points_of(picture, references) + [-20, 10]
    assert np.abs(points_of(moved, references) - expected).max() < 1.5


def test_a_mirrored_picture_has_the_mirrored_face(
    picture: Picture, composer: Composer, references: PoseReferences
) -> None:
    window = (0, 0, WIDTH, HEIGHT)
    mirrored = composer.compose([Tile(picture, np.eye(2, 3), window, True)], (HEIGHT, WIDTH))
    np.testing.assert_array_equal(mirrored.pixels, picture.pixels[:, ::-1])
    box, mirrored_box = face_boxes(picture, references)[0], face_boxes(mirrored, references)[0]
    expected = [WIDTH - box[2], box[1], WIDTH - box[0], box[3]]
    np.testing.assert_allclose(mirrored_box, expected, atol=0.1)
    twice = composer.compose([Tile(mirrored, np.eye(2, 3), window, True)], (HEIGHT, WIDTH))
    np.testing.assert_allclose(twice.poses_in_image, FACE, atol=1e-6)


def test_mirroring_an_odd_width_moves_the_principal_point(
    composer: Composer, references: PoseReferences
) -> None:
    odd = Picture(checkerboard(width=321), FACE.copy())
    window = (0, 0, 321, HEIGHT)
    mirrored = composer.compose([Tile(odd, np.eye(2, 3), window, True)], (HEIGHT, 321))
    box, mirrored_box = face_boxes(odd, references)[0], face_boxes(mirrored, references)[0]
    np.testing.assert_allclose(mirrored_box[[0, 2]], 321 - box[[2, 0]], atol=0.1)


def test_a_face_cut_by_more_than_half_is_painted_out(
    picture: Picture, composer: Composer, references: PoseReferences
) -> None:
    left, _, right, _ = face_boxes(picture, references)[0]
    cut_away = np.array([[1.0, 0, -(left + 0.7 * (right - left))], [0, 1, 0]])
    window = (0, 0, WIDTH, HEIGHT)
    moved = composer.compose([Tile(picture, cut_away, window)], (HEIGHT, WIDTH))
    assert len(moved.poses_in_image) == 0
    center_y = int(points_of(picture, references)[0, 33, 1])
    assert (moved.pixels[center_y, : int(0.2 * (right - left))] == 0).all()


def test_a_face_wholly_outside_leaves_nothing(picture: Picture, composer: Composer) -> None:
    away = np.array([[1.0, 0, -1000], [0, 1, 0]])
    moved = composer.compose([Tile(picture, away, (0, 0, 50, 50), border=(9, 9, 9))], (50, 50))
    assert len(moved.poses_in_image) == 0
    assert (moved.pixels == 9).all()


def test_a_face_that_gets_too_small_is_painted_out(
    picture: Picture, references: PoseReferences
) -> None:
    composer = Composer(references, min_face_pixels=30)
    tiny = np.array([[0.2, 0, 0], [0, 0.2, 0]])
    moved = composer.compose([Tile(picture, tiny, (0, 0, 64, 48))], (48, 64))
    assert len(moved.poses_in_image) == 0
    assert (moved.pixels == 0).any()
