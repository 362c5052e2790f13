from __future__ import annotations

import numpy as np
import pytest

from img2pose.config import DataConfig
from img2pose.data.transforms import (
    Augmentation,
    Composer,
    Mosaic,
    Picture,
    Tile,
    add_noise,
    face_boxes,
    paint_out,
    warp_pixels,
)
from img2pose.geometry import image_intrinsics, project_points
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


def points_of(picture: Picture, references: PoseReferences) -> np.ndarray:
    camera = image_intrinsics(*picture.size_hw)
    return project_points(references.points_68, picture.poses_in_image, camera)


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
    moved = warp_pixels(pixels, np.array([[1.0, 0, 5], [0, 1, 0]]), (10, 10), border=77)
    assert (moved[:, :5] == 77).all()
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
    moved = composer.compose([Tile(picture, away, (0, 0, 50, 50), border=9)], (50, 50))
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


def test_paint_out_spares_labelled_faces() -> None:
    pixels = np.full((20, 20, 3), 100, dtype=np.uint8)
    painted = paint_out(pixels, np.array([[2.0, 2, 12, 12]]), np.array([[8.0, 8, 18, 18]]))
    assert (painted[2:8, 2:8] == 0).all()
    assert (painted[8:12, 8:12] == 100).all()
    assert (pixels == 100).all()


def test_paint_out_takes_boxes_beyond_the_picture() -> None:
    pixels = np.full((20, 20, 3), 100, dtype=np.uint8)
    painted = paint_out(pixels, np.array([[-5.0, -5, 4, 4], [30, 30, 40, 40]]), np.zeros((0, 4)))
    assert (painted[:4, :4] == 0).all()
    assert (painted[4:, 4:] == 100).all()


def test_crop_keeps_between_seven_and_ten_tenths_and_lies_anywhere(
    references: PoseReferences,
) -> None:
    augment = Augmentation(DataConfig(random_crop=True), references)
    ramp = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    ramp[..., 0] = np.arange(WIDTH) * 255 // WIDTH
    ramp[..., 1] = (np.arange(HEIGHT) * 255 // HEIGHT)[:, None]
    picture = Picture(ramp, np.zeros((0, 6)))
    cropped = [augment(picture, np.random.default_rng(seed)) for seed in range(60)]
    heights = np.array([c.size_hw[0] for c in cropped]) / HEIGHT
    changed = heights < 1
    assert 15 < changed.sum() < 45
    assert heights.min() >= 0.69
    # Not aligned to the top: the first row is not always the picture's first.
    assert np.mean([c.pixels[0, 0, 1] > 2 for c in cropped]) > 0.2


def test_no_augmentation_changes_nothing(picture: Picture, references: PoseReferences) -> None:
    same = Augmentation(DataConfig(), references)(picture, np.random.default_rng(0))
    np.testing.assert_array_equal(same.pixels, picture.pixels)
    np.testing.assert_array_equal(same.poses_in_image, picture.poses_in_image)


def test_the_same_random_state_gives_the_same_picture(
    picture: Picture, references: PoseReferences
) -> None:
    config = DataConfig(
        random_flip=True,
        random_crop=True,
        rotation_deg=30,
        scale_range=(0.5, 1.5),
        brightness=0.3,
        grayscale_probability=0.5,
        noise_augmentation=True,
        contrast_augmentation=True,
    )
    augment = Augmentation(config, references)
    for seed in range(10):
        first = augment(picture, np.random.default_rng(seed))
        second = augment(picture, np.random.default_rng(seed))
        np.testing.assert_array_equal(first.pixels, second.pixels)
        np.testing.assert_array_equal(first.poses_in_image, second.poses_in_image)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("brightness", 0.5), ("grayscale_probability", 1.0), ("contrast_augmentation", True)],
)
def test_each_colour_setting_does_something(
    references: PoseReferences, setting: str, value: object
) -> None:
    pixels = np.random.default_rng(0).integers(50, 200, (32, 32, 3), dtype=np.uint8)
    picture = Picture(pixels, np.zeros((0, 6)))
    augment = Augmentation(DataConfig(**{setting: value}), references)
    changed = [augment(picture, np.random.default_rng(seed)).pixels for seed in range(8)]
    assert any((pixels != c).any() for c in changed)


def test_contrast_keeps_the_order_of_grey_levels(references: PoseReferences) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    augment = Augmentation(DataConfig(contrast_augmentation=True, brightness=0.5), references)
    spreads = []
    for seed in range(20):
        changed = augment.change_colours(ramp, np.random.default_rng(seed))[0, :, 0].astype(int)
        assert (np.diff(changed) >= 0).all()
        spreads.append(np.ptp(changed[64:192]))
    assert min(spreads) < 100 < max(spreads)


def test_noise_of_each_kind() -> None:
    pixels = np.full((64, 64, 3), 128, dtype=np.uint8)
    spread = [add_noise(pixels, np.random.default_rng(seed)).std() for seed in range(12)]
    assert min(spread) > 5
    assert len({round(s) for s in spread}) >= 3


def test_mosaic_places_every_picture_with_its_face(
    picture: Picture, references: PoseReferences
) -> None:
    config = DataConfig(
        mosaic_max_side=3,
        mosaic_canvas=320,
        mosaic_margin=(2.0, 3.0),
        random_flip=True,
        rotation_deg=20,
    )
    mosaic = Mosaic(config, references)
    for tiles_a_side in (1, 2, 3):
        canvas = mosaic([picture] * tiles_a_side**2, np.random.default_rng(tiles_a_side))
        assert canvas.size_hw == (320, 320)
        assert len(canvas.poses_in_image) == tiles_a_side**2
        boxes = face_boxes(canvas, references)
        cell = 320 / tiles_a_side
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        cells = {tuple(c) for c in (centers // cell).astype(int).tolist()}
        assert len(cells) == tiles_a_side**2
        sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
        assert (sides > cell / 3.7).all()
        assert (sides < cell / 1.5).all()


def test_mosaic_takes_pictures_without_faces(references: PoseReferences) -> None:
    config = DataConfig(mosaic_max_side=2, mosaic_canvas=64)
    empty = Picture(checkerboard(), np.zeros((0, 6)))
    canvas = Mosaic(config, references)([empty] * 4, np.random.default_rng(0))
    assert canvas.poses_in_image.shape == (0, 6)
    assert canvas.pixels.any()
