"""Noise that is the same wherever it is asked for again: hashes of places on a grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim3dr.compilation import compiled, f4, i8, part, read, written


@part
def hashed(x: int, y: int, z: int, seed: int) -> float:
    """A number in 0..1 for each place of a grid."""
    value = x * 374761393 + y * 668265263 + z * 2147483647 + seed * 1442695041
    value = (value ^ (value >> 13)) & 0xFFFFFFFF
    value = (value * 1274126177) & 0xFFFFFFFF
    value = value ^ (value >> 16)
    value = (value * 668265263) & 0xFFFFFFFF
    value = value ^ (value >> 15)
    return value * (1.0 / 4294967296.0)


@part
def value_noise(x: float, y: float, z: float, seed: int) -> float:
    """Smooth noise in -1..1 whose grid has a spacing of 1."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    ix, iy, iz = int(fx), int(fy), int(fz)
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v), w * w * (3.0 - 2.0 * w)
    total = 0.0
    for k in range(2):
        depth_weight = w if k else 1.0 - w
        near = (1.0 - u) * hashed(ix, iy, iz + k, seed) + u * hashed(ix + 1, iy, iz + k, seed)
        far = (1.0 - u) * hashed(ix, iy + 1, iz + k, seed) + u * hashed(
            ix + 1, iy + 1, iz + k, seed
        )
        total += depth_weight * ((1.0 - v) * near + v * far)
    return 2.0 * total - 1.0


@compiled(read(f4, 2), i8, i8, written(f4, 1))
def _fractal_noise_at(points: Any, octaves: int, seed: int, noise: Any) -> None:
    """Writes fractal noise of about -1..1 at points (N, 3) into (N,)."""
    for index in range(len(points)):
        total, amplitude, frequency, most = 0.0, 1.0, 1.0, 0.0
        for octave in range(octaves):
            total += amplitude * value_noise(
                points[index, 0] * frequency,
                points[index, 1] * frequency,
                points[index, 2] * frequency,
                seed + octave,
            )
            most += amplitude
            amplitude *= 0.5
            frequency *= 2.03
        noise[index] = total / most


def fractal_noise(points: np.ndarray, seed: int, octaves: int = 2) -> np.ndarray:
    """Fractal noise of about -1..1.

    Args:
        points: (N, 3) places; the coarsest grid has a spacing of 1.
        seed: Of the noise.
        octaves: Each is twice as fine as the one before and half as strong.

    Returns:
        (N,) float32.
    """
    noise = np.empty(len(points), dtype=np.float32)
    _fractal_noise_at(np.ascontiguousarray(points, dtype=np.float32), octaves, seed, noise)
    return noise
