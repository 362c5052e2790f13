"""Shells laid over a person's skull: what hair, hats and scarves are made of."""

from __future__ import annotations

import math

import numpy as np

from img2pose.data.synthetic.head_model import (
    AZIMUTHS,
    ELEVATIONS,
    HIGHEST_ELEVATION_DEG,
    LOWEST_ELEVATION_DEG,
)
from img2pose.data.synthetic.solids import Surface, grid_triangles


def on_skull(skull: np.ndarray, azimuth_deg: np.ndarray, elevation_deg: np.ndarray) -> np.ndarray:
    """Points of the skull.

    Args:
        skull: (AZIMUTHS, ELEVATIONS, 3), `HeadModel.skull`.
        azimuth_deg: 0 at the front, growing to the picture's right.
        elevation_deg: The same shape; 90 at the crown.

    Returns:
        That shape with 3 more.
    """
    column = (np.asarray(azimuth_deg) / 360 * AZIMUTHS) % AZIMUTHS
    span = HIGHEST_ELEVATION_DEG - LOWEST_ELEVATION_DEG
    row = np.clip((elevation_deg - LOWEST_ELEVATION_DEG) / span, 0, 1) * (ELEVATIONS - 1)
    left, low = column.astype(int) % AZIMUTHS, np.minimum(row.astype(int), ELEVATIONS - 2)
    right = (left + 1) % AZIMUTHS
    u, v = (column - np.floor(column))[..., None], (row - low)[..., None]
    points: np.ndarray = (1 - u) * ((1 - v) * skull[left, low] + v * skull[left, low + 1]) + u * (
        (1 - v) * skull[right, low] + v * skull[right, low + 1]
    )
    return points


def wrapped(azimuth_deg: np.ndarray) -> np.ndarray:
    """Azimuths as -180..180."""
    result: np.ndarray = (azimuth_deg + 180) % 360 - 180
    return result


def shell(
    skull: np.ndarray,
    azimuth_deg: np.ndarray,
    edge_deg: np.ndarray,
    thickness: np.ndarray,
    hanging: np.ndarray | None = None,
    flare: float = 0.0,
) -> Surface:
    """A surface over the skull from the crown down to an edge, and on straight down from there.

    Args:
        skull: (AZIMUTHS, ELEVATIONS, 3).
        azimuth_deg: (N,) of the columns, once around.
        edge_deg: (N,) elevation where each column leaves the skull.
        thickness: (R, N) distance from the skull, R rows on the skull.
        hanging: (N,) length that each column hangs down below its edge; None: nothing hangs.
        flare: How far the lower end stands out or in.

    Returns:
        (R + H) * N vertices, row by row, and triangles; H = 0 or 8 rows hang.
    """
    rows = len(thickness)
    share = np.linspace(0, 1, rows)[:, None]
    elevation = HIGHEST_ELEVATION_DEG + share * (edge_deg[None] - HIGHEST_ELEVATION_DEG)
    points = on_skull(skull, np.broadcast_to(azimuth_deg, elevation.shape), elevation)
    turn, rise = np.radians(azimuth_deg)[None], np.radians(elevation)
    outward = np.stack(
        [
            np.sin(turn) * np.cos(rise),
            -np.sin(rise),
            -np.cos(turn) * np.cos(rise),
        ],
        axis=-1,
    )
    points = points + thickness[..., None] * outward
    if hanging is not None:
        steps = np.linspace(0, 1, 9)[1:, None, None]
        level = np.stack([np.sin(turn[0]), 0 * turn[0], -np.cos(turn[0])], axis=-1)
        down = np.array([0.0, 1.0, 0.0]) * hanging[:, None]
        out = flare * np.sin(1.3 * steps * math.pi / 2) * np.clip(hanging, 0, 1)[:, None] * level
        points = np.concatenate([points, points[-1] + steps * down + out])
    return points.reshape(-1, 3), grid_triangles(len(points), len(azimuth_deg), closed=True)
