"""Changes of pixels that leave poses and size as they are: colour, blur, compression, noise."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.stats import norm, poisson

from img2pose.config import DataConfig
from img2pose.data.transforms.draws import draw_log_uniform

# Of the Gaussian noise, grey levels.
_NOISE_SIGMA = 10.0
# Of the salt as well as of the pepper.
_SALT_SHARE = 0.01
# No JPEG has longer sides.
_MOST_JPEG_SIDE = 65500

# Columns: what luma (ITU-R BT.601) and two chroma axes weigh red, green and blue with (NTSC's YIQ).
_LUMA_CHROMA = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def change_levels(
    pixels: np.ndarray,
    gain: float = 1.0,
    contrast: float = 1.0,
    gamma: float = 1.0,
    channel_gains: Sequence[float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Brightness, contrast about the mean, gamma and white balance, looked up in one table.

    Args:
        pixels: (H, W, 3) uint8.
        gain: Of all levels.
        contrast: Of their distance from the picture's mean.
        gamma: Exponent of the levels as shares of 255.
        channel_gains: Of red, green and blue.

    Returns:
        (H, W, 3) uint8; `pixels` itself where nothing is to be done.
    """
    if gain == 1 and contrast == 1 and gamma == 1 and all(g == 1 for g in channel_gains):
        return pixels
    levels = np.arange(256)
    # Sums of whole numbers, so the mean is the same however it is added up.
    mean = sum(cv2.sumElems(pixels)) / pixels.size if contrast != 1 else 0.0
    changed = gain * (contrast * levels + (1 - contrast) * mean)
    if gamma != 1:
        changed = 255 * (changed.clip(0, 255) / 255) ** gamma
    if any(g != 1 for g in channel_gains):
        changed = changed[None, :, None] * channel_gains
    looked_up: np.ndarray = cv2.LUT(pixels, changed.round().clip(0, 255).astype(np.uint8))
    return looked_up


def change_chroma(pixels: np.ndarray, saturation: float, hue_deg: float) -> np.ndarray:
    """Colours nearer to gray or further from it, and turned about it, at the same luma.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        saturation: Factor of the distance from gray.
        hue_deg: Turn about the gray axis.
    """
    cosine = saturation * math.cos(math.radians(hue_deg))
    sine = saturation * math.sin(math.radians(hue_deg))
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    matrix = np.linalg.solve(_LUMA_CHROMA, turn @ _LUMA_CHROMA).astype(np.float32)
    changed: np.ndarray = cv2.transform(pixels, matrix)
    return changed


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """The luma of (H, W, 3) uint8 RGB in all three channels."""
    gray: np.ndarray = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return gray


def blur(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of (H, W, 3) uint8 with a standard deviation of `sigma` pixels."""
    blurred: np.ndarray = cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred


def motion_kernel(length: float, angle_deg: float) -> np.ndarray:
    """A straight path of even weight about the middle, which it therefore does not move.

    Args:
        length: Of the path, pixels.
        angle_deg: Of the path to the x axis.

    Returns:
        (K, L) float32 with the sum 1; K and L odd and no larger than they have to be, since
        OpenCV takes a slower way with large kernels.
    """
    radius = math.ceil(length / 2) + 1
    steps = np.linspace(-length / 2, length / 2, 4 * radius + 1)
    angle = math.radians(angle_deg)
    # Each step's weight goes to the four pixels around it.
    offsets = np.arange(-radius, radius + 1)
    rows, columns = (
        (1 - np.abs(steps * direction - offsets[:, None])).clip(0)
        for direction in (math.sin(angle), math.cos(angle))
    )
    weights = rows @ columns.T / len(steps)
    weighty = weights > 1e-6
    kernel: np.ndarray = weights[np.ix_(weighty.any(1), weighty.any(0))].astype(np.float32)
    return kernel


def motion_blur(pixels: np.ndarray, length: float, angle_deg: float) -> np.ndarray:
    """(H, W, 3) uint8 as seen by a camera that moves `length` pixels while it exposes."""
    kernel = motion_kernel(length, angle_deg)
    blurred: np.ndarray = cv2.filter2D(pixels, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return blurred


def lower_resolution(pixels: np.ndarray, scale: float) -> np.ndarray:
    """(H, W, 3) uint8 shrunk by `scale` (below 1) and enlarged to its size again."""
    height, width = pixels.shape[:2]
    small_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, small_wh, interpolation=cv2.INTER_AREA)
    enlarged: np.ndarray = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged


def compress(pixels: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB with the losses of a JPEG of this quality, 1 to 100."""
    if max(pixels.shape) > _MOST_JPEG_SIDE:
        return pixels
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))
    compressed: np.ndarray = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return compressed


@functools.cache
def _noisy_levels(kind: str) -> np.ndarray:
    """(65536,) uint8: what grey level (high byte) becomes at a quantile (low byte) of its noise."""
    quantiles = (np.arange(256) + 0.5) / 256
    levels = np.arange(256)[:, None]
    if kind == "gaussian":
        noisy = norm.ppf(quantiles, levels, _NOISE_SIGMA)
    else:
        noisy = poisson.ppf(quantiles, levels)
    table: np.ndarray = noisy.round().clip(0, 255).astype(np.uint8).ravel()
    return table


def add_noise(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian, salt and pepper or Poisson noise, drawn with equal chance.

    Gaussian and Poisson noise is drawn as one of 256 quantiles of each grey level's distribution:
    a byte and a look-up a value, much faster than drawing from the distribution.

    Args:
        pixels: (H, W, 3) uint8.
        rng: The only source of chance.
    """
    kind = ("gaussian", "salt", "poisson")[rng.integers(3)]
    if kind == "salt":
        noisy = pixels.copy()
        draws = rng.random(pixels.shape[:2])
        noisy[draws < _SALT_SHARE] = 0
        noisy[draws > 1 - _SALT_SHARE] = 255
        return noisy
    quantiles = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
    index = pixels.astype(np.uint16)
    index <<= 8
    index |= quantiles
    return np.take(_noisy_levels(kind), index)


class PixelChanges:
    """Random changes of pixels, as `DataConfig` says, in the order in which a camera makes them."""

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws one change of (H, W, 3) uint8 RGB; `pixels` is not written to."""
        config = self.config
        pixels = self._change_colours(pixels, rng)
        if config.blur_sigma > 0 and self._degrades(rng):
            # Above zero, with which OpenCV would choose a blur itself.
            pixels = blur(pixels, config.blur_sigma * (1 - rng.random()))
        if config.motion_blur_length > 0 and self._degrades(rng):
            length = rng.uniform(0.0, config.motion_blur_length)
            pixels = motion_blur(pixels, length, rng.uniform(0.0, 180.0))
        if config.low_resolution_scale < 1 and self._degrades(rng):
            scale = draw_log_uniform((config.low_resolution_scale, 1.0), rng)
            pixels = lower_resolution(pixels, scale)
        if config.noise_augmentation and rng.random() < 0.2:
            pixels = add_noise(pixels, rng)
        if config.jpeg_quality_min < 100 and self._degrades(rng):
            pixels = compress(pixels, int(rng.integers(config.jpeg_quality_min, 100)))
        return pixels

    def _degrades(self, rng: np.random.Generator) -> bool:
        return rng.random() < self.config.degradation_probability

    def _change_colours(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        config = self.config
        gain = 1.0 + rng.uniform(-config.brightness, config.brightness)
        contrast = 1.0
        if config.contrast_augmentation and rng.random() < 0.5:
            contrast = rng.uniform(0.5, 1.5)
        gamma = 1.0
        if config.gamma_range != (1.0, 1.0):
            gamma = draw_log_uniform(config.gamma_range, rng)
        channel_gains = [1.0, 1.0, 1.0]
        if config.channel_gain > 0:
            channel_gains = (1 + rng.uniform(-config.channel_gain, config.channel_gain, 3)).tolist()
        pixels = change_levels(pixels, gain, contrast, gamma, channel_gains)
        if config.saturation > 0 or config.hue_deg > 0:
            saturation = 1 + rng.uniform(-config.saturation, config.saturation)
            hue_deg = rng.uniform(-config.hue_deg, config.hue_deg)
            pixels = change_chroma(pixels, saturation, hue_deg)
        if rng.random() < config.grayscale_probability:
            pixels = to_gray(pixels)
        return pixels
