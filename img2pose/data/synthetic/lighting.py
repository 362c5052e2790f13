"""Lamps, sky and ground of a picture, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Illumination:
    """Where light comes from, in the camera's frame.

    Attributes:
        directions: (L, 3) float32 unit vectors towards lamps; the first one casts shadows.
        colours: (L, 3) float32, 1 being a lamp that lights white paper fully.
        surroundings: (2, 3) float32 light from above and from below.
        skyward: (3,) float32 unit vector.
        name: What kind of light it is.
    """

    directions: np.ndarray
    colours: np.ndarray
    surroundings: np.ndarray
    skyward: np.ndarray
    name: str


def _direction(azimuth_deg: float, height_deg: float) -> np.ndarray:
    """Towards a lamp; azimuth 0 is at the camera, 90 to the right, 180 behind the faces."""
    a, h = np.radians([azimuth_deg, height_deg])
    return np.array([np.sin(a) * np.cos(h), -np.sin(h), -np.cos(a) * np.cos(h)])


def _warmth(rng: np.random.Generator, spread: float) -> np.ndarray:
    warm = rng.normal(0, spread)
    colour = np.exp([warm, 0.1 * rng.normal() * spread, -warm])
    return colour / colour.mean()


def draw_illumination(rng: np.random.Generator, roll: np.ndarray) -> Illumination:
    """Draws the light of a picture.

    Args:
        rng: The only source of chance.
        roll: (3, 3) rotation of the camera about its axis, which turns "up" in the picture.
    """
    name = str(
        rng.choice(
            ["soft", "sun", "studio", "flash", "low", "back", "coloured", "side"],
            p=[0.30, 0.16, 0.15, 0.10, 0.08, 0.08, 0.06, 0.07],
        )
    )
    azimuth = rng.normal(0, 55)
    height = rng.uniform(0, 65)
    key, fill, ambient = 0.7, 0.2, 0.4
    if name == "soft":
        key, ambient = rng.uniform(0.15, 0.6), rng.uniform(0.45, 0.9)
        height = rng.uniform(25, 80)
    elif name == "sun":
        key, ambient = rng.uniform(0.9, 1.6), rng.uniform(0.15, 0.45)
        azimuth, height = rng.uniform(-150, 150), rng.uniform(20, 80)
    elif name == "studio":
        key, fill, ambient = rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.5), rng.uniform(0.15, 0.4)
        azimuth = rng.choice([-1, 1]) * rng.uniform(15, 60)
    elif name == "flash":
        key, fill, ambient = rng.uniform(0.7, 1.2), 0.0, rng.uniform(0.08, 0.4)
        azimuth, height = rng.normal(0, 8), rng.uniform(-5, 15)
    elif name == "low":
        key, fill, ambient = rng.uniform(0.25, 0.7), 0.05, rng.uniform(0.02, 0.12)
        azimuth = rng.uniform(-100, 100)
    elif name == "back":
        key, fill, ambient = rng.uniform(0.7, 1.5), rng.uniform(0.0, 0.3), rng.uniform(0.25, 0.5)
        azimuth = 180 + rng.normal(0, 40)
    elif name == "side":
        key, fill, ambient = rng.uniform(0.6, 1.2), 0.0, rng.uniform(0.06, 0.25)
        azimuth, height = rng.choice([-1, 1]) * rng.uniform(60, 110), rng.uniform(-10, 45)
    spread = 0.45 if name == "coloured" else 0.14
    directions = [_direction(azimuth, height)]
    colours = [key * _warmth(rng, spread)]
    if fill > 0:
        directions.append(_direction(-azimuth * rng.uniform(0.5, 1.2), rng.uniform(-20, 45)))
        colours.append(fill * _warmth(rng, spread))
    if name in ("studio", "coloured", "low") or rng.uniform() < 0.2:
        # From behind: a bright rim.
        directions.append(_direction(180 + rng.normal(0, 50), rng.uniform(0, 60)))
        colours.append(rng.uniform(0.1, 0.9) * _warmth(rng, spread))
    if name == "coloured":
        colours = [colour * np.exp(rng.normal(0, 0.4, 3)) for colour in colours]
    above = ambient * _warmth(rng, 0.5 * spread + 0.03) * rng.uniform(1.0, 1.4)
    below = ambient * _warmth(rng, 0.5 * spread + 0.03) * rng.uniform(0.25, 0.9)
    return Illumination(
        np.array([roll @ direction for direction in directions], dtype=np.float32),
        np.array(colours, dtype=np.float32),
        np.stack([above, below]).astype(np.float32),
        (roll @ [0.0, -1.0, 0.0]).astype(np.float32),
        name,
    )
