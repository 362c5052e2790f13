"""How far boxes overlap where sides are pixels, not edges, as face detection protocols count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def overlaps_inclusive(boxes_xyxy: np.ndarray, others_xyxy: np.ndarray) -> NDArray[np.float64]:
    """Intersection over union where a box from 3 to 3 is one pixel wide.

    Args:
        boxes_xyxy: (N, 4) left, top, right, bottom.
        others_xyxy: (M, 4).

    Returns:
        (N, M) in 0..1; 0 with a box that is inverted by a pixel or more.
    """
    left, top, right, bottom = np.asarray(boxes_xyxy, dtype=np.float64).T[:, :, None]
    other_left, other_top, other_right, other_bottom = np.asarray(others_xyxy, np.float64).T
    shared = (np.minimum(right, other_right) - np.maximum(left, other_left) + 1).clip(min=0)
    shared *= (np.minimum(bottom, other_bottom) - np.maximum(top, other_top) + 1).clip(min=0)
    area = (right - left + 1) * (bottom - top + 1)
    other_area = (other_right - other_left + 1) * (other_bottom - other_top + 1)
    union = area + other_area - shared
    ious: NDArray[np.float64] = np.divide(
        shared, union, out=np.zeros_like(shared), where=shared > 0
    )
    return ious
