"""The same face from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from img2pose.errors import InputError
from img2pose.geometry import pairwise_iou

# Seconds after which half of a face's earlier velocity is forgotten.
_VELOCITY_HALF_LIFE_S = 0.1


@dataclass(frozen=True)
class TrackingSettings:
    """When a face is the one of an earlier frame.

    Attributes:
        min_iou: Its box overlaps by at least as much with where the earlier one would be by now.
        max_gap_s: Seconds for which a face that is not found may come back.

    Raises:
        InputError: A value is out of range.
    """

    min_iou: float = 0.2
    max_gap_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.min_iou <= 1:
            raise InputError(f"--track_iou {self.min_iou}: must be above 0, at most 1")
        if not (np.isfinite(self.max_gap_s) and self.max_gap_s >= 0):
            raise InputError(f"--track_gap {self.max_gap_s}: must be seconds, at least 0")


class FaceTracker:
    """Numbers faces so that a number stays with its face.

    Boxes are carried on by their mean recent velocity and given to the frame's boxes such that the
    sum of overlaps is largest. Nothing is drawn by chance: equal frames give equal numbers.

    Source: Bewley et al., Simple Online and Realtime Tracking, ICIP 2016. Differs: an exponential
        mean of the velocity in place of a Kalman filter, and frames may come at any times.
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self._settings = settings
        self._next_number = 1
        self._numbers = np.zeros(0, dtype=np.int64)
        self._boxes = np.zeros((0, 4))
        self._velocities = np.zeros((0, 4))
        self._seen_s = np.zeros(0)

    def update(self, time_s: float, boxes: np.ndarray) -> np.ndarray:
        """Numbers the faces of the next frame.

        Args:
            time_s: When; later than the last frame.
            boxes: (N, 4) left, top, right, bottom in pixels.

        Returns:
            (N,) int64, from 1, no two alike.
        """
        alive = time_s - self._seen_s <= self._settings.max_gap_s
        self._keep(alive)
        elapsed = (time_s - self._seen_s)[:, None]
        # Sides of a face out of sight for long would drift far and cross each other.
        carried = self._boxes + self._velocities * np.minimum(elapsed, self._settings.max_gap_s / 2)
        old, new = self._matches(carried, boxes)
        numbers = np.zeros(len(boxes), dtype=np.int64)
        numbers[new] = self._numbers[old]
        velocities = np.zeros_like(boxes, dtype=np.float64)
        measured = (boxes[new] - self._boxes[old]) / elapsed[old]
        kept = 0.5 ** (elapsed[old] / _VELOCITY_HALF_LIFE_S)
        velocities[new] = kept * self._velocities[old] + (1 - kept) * measured
        fresh = numbers == 0
        numbers[fresh] = self._next_number + np.arange(fresh.sum())
        self._next_number += int(fresh.sum())
        missed = np.ones(len(self._numbers), dtype=bool)
        missed[old] = False
        self._keep(missed)
        self._numbers = np.concatenate([self._numbers, numbers])
        self._boxes = np.concatenate([self._boxes, boxes])
        self._velocities = np.concatenate([self._velocities, velocities])
        self._seen_s = np.concatenate([self._seen_s, np.full(len(boxes), time_s)])
        return numbers

    def _keep(self, mask: np.ndarray) -> None:
        self._numbers, self._boxes = self._numbers[mask], self._boxes[mask]
        self._velocities, self._seen_s = self._velocities[mask], self._seen_s[mask]

    def _matches(self, carried: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of tracks and of the boxes that are theirs."""
        overlaps = pairwise_iou(carried, boxes)
        allowed = overlaps >= self._settings.min_iou
        old, new = linear_sum_assignment(np.where(allowed, overlaps, 0.0), maximize=True)
        chosen = allowed[old, new]
        return old[chosen], new[chosen]
