"""Detections against annotated landmarks: recall, false positives, rotation, landmarks.

The truth is a face's 68 (or 5) landmarks. Its pose is their EPnP fit with the model's references,
in float64 and in the camera of the detections unless labels as published are asked for; its box is
made from that pose as in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from img2pose.data.annotations import Annotation
from img2pose.data.labels import PoseCamera, solve_pose_in_box
from img2pose.detections import FaceDetections
from img2pose.evaluation.metrics import (
    area_under_cumulative,
    average_precision,
    failure_rate,
    iou_matrix,
    landmark_error,
    match_detections,
    rotation_error_deg,
)
from img2pose.geometry import boxes_from_points, pose_box_to_image, project_points, solve_pose
from img2pose.references import PoseReferences

LANDMARK_LIMIT = 0.08
"""Share of the outer eye distance; a landmark error above it is a failure."""

_TRUTH_POSE: dict[PoseCamera, str] = {
    "image": "EPnP (float64) of the annotated landmarks in the image's camera,"
    " with the model's references",
    "box": "EPnP (float32) of the annotated landmarks in the camera of the annotated box, as"
    " published labels are made, with the model's references; then expressed in the image's camera",
}
PROTOCOL = {
    "truth_pose": _TRUTH_POSE["image"],
    "truth_box": "bounds of the 68 reference points projected with the truth pose, scaled by 1.1"
    " and 1.1, lengthened by 0.3 on the forehead's side, clipped to the picture",
    "matching": "greedy by score: a detection takes the free face it overlaps most",
    "recall": "share of the posed faces matched at the IoU by detections above the threshold",
    "false_positives": "detections above the threshold matched to no face at IoU 0.5 and not"
    " overlapping the annotated box of a face without a pose by as much",
    "average_precision": "area under the precision envelope at IoU 0.5 over all given detections",
    "rotation_error_deg": "geodesic angle between predicted and truth pose of faces matched at"
    " IoU 0.5; faces not found are left out",
    "rotation_error_deg_mean_missed_as_90": "mean over all posed faces of the same angle, counted"
    " up to 90 degrees; a face not found at IoU 0.5 counts 90",
    "landmark_error": "mean distance of the 68 points projected with the predicted pose to the"
    " annotated ones, over the outer eye distance (points 36, 45), of the same faces",
    "landmark_error_of_truth": "the same for the truth pose of all faces with 68 points: what a"
    " rigid reference face leaves at best",
    "landmark_failure_rate": "share of the faces with 68 points whose landmark error is above"
    f" {LANDMARK_LIMIT} or that were not found at IoU 0.5",
    "landmark_area_under_curve": "area under the cumulative landmark error of the same faces from"
    f" 0 to {LANDMARK_LIMIT}, over {LANDMARK_LIMIT}",
}

_MISSED_FACE_ERROR_DEG = 90.0
_POSE_PARTS = ("rx", "ry", "rz", "tx", "ty", "tz")
_COLUMN_PARTS = {
    "truth_box": ("left", "top", "right", "bottom"),
    "truth_pose": _POSE_PARTS,
    "predicted_pose": _POSE_PARTS,
}


@dataclass(frozen=True)
class FaceResult:
    """What became of one annotated face that has a pose.

    Attributes:
        image: The annotation's image path.
        face: Index in the annotation.
        landmark_count: 5 or 68.
        truth_box: Left, top, right, bottom in pixels.
        truth_pose: (rx, ry, rz, tx, ty, tz) in the image's camera.
        best_iou: The greatest overlap with any detection above the threshold, 0 without one.
        found_at_50: Matched at IoU 0.5.
        found_at_75: Matched at IoU 0.75.
        score: Of the detection matched at IoU 0.5, else None.
        predicted_pose: The same detection's.
        rotation_error_deg: The same detection's.
        landmark_error: The same detection's; None for 5 points.
        landmark_error_of_truth: What the truth pose leaves; None for 5 points.
    """

    image: str
    face: int
    landmark_count: int
    truth_box: tuple[float, ...]
    truth_pose: tuple[float, ...]
    best_iou: float
    found_at_50: bool
    found_at_75: bool
    score: float | None
    predicted_pose: tuple[float, ...] | None
    rotation_error_deg: float | None
    landmark_error: float | None
    landmark_error_of_truth: float | None

    @classmethod
    def columns(cls) -> list[str]:
        """Names of a table's columns: boxes and poses get one a number."""
        return [
            f"{field.name}_{part}" if part else field.name
            for field in fields(cls)
            for part in _COLUMN_PARTS.get(field.name, ("",))
        ]

    def to_row(self) -> dict[str, str | int | float | None]:
        """One flat row for a table, by `columns`; None where nothing was found."""
        values: list[str | int | float | None] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _COLUMN_PARTS:
                values += [None] * len(_COLUMN_PARTS[field.name]) if value is None else value
            else:
                values.append(int(value) if isinstance(value, bool) else value)
        return dict(zip(self.columns(), values, strict=True))


@dataclass(frozen=True)
class LandmarkSummary:
    """The figures of a whole set; None where there was nothing to average.

    Attributes:
        pictures: Judged pictures.
        faces: Annotated faces with a pose.
        faces_with_5_points: Of these, the ones without 68 points.
        faces_without_pose: Annotated faces that are neither to be found nor wrong to find.
        missed_at_50: Faces not found at IoU 0.5, which the errors leave out.
        recall_at_50: Share of `faces`.
        recall_at_75: Share of `faces`.
        average_precision_at_50: 0..1.
        false_positives: Over all pictures.
        false_positives_per_picture: Mean.
        rotation_error_deg_mean: Degrees.
        rotation_error_deg_median: Degrees.
        rotation_error_deg_mean_missed_as_90: Degrees; over all `faces`, each counted up to 90, a
            missed one 90, so that finding a face never costs.
        landmark_error_mean: Share of the outer eye distance.
        landmark_error_median: The same.
        landmark_error_of_truth_mean: What the truth poses leave.
        landmark_failure_rate: Share of the faces with 68 points, those not found included, whose
            error is above `LANDMARK_LIMIT`.
        landmark_area_under_curve: Under their cumulative errors up to there; 1 at best.
        score_threshold: Detections with a greater score count.
    """

    pictures: int
    faces: int
    faces_with_5_points: int
    faces_without_pose: int
    missed_at_50: int
    recall_at_50: float | None
    recall_at_75: float | None
    average_precision_at_50: float | None
    false_positives: int
    false_positives_per_picture: float | None
    rotation_error_deg_mean: float | None
    rotation_error_deg_median: float | None
    rotation_error_deg_mean_missed_as_90: float | None
    landmark_error_mean: float | None
    landmark_error_median: float | None
    landmark_error_of_truth_mean: float | None
    landmark_failure_rate: float | None
    landmark_area_under_curve: float | None
    score_threshold: float

    def to_dict(self) -> dict[str, int | float | None]:
        """Field names and values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LandmarkEvaluation:
    """Results a face and the figures over all of them."""

    faces: tuple[FaceResult, ...]
    summary: LandmarkSummary


@dataclass(frozen=True)
class _Truth:
    """The annotated faces of one picture: those with a pose, and the boxes of the others."""

    indices: list[int]
    landmarks: list[np.ndarray]
    poses: np.ndarray
    boxes: np.ndarray
    boxes_without_pose: np.ndarray


def protocol(truth_camera: PoseCamera) -> dict[str, str]:
    """`PROTOCOL` with the truth that is asked for."""
    return {**PROTOCOL, "truth_pose": _TRUTH_POSE[truth_camera]}


def _fit_pose(
    reference: np.ndarray,
    landmarks: np.ndarray,
    box: np.ndarray,
    intrinsics: np.ndarray,
    truth_camera: PoseCamera,
) -> np.ndarray | None:
    """(6,) in the camera of `intrinsics`; None where no pose before the camera fits."""
    try:
        if truth_camera == "box":
            whole = np.trunc(box)
            if not (whole[2:] > whole[:2]).all():
                return None
            in_box = solve_pose_in_box(reference, landmarks, whole)
            pose = np.asarray(pose_box_to_image(in_box[None], whole[None], intrinsics))[0]
        else:
            pose = solve_pose(reference, landmarks, intrinsics)
    except ValueError:
        return None
    # EPnP may also answer with a face behind the camera.
    return pose if np.isfinite(pose).all() and pose[5] > 0 else None


def _fit_truth(
    annotation: Annotation,
    detections: FaceDetections,
    references: PoseReferences,
    truth_camera: PoseCamera,
) -> _Truth:
    indices: list[int] = []
    poses: list[np.ndarray] = []
    for face, points in enumerate(annotation.landmarks):
        if not annotation.has_landmarks[face]:
            continue
        reference = references.points_68 if len(points) == 68 else references.points_5
        box = annotation.boxes_xyxy[face]
        pose = _fit_pose(reference, points, box, detections.intrinsics, truth_camera)
        if pose is None:
            continue
        poses.append(pose)
        indices.append(face)
    fitted = np.array(poses).reshape(-1, 6)
    projected = project_points(references.points_68, fitted, detections.intrinsics)
    unposed = np.setdiff1d(np.arange(len(annotation)), indices)
    return _Truth(
        indices,
        [annotation.landmarks[face] for face in indices],
        fitted,
        boxes_from_points(projected, fitted, detections.size_hw),
        annotation.boxes_xyxy[unposed],
    )


@dataclass(frozen=True, eq=False)
class JudgedPicture:
    """What the figures of a set need to know of one picture; processes may exchange it.

    Attributes:
        faces: A result for each annotated face with a pose.
        faces_without_pose: How many annotated faces have none.
        false_positives: Detections above the score threshold that are wrong.
        scores: (N,) float64, of the detections that count in the average precision: all but those
            on faces without a pose.
        correct: (N,) bool, whether each of these found a face.
        detections: (N,) int64, which of the picture's detections they are.
    """

    faces: tuple[FaceResult, ...]
    faces_without_pose: int
    false_positives: int
    scores: np.ndarray
    correct: np.ndarray
    detections: np.ndarray


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def known_values(values: Iterable[float | None]) -> list[float]:
    """Those that are there."""
    return [value for value in values if value is not None]


def _bounded_rotation_error(face: FaceResult) -> float:
    if face.rotation_error_deg is None:
        return _MISSED_FACE_ERROR_DEG
    return min(face.rotation_error_deg, _MISSED_FACE_ERROR_DEG)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _nme(
    pose: np.ndarray, annotated: np.ndarray, intrinsics: np.ndarray, references: PoseReferences
) -> float | None:
    if len(annotated) != 68:
        return None
    projected = project_points(references.points_68, pose[None], intrinsics)[0]
    error = float(landmark_error(projected, annotated))
    # Eyes annotated at one point give no unit to measure in.
    return error if np.isfinite(error) else None


def _judge_face(
    truth: _Truth,
    number: int,
    image: str,
    detections: FaceDetections,
    references: PoseReferences,
    detection: int | None,
) -> dict[str, Any]:
    """The fields of `FaceResult` that one face and its detection at IoU 0.5 determine."""
    pose, annotated = truth.poses[number], truth.landmarks[number]
    score = predicted = rotation = error = None
    if detection is not None:
        found = detections.poses[detection]
        score = float(detections.scores[detection])
        predicted = tuple(found.tolist())
        rotation = float(rotation_error_deg(found, pose))
        error = _nme(found, annotated, detections.intrinsics, references)
    return {
        "image": image,
        "face": truth.indices[number],
        "landmark_count": len(annotated),
        "truth_box": tuple(truth.boxes[number].tolist()),
        "truth_pose": tuple(pose.tolist()),
        "found_at_50": detection is not None,
        "score": score,
        "predicted_pose": predicted,
        "rotation_error_deg": rotation,
        "landmark_error": error,
        "landmark_error_of_truth": _nme(pose, annotated, detections.intrinsics, references),
    }


def _judge_picture(
    annotation: Annotation,
    detections: FaceDetections,
    references: PoseReferences,
    score_threshold: float,
    truth_camera: PoseCamera,
) -> JudgedPicture:
    truth = _fit_truth(annotation, detections, references, truth_camera)
    ious = iou_matrix(detections.boxes, truth.boxes)
    confident = detections.scores > score_threshold
    # Detections choose by falling score, so those below the threshold take no face from others.
    at_50 = match_detections(detections.scores, ious, 0.5)
    at_75 = match_detections(detections.scores, ious, 0.75)
    detection_of = {int(at_50[i]): int(i) for i in np.flatnonzero(confident & (at_50 >= 0))}
    found_at_75 = set(at_75[confident].tolist())
    results = tuple(
        FaceResult(
            **_judge_face(
                truth,
                number,
                annotation.image_path,
                detections,
                references,
                detection_of.get(number),
            ),
            best_iou=float(ious[confident, number].max(initial=0.0)),
            found_at_75=number in found_at_75,
        )
        for number in range(len(truth.indices))
    )
    correct = at_50 >= 0
    on_unposed = iou_matrix(detections.boxes, truth.boxes_without_pose).max(1, initial=0.0) >= 0.5
    counts = correct | ~on_unposed
    return JudgedPicture(
        results,
        len(truth.boxes_without_pose),
        int((confident & counts & ~correct).sum()),
        detections.scores[counts],
        correct[counts],
        np.flatnonzero(counts),
    )


def judge_pictures(
    pictures: Iterable[tuple[Annotation, FaceDetections]],
    references: PoseReferences,
    *,
    score_threshold: float = 0.5,
    truth_camera: PoseCamera = "image",
) -> list[JudgedPicture]:
    """Judges detections, each picture for itself (see `PROTOCOL`).

    Args:
        pictures: Annotated faces and what was found. Detections below the threshold serve the
            average precision only; faces that the annotation leaves out count as false positives.
        references: The reference face of the predicted poses.
        score_threshold: Detections with a greater score count.
        truth_camera: Where the landmarks are fitted.

    Returns:
        One for each picture, in their order.
    """
    return [
        _judge_picture(annotation, detections, references, score_threshold, truth_camera)
        for annotation, detections in pictures
    ]


def summarise(judged: Sequence[JudgedPicture], score_threshold: float = 0.5) -> LandmarkEvaluation:
    """The figures of a whole set.

    Args:
        judged: Its pictures. Detections with equal scores rank in their order.
        score_threshold: What they were judged with.

    Returns:
        A result for each face with a pose, and the summary.
    """
    faces = tuple(face for picture in judged for face in picture.faces)
    found = sum(face.found_at_50 for face in faces)
    false_positives = sum(picture.false_positives for picture in judged)
    rotation_errors = known_values(face.rotation_error_deg for face in faces)
    landmark_errors = known_values(face.landmark_error for face in faces)
    errors_of_truth = known_values(face.landmark_error_of_truth for face in faces)
    summary = LandmarkSummary(
        pictures=len(judged),
        faces=len(faces),
        faces_with_5_points=sum(face.landmark_count == 5 for face in faces),
        faces_without_pose=sum(picture.faces_without_pose for picture in judged),
        missed_at_50=len(faces) - found,
        recall_at_50=_share(found, len(faces)),
        recall_at_75=_share(sum(face.found_at_75 for face in faces), len(faces)),
        average_precision_at_50=average_precision(
            np.concatenate([np.empty(0), *(picture.scores for picture in judged)]),
            np.concatenate([np.empty(0, dtype=bool), *(picture.correct for picture in judged)]),
            len(faces),
        ),
        false_positives=false_positives,
        false_positives_per_picture=_share(false_positives, len(judged)),
        rotation_error_deg_mean=_mean(rotation_errors),
        rotation_error_deg_median=_median(rotation_errors),
        rotation_error_deg_mean_missed_as_90=_mean([_bounded_rotation_error(f) for f in faces]),
        landmark_error_mean=_mean(landmark_errors),
        landmark_error_median=_median(landmark_errors),
        landmark_error_of_truth_mean=_mean(errors_of_truth),
        landmark_failure_rate=failure_rate(
            np.array(landmark_errors), len(errors_of_truth), LANDMARK_LIMIT
        ),
        landmark_area_under_curve=area_under_cumulative(
            np.array(landmark_errors), len(errors_of_truth), LANDMARK_LIMIT
        ),
        score_threshold=score_threshold,
    )
    return LandmarkEvaluation(faces, summary)
