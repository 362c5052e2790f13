from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from img2pose.data.annotations import Annotation
from img2pose.data.labels import POSE_CAMERAS, fit_labels
from img2pose.detections import FaceDetections
from img2pose.evaluation.landmarks import (
    FaceResult,
    LandmarkEvaluation,
    judge_pictures,
    summarise,
)
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.references import PoseReferences

SIZE_HW = (480, 640)
CAMERA = image_intrinsics(*SIZE_HW)
POSES = np.array([[0.1, -0.2, 0.05, -2.0, 0.3, 12.0], [0.0, 0.4, -0.1, 2.0, -0.5, 14.0]])


def boxes_of(poses: np.ndarray, references: PoseReferences) -> np.ndarray:
    points = project_points(references.points_68, poses, CAMERA)
    boxes: np.ndarray = boxes_from_points(points, poses, SIZE_HW)
    return boxes


def annotation_of(
    poses: np.ndarray, references: PoseReferences, *, five_points: bool = False
) -> Annotation:
    reference = references.points_5 if five_points else references.points_68
    landmarks = project_points(reference, poses.reshape(-1, 6), CAMERA)
    boxes = np.array([[*points.min(0), *points.max(0)] for points in landmarks]).reshape(-1, 4)
    return Annotation("a.png", boxes, tuple(landmarks), Path("a.json"))


def detections_of(
    poses: np.ndarray, scores: list[float], references: PoseReferences
) -> FaceDetections:
    poses = poses.reshape(-1, 6)
    boxes = boxes_of(poses, references) if len(poses) else np.zeros((0, 4))
    return FaceDetections(poses, boxes, np.array(scores), CAMERA, SIZE_HW)


def evaluate_faces(
    pictures: Iterable[tuple[Annotation, FaceDetections]],
    references: PoseReferences,
    score_threshold: float = 0.5,
) -> LandmarkEvaluation:
    judged = judge_pictures(pictures, references, score_threshold=score_threshold)
    return summarise(judged, score_threshold)


def test_the_truth_as_detection_is_perfect(references: PoseReferences) -> None:
    found = detections_of(POSES, [0.9, 0.8], references)
    result = evaluate_faces([(annotation_of(POSES, references), found)], references)
    summary = result.summary
    assert (summary.pictures, summary.faces, summary.missed_at_50) == (1, 2, 0)
    assert summary.recall_at_50 == summary.recall_at_75 == summary.average_precision_at_50 == 1
    assert summary.false_positives == 0
    assert summary.rotation_error_deg_mean == pytest.approx(0, abs=1e-4)
    assert summary.landmark_error_mean == pytest.approx(0, abs=1e-6)
    assert summary.landmark_error_of_truth_mean == pytest.approx(0, abs=1e-6)
    assert [face.score for face in result.faces] == [0.9, 0.8]
    np.testing.assert_allclose(result.faces[1].truth_pose, POSES[1], atol=1e-4)


def test_a_known_turn_is_the_rotation_error(references: PoseReferences) -> None:
    turned = POSES.copy()
    # Rotation vectors along one axis differ by the angle between them.
    turned[:, :3] *= 1 + np.deg2rad([[3.0], [5.0]]) / np.linalg.norm(
        POSES[:, :3], axis=1, keepdims=True
    )
    found = detections_of(turned, [0.9, 0.8], references)
    result = evaluate_faces([(annotation_of(POSES, references), found)], references)
    errors = [face.rotation_error_deg for face in result.faces]
    np.testing.assert_allclose(errors, [3, 5], atol=1e-4)
    assert result.summary.rotation_error_deg_mean == pytest.approx(4, abs=1e-4)
    assert result.summary.landmark_error_mean is not None
    assert result.summary.landmark_error_mean > 0.001


def test_a_missed_face_counts_but_has_no_errors(references: PoseReferences) -> None:
    found = detections_of(POSES[:1], [0.9], references)
    result = evaluate_faces([(annotation_of(POSES, references), found)], references)
    assert result.summary.recall_at_50 == 0.5
    assert result.summary.missed_at_50 == 1
    missed = result.faces[1]
    assert (missed.found_at_50, missed.score, missed.rotation_error_deg) == (False, None, None)
    assert missed.landmark_error is None
    assert result.summary.rotation_error_deg_mean == pytest.approx(0, abs=1e-4)


def test_a_missed_face_counts_90_degrees_and_no_found_one_counts_more(
    references: PoseReferences,
) -> None:
    def figure(turns_deg: list[float]) -> float | None:
        truth = POSES.copy()
        truth[:, :3] = 0
        turned = truth[: len(turns_deg)].copy()
        # About the line of sight, so that the face keeps its place and about its box.
        turned[:, 2] = np.deg2rad(turns_deg)
        boxes = boxes_of(truth, references)[: len(turns_deg)]
        found = FaceDetections(turned, boxes, np.full(len(turned), 0.9), CAMERA, SIZE_HW)
        pictures = [(annotation_of(truth, references), found)]
        return evaluate_faces(pictures, references).summary.rotation_error_deg_mean_missed_as_90

    assert figure([4, 8]) == pytest.approx(6, abs=1e-4)
    assert figure([4]) == pytest.approx((4 + 90) / 2, abs=1e-4)
    assert figure([4, 150]) == pytest.approx((4 + 90) / 2, abs=1e-4)


def test_to_find_only_the_easy_face_betters_the_mean_but_not_the_one_of_all(
    references: PoseReferences,
) -> None:
    turned = POSES.copy()
    turned[1, 1] += np.deg2rad(20)
    pictures = annotation_of(POSES, references)
    both, easy = (
        evaluate_faces([(pictures, found)], references).summary
        for found in (
            detections_of(turned, [0.9, 0.8], references),
            detections_of(turned[:1], [0.9], references),
        )
    )
    assert both.rotation_error_deg_mean is not None
    assert easy.rotation_error_deg_mean is not None
    assert easy.rotation_error_deg_mean < both.rotation_error_deg_mean
    assert both.rotation_error_deg_mean_missed_as_90 == both.rotation_error_deg_mean
    assert easy.rotation_error_deg_mean_missed_as_90 == pytest.approx(45, abs=1e-4)


def test_pictures_judged_elsewhere_and_pickled_give_the_same_evaluation(
    references: PoseReferences,
) -> None:
    pictures = [
        (annotation_of(POSES, references), detections_of(POSES[1:], [0.3], references)),
        (annotation_of(POSES[:1], references), detections_of(POSES, [0.9, 0.6], references)),
        (annotation_of(POSES[:0], references), detections_of(POSES[:0], [], references)),
    ]
    judged = [
        pickle.loads(pickle.dumps(one))
        for picture in pictures
        for one in judge_pictures([picture], references, score_threshold=0.4)
    ]
    together = evaluate_faces(pictures, references, score_threshold=0.4)
    assert summarise(judged, 0.4) == together
    assert together.summary.score_threshold == 0.4


def test_a_duplicate_and_a_face_elsewhere_are_false_positives(references: PoseReferences) -> None:
    elsewhere = np.array([[0, 0, 0, 0.0, 2.0, 12.0]])
    found = detections_of(
        np.concatenate([POSES, POSES[:1], elsewhere]), [0.9, 0.8, 0.7, 0.6], references
    )
    empty = detections_of(np.zeros((0, 6)), [], references)
    pictures = [
        (annotation_of(POSES, references), found),
        (annotation_of(np.zeros((0, 6)), references), empty),
    ]
    summary = evaluate_faces(pictures, references).summary
    assert summary.false_positives == 2
    assert summary.false_positives_per_picture == 1
    assert summary.recall_at_50 == 1
    assert summary.average_precision_at_50 == 1


def test_detections_below_the_threshold_serve_the_average_precision_only(
    references: PoseReferences,
) -> None:
    found = detections_of(POSES, [0.9, 0.5], references)
    summary = evaluate_faces([(annotation_of(POSES, references), found)], references).summary
    assert summary.recall_at_50 == 0.5
    assert summary.average_precision_at_50 == 1
    lower = evaluate_faces(
        [(annotation_of(POSES, references), found)], references, score_threshold=0.4
    ).summary
    assert lower.recall_at_50 == 1


def test_recall_at_75_asks_for_a_closer_box(references: PoseReferences) -> None:
    nearer = POSES[:1].copy()
    # Boxes shrink with distance: (12 / 14.5)^2 = 0.68 of the area is left.
    nearer[0, 3:] *= 14.5 / 12
    moved = nearer.copy()
    moved[0, 3:5] = POSES[0, 3:5] * 14.5 / 12
    found = detections_of(moved, [0.9], references)
    result = evaluate_faces([(annotation_of(POSES[:1], references), found)], references)
    (face,) = result.faces
    assert (face.found_at_50, face.found_at_75) == (True, False)
    assert 0.6 < face.best_iou < 0.75


def test_a_face_without_pose_is_neither_missed_nor_wrong_to_find(
    references: PoseReferences,
) -> None:
    posed = annotation_of(POSES, references)
    unknown = posed.landmarks[1].copy()
    unknown[5] = -1
    # The box is the detector's, as an annotator would draw it.
    boxes = boxes_of(POSES, references)
    annotation = Annotation("a.png", boxes, (posed.landmarks[0], unknown), Path("a.json"))
    found = detections_of(np.concatenate([POSES, POSES[1:]]), [0.9, 0.8, 0.7], references)
    result = evaluate_faces([(annotation, found)], references)
    assert (result.summary.faces, result.summary.faces_without_pose) == (1, 1)
    assert result.summary.false_positives == 0
    assert result.summary.average_precision_at_50 == 1
    nothing = detections_of(np.zeros((0, 6)), [], references)
    assert evaluate_faces([(annotation, nothing)], references).summary.missed_at_50 == 1


def test_five_points_give_recall_and_rotation_but_no_landmark_error(
    references: PoseReferences,
) -> None:
    found = detections_of(POSES, [0.9, 0.8], references)
    annotation = annotation_of(POSES, references, five_points=True)
    result = evaluate_faces([(annotation, found)], references)
    summary = result.summary
    assert (summary.faces, summary.faces_with_5_points, summary.recall_at_50) == (2, 2, 1)
    assert summary.landmark_error_mean is None
    assert summary.rotation_error_deg_mean is not None
    assert summary.rotation_error_deg_mean < 1


def test_without_pictures_or_faces_there_are_no_figures(references: PoseReferences) -> None:
    summary = evaluate_faces([], references).summary
    assert summary.recall_at_50 is None
    assert summary.rotation_error_deg_mean_missed_as_90 is None
    assert summary.false_positives_per_picture is None
    json.dumps(summary.to_dict(), allow_nan=False)
    found = detections_of(POSES[:1], [0.9], references)
    summary = evaluate_faces(
        [(annotation_of(np.zeros((0, 6)), references), found)], references
    ).summary
    assert (summary.faces, summary.false_positives) == (0, 1)
    assert summary.average_precision_at_50 is None


def test_results_are_plain_rows_and_json(references: PoseReferences) -> None:
    found = detections_of(POSES[:1], [0.9], references)
    result = evaluate_faces([(annotation_of(POSES, references), found)], references)
    rows = [face.to_row() for face in result.faces]
    json.dumps(rows, allow_nan=False)
    assert all(list(row) == FaceResult.columns() for row in rows)
    assert rows[0]["found_at_50"] == 1
    assert rows[0]["predicted_pose_tz"] == pytest.approx(12)
    assert rows[1]["predicted_pose_tz"] is None


def test_truth_in_the_box_is_the_label_that_training_gets(references: PoseReferences) -> None:
    annotation = annotation_of(POSES, references)
    # Other than a rigid face projects, so that the two cameras disagree.
    rng = np.random.default_rng(0)
    points = tuple(points + rng.normal(0, 1.5, points.shape) for points in annotation.landmarks)
    annotation = replace(annotation, landmarks=points)
    labels = fit_labels(annotation, SIZE_HW, references, "box").poses_in_image
    found = detections_of(labels, [0.9, 0.8], references)
    in_box, in_image = (
        judge_pictures([(annotation, found)], references, truth_camera=camera)[0].faces
        for camera in POSE_CAMERAS
    )
    np.testing.assert_allclose([face.truth_pose for face in in_box], labels)
    assert all(face.rotation_error_deg == pytest.approx(0, abs=1e-4) for face in in_box)
    assert all((face.rotation_error_deg or 0) > 0.1 for face in in_image)
    # A box without an area has no camera.
    flat = replace(annotation, boxes_xyxy=np.trunc(annotation.boxes_xyxy)[:, [0, 1, 0, 1]])
    assert judge_pictures([(flat, found)], references, truth_camera="box")[0].faces == ()
    assert len(judge_pictures([(flat, found)], references)[0].faces) == 2


def test_failures_count_faces_that_were_not_found(references: PoseReferences) -> None:
    found = detections_of(POSES[:1], [0.9], references)
    summary = evaluate_faces([(annotation_of(POSES, references), found)], references).summary
    assert summary.landmark_failure_rate == 0.5
    assert summary.landmark_area_under_curve == pytest.approx(0.5, abs=1e-6)
    nobody = detections_of(POSES[:0], [], references)
    none = evaluate_faces([(annotation_of(POSES[:0], references), nobody)], references).summary
    assert none.landmark_failure_rate is none.landmark_area_under_curve is None
