"""From linear light to a photograph: exposure, colour, blur, noise, coarse pixels, compression."""

from __future__ import annotations

import math

import cv2
import numpy as np

from img2pose.data.synthetic.backgrounds import GAMMA


def photographed(
    rng: np.random.Generator,
    light: np.ndarray,
    size_hw: tuple[int, int],
    face_brightness: float | None,
) -> tuple[np.ndarray, int]:
    """What a camera makes of a scene.

    Args:
        rng: The only source of chance.
        light: (H', W', 3) float32 linear light, as many samples as were drawn.
        size_hw: Of the photograph in pixels.
        face_brightness: Typical level of the faces, which cameras expose for; None: there is
            none.

    Returns:
        (H, W, 3) uint8 RGB, and the quality to compress it with.
    """
    height, width = size_hw
    scene = cv2.resize(light, (width, height), interpolation=cv2.INTER_AREA)
    metered = float(np.mean(scene))
    if face_brightness is not None:
        share = rng.uniform(0.35, 1.0)
        metered = metered ** (1 - share) * face_brightness**share
    exposure = 0.27 / max(metered, 0.01) * math.exp(rng.normal(-0.05, 0.26))
    white = min(max(exposure, 0.25), 8.0) * np.exp(rng.normal(0, 0.07, 3))
    scene = scene * white.astype(np.float32)
    if rng.uniform() < 0.25:
        # Stray light.
        glow = cv2.GaussianBlur(scene, (0, 0), width * rng.uniform(0.02, 0.08))
        scene = scene + rng.uniform(0.02, 0.15) * (glow - scene)
    if rng.uniform() < 0.3:
        scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.3, 1.6) * width / 320)
    if rng.uniform() < 0.08:
        scene = cv2.filter2D(scene, -1, _motion_kernel(rng, rng.uniform(2, 9) * width / 320))
    if rng.uniform() < 0.25:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        scene = scene * (1 - rng.uniform(0.1, 0.5) * 0.5 * (x**2 + y**2))[..., None]
    # Film and sensors roll off bright light.
    shoulder = rng.uniform(0.0, 0.6)
    scene = np.maximum(scene, 0)
    scene = scene * (1 + shoulder * scene * 0.4) / (1 + shoulder * scene)
    pixels = cv2.pow(np.minimum(scene, 1), 1 / (GAMMA * rng.uniform(0.9, 1.12)))
    contrast = math.exp(rng.normal(0.10, 0.15))
    pixels = np.clip(0.5 + contrast * (pixels - 0.5), 0, 1)
    style = rng.uniform()
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if style < 0.09:
        spread = 0.05 if rng.uniform() < 0.4 else 0.0
        pixels = gray[..., None] * np.exp(rng.normal(0, spread, 3)).astype(np.float32)
    else:
        saturation = math.exp(rng.normal(0.0, 0.25))
        pixels = gray[..., None] + saturation * (pixels - gray[..., None])
    if rng.uniform() < 0.5:
        strength = rng.uniform(0.002, 0.030) * rng.uniform(0.3, 1.0)
        grain = rng.standard_normal(pixels.shape, dtype=np.float32)
        if rng.uniform() < 0.5:
            grain = np.broadcast_to(grain[..., :1], grain.shape)
        if rng.uniform() < 0.4:
            grain = cv2.GaussianBlur(np.ascontiguousarray(grain), (0, 0), 0.8) * 2
        pixels = pixels + strength * grain
    if rng.uniform() < 0.3:
        soft = cv2.GaussianBlur(np.ascontiguousarray(pixels, dtype=np.float32), (0, 0), 1.0)
        pixels = pixels + rng.uniform(0.2, 0.9) * (pixels - soft)
    result = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.uniform() < 0.15:
        factor = rng.uniform(0.35, 0.9)
        small = (max(8, round(width * factor)), max(8, round(height * factor)))
        result = cv2.resize(result, small, interpolation=cv2.INTER_AREA)
        how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
        result = cv2.resize(result, (width, height), interpolation=how)
    quality = int(rng.integers(45, 97)) if rng.uniform() < 0.7 else 95
    return result, quality


def _motion_kernel(rng: np.random.Generator, length: float) -> np.ndarray:
    size = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((size, size), dtype=np.float32)
    turn = rng.uniform(0, np.pi)
    steps = np.linspace(-length / 2, length / 2, 4 * size)
    columns = np.rint(size // 2 + steps * np.cos(turn)).astype(int).clip(0, size - 1)
    rows = np.rint(size // 2 + steps * np.sin(turn)).astype(int).clip(0, size - 1)
    np.add.at(kernel, (rows, columns), 1.0)
    return kernel / kernel.sum()
