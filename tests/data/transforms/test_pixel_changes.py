from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.config import DataConfig
from img2pose.data.transforms import Augmentation, Picture, PixelChanges
from img2pose.data.transforms.pixel_changes import (
    add_noise,
    blur,
    change_chroma,
    change_levels,
    compress,
    lower_resolution,
    motion_blur,
    motion_kernel,
)
from img2pose.references import PoseReferences


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


def test_contrast_keeps_the_order_of_grey_levels() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    change = PixelChanges(DataConfig(contrast_augmentation=True, brightness=0.5))
    spreads = []
    for seed in range(20):
        changed = change(ramp, np.random.default_rng(seed))[0, :, 0].astype(int)
        assert (np.diff(changed) >= 0).all()
        spreads.append(np.ptp(changed[64:192]))
    assert min(spreads) < 100 < max(spreads)


def test_noise_of_each_kind() -> None:
    pixels = np.full((64, 64, 3), 128, dtype=np.uint8)
    spread = [add_noise(pixels, np.random.default_rng(seed)).std() for seed in range(12)]
    assert min(spread) > 5
    assert len({round(s) for s in spread}) >= 3


EACH_CHANGE: dict[str, dict[str, Any]] = {
    "levels": {"brightness": 0.3, "contrast_augmentation": True},
    "gamma": {"gamma_range": (0.5, 2.0)},
    "channel_gain": {"channel_gain": 0.3},
    "saturation": {"saturation": 0.8},
    "hue": {"hue_deg": 90},
    "grayscale": {"grayscale_probability": 0.5},
    "blur": {"blur_sigma": 3.0},
    "motion_blur": {"motion_blur_length": 9.0},
    "low_resolution": {"low_resolution_scale": 0.3},
    "noise": {"noise_augmentation": True},
    "jpeg": {"jpeg_quality_min": 10},
}
EVERYTHING = {name: value for change in EACH_CHANGE.values() for name, value in change.items()}
EACH_CHANGE["everything"] = EVERYTHING


def photograph(height: int = 60, width: int = 81) -> np.ndarray:
    """Soft colours with some detail, away from black and white."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(60, 200, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return (soft + rng.integers(-12, 13, soft.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("data", EACH_CHANGE.values(), ids=EACH_CHANGE)
def test_each_change_leaves_size_poses_and_its_input_alone(
    data: dict[str, Any], references: PoseReferences
) -> None:
    picture = Picture(photograph(), np.array([[0.1, -0.2, 0.05, 0.3, 0.1, 8.0]]))
    before = picture.pixels.copy()
    augment = Augmentation(DataConfig(degradation_probability=0.6, **data), references)
    outcomes = []
    for seed in range(12):
        changed = augment(picture, np.random.default_rng(seed))
        again = augment(picture, np.random.default_rng(seed))
        assert changed.pixels.dtype == np.uint8
        assert changed.size_hw == picture.size_hw
        np.testing.assert_array_equal(changed.poses_in_image, picture.poses_in_image)
        np.testing.assert_array_equal(changed.pixels, again.pixels)
        outcomes.append(changed.pixels)
    np.testing.assert_array_equal(picture.pixels, before)
    assert any((outcome != before).any() for outcome in outcomes)
    assert any((outcome != outcomes[0]).any() for outcome in outcomes)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (40, 1), (2, 3), (7, 5)])
@pytest.mark.parametrize("data", EACH_CHANGE.values(), ids=EACH_CHANGE)
def test_each_change_takes_tiny_pictures(data: dict[str, Any], size_hw: tuple[int, int]) -> None:
    change = PixelChanges(DataConfig(degradation_probability=1.0, **data))
    pixels = np.full((*size_hw, 3), 90, dtype=np.uint8)
    for seed in range(4):
        changed = change(pixels, np.random.default_rng(seed))
        assert changed.shape == pixels.shape
        assert changed.dtype == np.uint8


def test_what_is_off_draws_nothing_new() -> None:
    """The draws of runs that were made before a change was added stay theirs."""
    drawn, expected = np.random.default_rng(5), np.random.default_rng(5)
    PixelChanges(DataConfig(brightness=0.3))(photograph(), drawn)
    expected.uniform(-0.3, 0.3)
    expected.random()
    assert drawn.random() == expected.random()


def test_gamma_by_hand() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    changed = change_levels(ramp, gamma=2.0)[0, :, 1]
    assert changed[[0, 255]].tolist() == [0, 255]
    assert changed[128] == round(255 * (128 / 255) ** 2)
    back = change_levels(changed[None, :, None].repeat(3, axis=2), gamma=0.5)[0, :, 0]
    assert np.abs(back[64:].astype(int) - np.arange(64, 256)).max() <= 2


def test_channel_gains_by_hand() -> None:
    pixels = np.full((2, 2, 3), 100, dtype=np.uint8)
    changed = change_levels(pixels, channel_gains=(1.1, 1.0, 3.0))
    assert changed[0, 0].tolist() == [110, 100, 255]


def test_chroma_keeps_gray_and_luma() -> None:
    gray = np.full((2, 2, 3), 77, dtype=np.uint8)
    assert np.abs(change_chroma(gray, 1.7, 60).astype(int) - 77).max() <= 1
    pixels = photograph()
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(int)
    turned = change_chroma(pixels, 0.6, 40)
    assert np.abs(cv2.cvtColor(turned, cv2.COLOR_RGB2GRAY).astype(int) - luma).max() <= 2
    assert np.abs(change_chroma(pixels, 1, 0).astype(int) - pixels).max() <= 1
    without = change_chroma(pixels, 0, 0).astype(int)
    assert np.ptp(without, axis=2).max() <= 2


def test_a_hue_turned_by_120_degrees_makes_red_green() -> None:
    red = np.zeros((1, 1, 3), dtype=np.uint8)
    red[..., 0] = 120
    turned = {
        angle: int(change_chroma(red, 1, angle)[0, 0].argmax()) for angle in (-120.0, 0.0, 120.0)
    }
    assert turned[0] == 0
    assert {turned[-120], turned[120]} == {1, 2}


def sharpness(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels.astype(int), axis=1)).mean())


def distance(pixels: np.ndarray, other: np.ndarray) -> float:
    return float(((pixels.astype(float) - other) ** 2).mean())


def test_more_blur_leaves_less_gradient_and_the_same_mean() -> None:
    pixels = photograph()
    for blurred in (
        [blur(pixels, sigma) for sigma in (0.5, 1.0, 3.0)],
        [motion_blur(pixels, length, 0.0) for length in (2.0, 5.0, 15.0)],
        [lower_resolution(pixels, scale) for scale in (0.8, 0.5, 0.2)],
    ):
        gradients = [sharpness(pixels), *(sharpness(b) for b in blurred)]
        assert (np.diff(gradients) < 0).all()
        assert all(abs(b.mean() - pixels.mean()) < 1 for b in blurred)


def test_motion_blur_runs_along_its_angle() -> None:
    pixels = np.zeros((31, 31, 3), dtype=np.uint8)
    pixels[15, 15] = 255
    across, down = motion_blur(pixels, 8, 0.0), motion_blur(pixels, 8, 90.0)
    np.testing.assert_array_equal(np.flatnonzero(across[15, :, 0]), np.arange(11, 20))
    assert not across[14].any()
    np.testing.assert_array_equal(down, across.transpose(1, 0, 2))


@given(length=st.floats(0, 40), angle_deg=st.floats(0, 180))
@settings(max_examples=50, deadline=None)
def test_motion_kernels_are_balanced(length: float, angle_deg: float) -> None:
    kernel = motion_kernel(length, angle_deg)
    assert kernel.sum() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1


def test_lower_jpeg_quality_is_farther_from_the_picture() -> None:
    pixels = photograph()
    errors = [distance(compress(pixels, quality), pixels) for quality in (99, 60, 20, 5)]
    assert errors[0] < 40
    assert (np.diff(errors) > 0).all()
    # Red stays red: the codec is told which channel is which.
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[..., 0] = 200
    assert np.abs(compress(red, 90).astype(int) - red).max() <= 6


def test_a_picture_too_long_for_jpeg_stays_as_it_is() -> None:
    strip = np.full((1, 70000, 3), 9, dtype=np.uint8)
    assert compress(strip, 50) is strip


def test_noise_has_the_moments_of_its_distribution() -> None:
    levels = np.array([0, 3, 20, 100, 200], dtype=np.uint8)
    pixels = np.repeat(levels, 20000)[None, :, None].repeat(3, axis=2)
    seen = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        kind = ("gaussian", "salt", "poisson")[np.random.default_rng(seed).integers(3)]
        noisy = add_noise(pixels, rng)[0].reshape(len(levels), -1).astype(float)
        spread, mean = noisy.std(1), noisy.mean(1)
        seen.add(kind)
        if kind == "gaussian":
            np.testing.assert_allclose(spread[3:], 10, rtol=0.03)
            np.testing.assert_allclose(mean[3:], levels[3:], atol=0.3)
        elif kind == "poisson":
            np.testing.assert_allclose(spread, np.sqrt(levels), rtol=0.04)
            np.testing.assert_allclose(mean, levels, atol=0.3)
        else:
            assert (noisy == 0).mean(1)[1:] == pytest.approx(0.01, abs=0.003)
            assert (noisy == 255).mean(1) == pytest.approx(0.01, abs=0.003)
    assert seen == {"gaussian", "salt", "poisson"}


def test_degradations_come_as_often_as_set() -> None:
    pixels = photograph(24, 24)
    config = DataConfig(blur_sigma=3, degradation_probability=0.3)
    change = PixelChanges(config)
    changed = [(change(pixels, np.random.default_rng(s)) != pixels).any() for s in range(300)]
    assert 0.2 < np.mean(changed) < 0.4
