"""Points of surfaces on pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LARGEST_RADIUS = 100


def dot_coverage(points: ArrayLike, height: int, width: int, radius: float) -> NDArray[np.float32]:
    """How much of each pixel is covered by dots.

    Args:
        points: (N, 2) pixels; those that are not finite are left out.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        radius: Of each dot, in pixels, up to 100.

    Returns:
        (H, W) in 0..1, anti-aliased.

    Raises:
        ValueError: The shape, the size of the picture or the radius is wrong.
    """
    xy = np.asarray(points, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError(f"points must have shape (N, 2), not {xy.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1, not {height} and {width}")
    # Each dot is drawn pixel by pixel of its square.
    if not 0 < radius <= _LARGEST_RADIUS:
        raise ValueError(f"radius must be above 0, at most {_LARGEST_RADIUS}, not {radius}")
    reach = int(np.ceil(radius + 0.5))
    # Far-off and undefined points, before they become whole numbers.
    near = (xy > -reach - 1).all(axis=1) & (xy < np.array([width, height]) + reach + 1).all(axis=1)
    xy = xy[near]
    center: NDArray[np.int64] = np.rint(xy).astype(np.int64)
    coverage = np.zeros((height, width), dtype=np.float32)
    for step_y in range(-reach, reach + 1):
        for step_x in range(-reach, reach + 1):
            pixel: NDArray[np.int64] = center + np.array([step_x, step_y])
            inside = ((pixel >= 0) & (pixel < [width, height])).all(axis=1)
            distance = np.linalg.norm(pixel[inside] - xy[inside], axis=1)
            share = (radius + 0.5 - distance).clip(0, 1).astype(np.float32)
            np.maximum.at(coverage, (pixel[inside, 1], pixel[inside, 0]), share)
    return coverage
