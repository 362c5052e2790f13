"""Poses of tracked faces without the trembling of single frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.geometry import (
    matrix_to_rotvec,
    project_points,
    rotvec_to_matrix,
)
from img2pose.references import PoseReferences

# Reference units; a face nearer to the camera's plane has no direction.
_MIN_DEPTH = 1e-3
# No tracker waits as long for a face to come back.
_FORGOTTEN_AFTER_S = 60.0
# Hertz, of the low pass that speeds go through; the authors' choice.
_SPEED_CUTOFF_HZ = 1.0


@dataclass(frozen=True)
class SmoothingSettings:
    """How much is smoothed.

    Attributes:
        min_cutoff_hz: Cutoff frequency for a face at rest: lower is calmer.
        rotation_beta: By how many hertz the cutoff grows with each radian a second of turning:
            higher lags less behind quick turns.
        direction_beta: The same for each focal length a second by which a face moves across the
            picture.
        distance_beta: The same for each e-fold of distance a second.

    Raises:
        InputError: A value is out of range.
    """

    min_cutoff_hz: float = 1.0
    rotation_beta: float = 1.0
    direction_beta: float = 10.0
    distance_beta: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_cutoff_hz) and self.min_cutoff_hz > 0):
            raise InputError(f"--smooth_cutoff {self.min_cutoff_hz}: must be hertz above 0")
        betas = (self.rotation_beta, self.direction_beta, self.distance_beta)
        if not all(math.isfinite(beta) and beta >= 0 for beta in betas):
            raise InputError(f"--smooth_beta {betas}: must be numbers of at least 0")


def _weight(cutoff_hz: np.ndarray | float, elapsed_s: np.ndarray) -> np.ndarray:
    """Share of the new value in a low pass of first order."""
    time_constant_s = 1 / (2 * math.pi * np.asarray(cutoff_hz))
    weight: np.ndarray = elapsed_s / (elapsed_s + time_constant_s)
    return weight


def _followed(
    steps: np.ndarray, speeds: np.ndarray, elapsed_s: np.ndarray, min_cutoff_hz: float, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """One step of the One Euro filter.

    Args:
        steps: (N, D) from the last smoothed value to the new value.
        speeds: (N, D) a second, smoothed, of the last frame.
        elapsed_s: (N, 1) seconds since the last frame.
        min_cutoff_hz: See `SmoothingSettings`.
        beta: The same.

    Returns:
        (N, D) from the last smoothed value to the next one, and the new speeds.
    """
    speeds = speeds + _weight(_SPEED_CUTOFF_HZ, elapsed_s) * (steps / elapsed_s - speeds)
    cutoff_hz = min_cutoff_hz + beta * np.linalg.norm(speeds, axis=-1, keepdims=True)
    return _weight(cutoff_hz, elapsed_s) * steps, speeds


class PoseSmoother:
    """Smooths the pose of each face over the frames in which it is found.

    Rotations are smoothed where they live: the way from the last smoothed rotation to the new one
    is a rotation vector, a part of which is gone along. Translations are smoothed as direction and
    logarithm of the distance, which tremble independently of each other.

    Source: Casiez, Roussel and Vogel, 1 Euro Filter, CHI 2012, with the speed of a vector in place
        of that of a number, and steps on SO(3) by its exponential map.

    Args:
        settings: How much.
        references: The reference face of the poses; boxes move with its 68 points.
    """

    def __init__(self, settings: SmoothingSettings, references: PoseReferences) -> None:
        self._settings = settings
        self._references = references
        self._numbers = np.zeros(0, dtype=np.int64)
        self._seen_s = np.zeros(0)
        self._rotations = np.zeros((0, 3, 3))
        # x / z, y / z, log z.
        self._places = np.zeros((0, 3))
        self._speeds = np.zeros((0, 6))

    def update(
        self, time_s: float, numbers: np.ndarray, detections: FaceDetections
    ) -> FaceDetections:
        """Smooths the faces of the next frame.

        Args:
            time_s: When; later than the last frame.
            numbers: (N,) of the tracks, no two alike.
            detections: Faces as they were found.

        Returns:
            The same faces with poses smoothed, and boxes moved and sized as the poses were. Faces
            that are seen for the first time stay as they are.
        """
        poses = detections.poses
        usable = np.isfinite(poses).all(-1) & (poses[:, 5] > _MIN_DEPTH)
        depths = np.where(usable, poses[:, 5], 1.0)[:, None]
        places = np.concatenate([poses[:, 3:5] / depths, np.log(depths)], axis=1)
        rotations = rotvec_to_matrix(np.where(usable[:, None], poses[:, :3], 0.0))
        speeds = np.zeros((len(poses), 6))

        new, old = self._known(numbers, usable)
        elapsed_s = (time_s - self._seen_s[old])[:, None]
        relative = self._rotations[old].transpose(0, 2, 1) @ rotations[new]
        steps = np.concatenate(
            [matrix_to_rotvec(relative), places[new] - self._places[old]], axis=1
        )
        settings = self._settings
        betas = (settings.rotation_beta, settings.direction_beta, settings.distance_beta)
        for part, beta in zip((slice(0, 3), slice(3, 5), slice(5, 6)), betas, strict=True):
            steps[:, part], speeds[new, part] = _followed(
                steps[:, part],
                self._speeds[old, part],
                elapsed_s,
                settings.min_cutoff_hz,
                beta,
            )
        rotations[new] = self._rotations[old] @ rotvec_to_matrix(steps[:, :3])
        places[new] = self._places[old] + steps[:, 3:]

        smoothed = poses.copy()
        distance = np.exp(places[new, 2:])
        smoothed[new] = np.concatenate(
            [matrix_to_rotvec(rotations[new]), places[new, :2] * distance, distance], axis=1
        )
        self._remember(time_s, numbers[usable], rotations[usable], places[usable], speeds[usable])
        return replace(
            detections, poses=smoothed, boxes=self._moved_boxes(detections, smoothed, new)
        )

    def _known(self, numbers: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the faces that have a past, and of their pasts."""
        if not len(self._numbers):
            none = np.zeros(0, dtype=np.int64)
            return none, none
        order = np.argsort(self._numbers)
        place = np.searchsorted(self._numbers, numbers, sorter=order)
        old = order[np.minimum(place, len(order) - 1)]
        new = np.flatnonzero(usable & (self._numbers[old] == numbers))
        return new, old[new]

    def _remember(
        self,
        time_s: float,
        numbers: np.ndarray,
        rotations: np.ndarray,
        places: np.ndarray,
        speeds: np.ndarray,
    ) -> None:
        kept = time_s - self._seen_s < _FORGOTTEN_AFTER_S
        others = kept & ~np.isin(self._numbers, numbers)
        self._numbers = np.concatenate([self._numbers[others], numbers])
        self._seen_s = np.concatenate([self._seen_s[others], np.full(len(numbers), time_s)])
        self._rotations = np.concatenate([self._rotations[others], rotations])
        self._places = np.concatenate([self._places[others], places])
        self._speeds = np.concatenate([self._speeds[others], speeds])

    def _moved_boxes(
        self, detections: FaceDetections, smoothed: np.ndarray, changed: np.ndarray
    ) -> np.ndarray:
        """Boxes that lie to the smoothed poses' points as the found boxes lie to the found."""
        points_68 = self._references.points_68
        found, moved = (
            project_points(points_68, poses[changed], detections.intrinsics)
            for poses in (detections.poses, smoothed)
        )
        shift = np.concatenate([moved.min(1) - found.min(1), moved.max(1) - found.max(1)], axis=1)
        height, width = detections.size_hw
        boxes = detections.boxes.copy()
        boxes[changed] = np.clip(boxes[changed] + shift, 0, [width, height, width, height])
        return boxes
