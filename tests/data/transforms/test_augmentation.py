from __future__ import annotations

import numpy as np
import pytest

from img2pose.config import DataConfig, read_config
from img2pose.data.transforms import Augmentation, Mosaic, Picture, face_boxes
from img2pose.errors import InputError
from img2pose.references import PoseReferences

HEIGHT, WIDTH = 240, 320
FACE = np.array([[0.1, -0.2, 0.05, 0.3, 0.1, 8.0]])


def checkerboard(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    rows, columns = np.indices((height, width)) // 16
    return np.repeat((((rows + columns) % 2) * 200 + 30)[..., None], 3, axis=2).astype(np.uint8)


@pytest.fixture
def picture() -> Picture:
    return Picture(checkerboard(), FACE.copy())


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


def test_zooming_out_places_the_picture_anywhere_and_fills_with_one_colour(
    references: PoseReferences,
) -> None:
    red = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    red[:] = (200, 10, 20)
    red[::2] = (180, 10, 20)
    picture = Picture(red, FACE.copy())
    augment = Augmentation(DataConfig(zoom_out_range=(2.0, 4.0)), references)
    shares, corners, gray, outcomes = [], [], [], 0
    for seed in range(60):
        changed = augment(picture, np.random.default_rng(seed))
        assert changed.size_hw == picture.size_hw
        if changed.pixels is picture.pixels:
            continue
        outcomes += 1
        # What differs from the mean that the canvas may have been filled with.
        shown = face_boxes(changed, references)[0] / face_boxes(picture, references)[0]
        size = np.ptp(face_boxes(changed, references)[0].reshape(2, 2), axis=0)
        shares.append(np.ptp(face_boxes(picture, references)[0].reshape(2, 2), axis=0) / size)
        corners.append(shown[:2])
        border = changed.pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
        gray.append(bool((np.ptp(border, axis=1) == 0).sum() >= 3))
    assert 18 < outcomes < 42
    assert np.min(shares) > 1.7
    assert np.max(shares) < 4.4
    assert 0.2 < np.mean(gray) < 0.8
    assert np.std(corners) > 0.2


def test_a_zoomed_out_picture_keeps_its_face_whole(
    picture: Picture, references: PoseReferences
) -> None:
    augment = Augmentation(DataConfig(zoom_out_range=(1.0, 3.0), random_crop=True), references)
    for seed in range(30):
        assert len(augment(picture, np.random.default_rng(seed)).poses_in_image) <= 1
    augment = Augmentation(DataConfig(zoom_out_range=(1.0, 3.0)), references)
    for seed in range(30):
        assert len(augment(picture, np.random.default_rng(seed)).poses_in_image) == 1


def test_crops_keep_most_faces(references: PoseReferences) -> None:
    """Faces spread over a picture: a crop of 0.85 of the sides on average keeps 0.72 of them."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0.05, 0.95, (60, 2)) - 0.5
    depth = 40.0
    xy = places * (WIDTH, HEIGHT) / (WIDTH + HEIGHT) * depth
    poses = np.column_stack([np.zeros((60, 3)), xy, np.full(60, depth)])
    picture = Picture(checkerboard(), poses)
    augment = Augmentation(DataConfig(random_crop=True), references)
    kept = [len(augment(picture, np.random.default_rng(s)).poses_in_image) for s in range(60)]
    cropped = np.array([count for count in kept if count < 60]) / 60
    assert 0.65 < cropped.mean() < 0.85
    assert cropped.min() > 0.4


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (40, 1), (3, 2), (17, 31)])
def test_tiny_pictures_with_everything_on(
    size_hw: tuple[int, int], references: PoseReferences
) -> None:
    everything = DataConfig(
        random_flip=True,
        random_crop=True,
        rotation_deg=90,
        scale_range=(0.3, 2),
        zoom_out_range=(1, 4),
        brightness=0.3,
        saturation=0.5,
        hue_deg=20,
        blur_sigma=2,
        motion_blur_length=7,
        low_resolution_scale=0.2,
        jpeg_quality_min=10,
        degradation_probability=1,
        noise_augmentation=True,
        occlusion_probability=1,
        mosaic_canvas=32,
    )
    picture = Picture(np.full((*size_hw, 3), 90, dtype=np.uint8), FACE.copy())
    for seed in range(10):
        rng = np.random.default_rng(seed)
        changed = Augmentation(everything, references)(picture, rng)
        assert changed.pixels.dtype == np.uint8
        assert min(changed.size_hw) >= 1
        canvas = Mosaic(everything, references)([picture] * 4, rng)
        assert canvas.pixels.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("zoom_out_range", (0.5, 2.0)),
        ("zoom_out_range", (3.0, 2.0)),
        ("gamma_range", (0.0, 1.0)),
        ("channel_gain", 1.5),
        ("saturation", -0.1),
        ("hue_deg", 181.0),
        ("blur_sigma", -1.0),
        ("motion_blur_length", -1.0),
        ("low_resolution_scale", 0.0),
        ("low_resolution_scale", 1.1),
        ("jpeg_quality_min", 0),
        ("degradation_probability", 1.1),
        ("occlusion_probability", -0.1),
        ("occlusion_size", (0.0, 0.5)),
        ("occlusion_max_hidden", 1.2),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(InputError, match=setting):
        DataConfig(**{setting: value})


def test_settings_are_read_as_the_command_line_spells_them() -> None:
    spelled = {"zoom_out_range": "1, 2.5", "jpeg_quality_min": "30", "occlusion_size": [0.1, 0.4]}
    config = read_config(DataConfig, None, spelled)
    assert config.zoom_out_range == (1.0, 2.5)
    assert config.jpeg_quality_min == 30
    assert config.occlusion_size == (0.1, 0.4)
