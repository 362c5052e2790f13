"""Head poses against their truth, on arrays: angles, rotation, translation, landmarks, yaw bands.

A row is a face. What is known of a face that was not found is NaN, and its errors are counted in
two ways: left out, as published, or as `HeadErrors.missed_counted` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.evaluation.metrics import (
    area_under_cumulative,
    band_numbers,
    failure_rate,
    landmark_error,
    landmark_error_by_box,
    wrapped_difference_deg,
)
from img2pose.evaluation.overlaps import overlaps_inclusive
from img2pose.geometry import geodesic_angle, pose_to_euler, rotvec_to_matrix

# What a face not found counts, and the most that one that was found does.
MISSED_ANGLE_DEG = 90.0
MISSED_LANDMARK_ERROR = 1.0
# Share of the unit that landmark errors are stated in: a face with more has failed.
FAILURE_THRESHOLD = 0.08
# Of bands of absolute yaw.
YAW_EDGES_DEG = (0.0, 30.0, 60.0, 99.0)
MIN_CENTRAL_SCORE = 0.9
PITCH, YAW, ROLL = 0, 1, 2

PROTOCOL: Mapping[str, str] = {
    "euler_deg": "absolute differences of pitch, yaw and roll, not wrapped (as published): 179 and"
    " -179 degrees differ by 358; euler_wrapped_deg: brought to 0..180 first; faces_wrapped: how"
    " many faces have an angle for which this matters",
    "rotation_deg": "geodesic angle between predicted and true rotation, degrees",
    "landmarks_by_box": "mean distance of the 68 points projected with the predicted pose to the"
    " true ones, over the square root of the area of the true points' bounding box",
    "landmarks_by_eyes": "the same over the distance of the outer eye corners (points 36 and 45),"
    " which nears 0 in profile",
    "failure_rate": f"share of faces with a landmark error above {FAILURE_THRESHOLD}",
    "area_under_curve": "area under the cumulative landmark error up to"
    f" {FAILURE_THRESHOLD}, divided by it: 0..1, exact (no bins)",
    "found_only": "faces not found are left out, as published",
    "missed_counted": f"a face not found counts {MISSED_ANGLE_DEG:.0f} degrees for each angle and"
    f" for the rotation, {MISSED_LANDMARK_ERROR:.0f} as landmark error (so it fails), and as one"
    " put at the camera (translation 0); errors of a face that was found count up to this, so that"
    " finding a face never costs",
    "yaw_bands": "by absolute true yaw: 0 to below 30, 30 to below 60, 60 to 99 degrees",
}


def best_overlap(detections: FaceDetections, box_xyxy: np.ndarray) -> tuple[int | None, float]:
    """The detection of any score that overlaps a box most, sides counted inclusively.

    Args:
        detections: Best score first; of equal overlaps the first counts.
        box_xyxy: (4,) pixels.

    Returns:
        Its index, None where no detection touches the box; and the overlap (IoU).
    """
    overlaps = overlaps_inclusive(detections.boxes, box_xyxy[None])[:, 0]
    if not overlaps.max(initial=0.0) > 0:
        return None, 0.0
    best = int(overlaps.argmax())
    return best, float(overlaps[best])


def most_central(detections: FaceDetections) -> int | None:
    """The detection nearest to the picture's centre of those that the model is sure of.

    Those have a score above `MIN_CENTRAL_SCORE`; where there is none, the first of all is taken.

    Args:
        detections: Best score first; of equally central ones the first counts.

    Returns:
        Its index, None without detections.
    """
    if not len(detections):
        return None
    height, width = detections.size_hw
    centers = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
    distances = np.linalg.norm(centers - [width / 2, height / 2], axis=1)
    sure = detections.scores > MIN_CENTRAL_SCORE
    return int(np.where(sure, distances, np.inf).argmin()) if sure.any() else 0


@dataclass(frozen=True, eq=False)
class HeadPoses:
    """True poses of heads.

    Attributes:
        euler_deg: (M, 3) pitch, yaw, roll as the data set states them: they need not be the ones
            that the rotation would be given.
        rotations: (M, 3, 3) in the image's camera.
        translations: (M, 3) reference units in the image's camera; None where the set has none
            that a prediction can be compared with.
        landmarks: (M, 68, 2) pixels; None where the set has none.
    """

    euler_deg: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray | None = None
    landmarks: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.euler_deg)
        shapes: dict[str, tuple[int, ...]] = {
            "euler_deg": (count, 3),
            "rotations": (count, 3, 3),
            "translations": (count, 3),
            "landmarks": (count, 68, 2),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {value.shape}")


def _part(array: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if array is None else array[rows]


def _up_to(errors: np.ndarray | None, most: Any) -> np.ndarray | None:
    """Errors with an upper limit, which also stands where they are NaN."""
    return None if errors is None else np.fmin(errors, most)


@dataclass(frozen=True, eq=False)
class HeadErrors:
    """Errors a face.

    Attributes:
        true_yaw_deg: (M,).
        euler_deg: (M, 3) pitch, yaw, roll: absolute differences as they are, 0..360 and beyond.
        euler_wrapped_deg: (M, 3) the same in 0..180.
        rotation_deg: (M,) 0..180.
        translations: (M, 3) absolute differences in reference units.
        landmarks_by_box: (M,) mean distance over the square root of the bounding box's area.
        landmarks_by_eyes: (M,) mean distance over the outer eye distance.
    """

    true_yaw_deg: np.ndarray
    euler_deg: np.ndarray
    euler_wrapped_deg: np.ndarray
    rotation_deg: np.ndarray
    translations: np.ndarray | None = None
    landmarks_by_box: np.ndarray | None = None
    landmarks_by_eyes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.true_yaw_deg)

    @property
    def found(self) -> np.ndarray:
        """(M,) bool."""
        found: np.ndarray = np.isfinite(self.rotation_deg)
        return found

    def of(self, faces: np.ndarray) -> HeadErrors:
        """Some of the faces, by index or mask."""
        return HeadErrors(
            self.true_yaw_deg[faces],
            self.euler_deg[faces],
            self.euler_wrapped_deg[faces],
            self.rotation_deg[faces],
            _part(self.translations, faces),
            _part(self.landmarks_by_box, faces),
            _part(self.landmarks_by_eyes, faces),
        )

    def missed_counted(self, true_translations: np.ndarray | None) -> HeadErrors:
        """Faces not found get errors, and no error of a face that was found exceeds these.

        Args:
            true_translations: (M, 3), where translations are judged.
        """
        limit = None if true_translations is None else np.abs(true_translations)
        return HeadErrors(
            self.true_yaw_deg,
            np.fmin(self.euler_deg, MISSED_ANGLE_DEG),
            np.fmin(self.euler_wrapped_deg, MISSED_ANGLE_DEG),
            np.fmin(self.rotation_deg, MISSED_ANGLE_DEG),
            _up_to(self.translations, limit),
            _up_to(self.landmarks_by_box, MISSED_LANDMARK_ERROR),
            _up_to(self.landmarks_by_eyes, MISSED_LANDMARK_ERROR),
        )


def head_errors(
    truth: HeadPoses, poses: np.ndarray, landmarks: np.ndarray | None = None
) -> HeadErrors:
    """Compares predicted poses with the truth.

    Args:
        truth: M faces.
        poses: (M, 6) in the image's camera, NaN for a face that was not found.
        landmarks: (M, 68, 2) pixels projected with the poses, where the truth has landmarks.

    Returns:
        Errors, NaN where the pose is.
    """
    found = np.isfinite(poses).all(-1)
    # NaN would be a matrix's end; the rows are blanked below.
    usable = np.where(found[:, None], poses, 0.0)
    blank = np.where(found, 0.0, np.nan)
    difference = np.asarray(pose_to_euler(usable)) - truth.euler_deg
    rotation = np.rad2deg(geodesic_angle(rotvec_to_matrix(usable[:, :3]), truth.rotations))
    translations = by_box = by_eyes = None
    if truth.translations is not None:
        translations = np.abs(usable[:, 3:] - truth.translations) + blank[:, None]
    if truth.landmarks is not None:
        if landmarks is None:
            raise ValueError("the truth has landmarks: give the projected ones")
        by_box = landmark_error_by_box(landmarks, truth.landmarks) + blank
        by_eyes = landmark_error(landmarks, truth.landmarks) + blank
    return HeadErrors(
        truth.euler_deg[:, YAW],
        np.abs(difference) + blank[:, None],
        wrapped_difference_deg(difference) + blank[:, None],
        rotation + blank,
        translations,
        by_box,
        by_eyes,
    )


@dataclass(frozen=True)
class AngleFigures:
    """Mean absolute errors in degrees; `mean` is that of the three."""

    yaw: float
    pitch: float
    roll: float
    mean: float

    @classmethod
    def of(cls, errors_deg: np.ndarray) -> AngleFigures:
        """Of (M, 3) errors of pitch, yaw, roll, M > 0."""
        pitch, yaw, roll = errors_deg.mean(0).tolist()
        return cls(yaw, pitch, roll, float(errors_deg.mean()))


@dataclass(frozen=True)
class TranslationFigures:
    """Mean absolute errors in reference units; `mean` is that of the three."""

    x: float
    y: float
    z: float
    mean: float


@dataclass(frozen=True)
class LandmarkFigures:
    """Landmark errors, as shares of their unit.

    Attributes:
        mean: Over the faces.
        median: Over the faces.
        failure_rate: Share above `FAILURE_THRESHOLD`.
        area_under_curve: Of the cumulative error up to `FAILURE_THRESHOLD`, 0..1.
    """

    mean: float
    median: float
    failure_rate: float | None
    area_under_curve: float | None

    @classmethod
    def of(cls, errors: np.ndarray) -> LandmarkFigures:
        """Of (M,) errors, M > 0."""
        return cls(
            float(errors.mean()),
            float(np.median(errors)),
            failure_rate(errors, len(errors), FAILURE_THRESHOLD),
            area_under_cumulative(errors, len(errors), FAILURE_THRESHOLD),
        )


@dataclass(frozen=True)
class HeadPoseFigures:
    """Means over some faces; None where there are none or the set has no such truth.

    Attributes:
        faces: How many they are.
        euler_deg: Differences not wrapped.
        euler_wrapped_deg: Differences wrapped.
        rotation_deg_mean: Geodesic angle.
        rotation_deg_median: Geodesic angle.
        translation: Reference units.
        landmarks_by_box: Over the square root of the bounding box's area.
        landmarks_by_eyes: Over the outer eye distance.
    """

    faces: int
    euler_deg: AngleFigures | None = None
    euler_wrapped_deg: AngleFigures | None = None
    rotation_deg_mean: float | None = None
    rotation_deg_median: float | None = None
    translation: TranslationFigures | None = None
    landmarks_by_box: LandmarkFigures | None = None
    landmarks_by_eyes: LandmarkFigures | None = None

    @classmethod
    def of(cls, errors: HeadErrors) -> HeadPoseFigures:
        """Of errors without NaN."""
        if not len(errors):
            return cls(0)
        translation = by_box = by_eyes = None
        if errors.translations is not None:
            x, y, z = errors.translations.mean(0).tolist()
            translation = TranslationFigures(x, y, z, float(errors.translations.mean()))
        if errors.landmarks_by_box is not None:
            by_box = LandmarkFigures.of(errors.landmarks_by_box)
        if errors.landmarks_by_eyes is not None:
            by_eyes = LandmarkFigures.of(errors.landmarks_by_eyes)
        return cls(
            len(errors),
            AngleFigures.of(errors.euler_deg),
            AngleFigures.of(errors.euler_wrapped_deg),
            float(errors.rotation_deg.mean()),
            float(np.median(errors.rotation_deg)),
            translation,
            by_box,
            by_eyes,
        )


@dataclass(frozen=True)
class YawBand:
    """The faces whose absolute true yaw lies in a range of degrees."""

    from_deg: float
    to_deg: float
    found_only: HeadPoseFigures
    missed_counted: HeadPoseFigures


@dataclass(frozen=True)
class HeadPoseSummary:
    """The figures of a whole set.

    Attributes:
        faces: Judged faces.
        missed: Of these, the ones not found.
        faces_wrapped: Found faces with an angle whose difference wrapping changes.
        found_only: Figures over the faces found.
        missed_counted: Figures over all faces; see `HeadErrors.missed_counted`.
        yaw_bands: Both by true yaw.
    """

    faces: int
    missed: int
    faces_wrapped: int
    found_only: HeadPoseFigures
    missed_counted: HeadPoseFigures
    yaw_bands: tuple[YawBand, ...]

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts of numbers, ready for JSON."""
        return asdict(self)


def summarise(errors: HeadErrors, true_translations: np.ndarray | None) -> HeadPoseSummary:
    """The figures of a whole set.

    Args:
        errors: Of its faces.
        true_translations: (M, 3), where translations are judged.
    """
    counted = errors.missed_counted(true_translations)
    band_of_face = band_numbers(np.abs(errors.true_yaw_deg), YAW_EDGES_DEG)
    bands = tuple(
        YawBand(
            YAW_EDGES_DEG[band],
            YAW_EDGES_DEG[band + 1],
            HeadPoseFigures.of(errors.of((band_of_face == band) & errors.found)),
            HeadPoseFigures.of(counted.of(band_of_face == band)),
        )
        for band in range(len(YAW_EDGES_DEG) - 1)
    )
    found = errors.of(errors.found)
    # Differences of up to 180 degrees come back as they are, but for rounding.
    wrapped = np.abs(found.euler_deg - found.euler_wrapped_deg).max(-1, initial=0.0) > 1e-6
    return HeadPoseSummary(
        len(errors),
        len(errors) - len(found),
        int(wrapped.sum()),
        HeadPoseFigures.of(found),
        HeadPoseFigures.of(counted),
        bands,
    )
