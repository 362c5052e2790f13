"""Figures of head poses, worked out by hand."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from img2pose.detections import FaceDetections
from img2pose.evaluation.head_pose import (
    HeadErrors,
    HeadPoseFigures,
    HeadPoses,
    best_overlap,
    head_errors,
    most_central,
    summarise,
)
from img2pose.geometry import euler_to_matrix, image_intrinsics, matrix_to_rotvec

MISSED = np.full(6, np.nan)


def pose_of(pitch: float, yaw: float, roll: float, *translation: float) -> np.ndarray:
    rotvec = matrix_to_rotvec(euler_to_matrix(np.array([pitch, yaw, roll], dtype=float)))
    return np.concatenate([rotvec, translation or (0, 0, 5)])


def truth_of(euler_deg: np.ndarray, **others: np.ndarray) -> HeadPoses:
    return HeadPoses(euler_deg, np.asarray(euler_to_matrix(euler_deg)), **others)


def found(boxes: list[list[float]], scores: list[float]) -> FaceDetections:
    size_hw = (100, 200)
    poses = np.zeros((len(boxes), 6))
    return FaceDetections(
        poses, np.array(boxes).reshape(-1, 4), np.array(scores), image_intrinsics(*size_hw), size_hw
    )


def test_mean_absolute_errors_by_hand() -> None:
    truth = truth_of(np.array([[10.0, 20, 30], [0, -40, 5], [0, 0, 0]]))
    poses = np.array([pose_of(12, 17, 30), pose_of(0, -41, 11), MISSED])
    errors = head_errors(truth, poses)
    np.testing.assert_allclose(errors.euler_deg[:2], [[2, 3, 0], [0, 1, 6]], atol=1e-9)
    assert errors.found.tolist() == [True, True, False]
    summary = summarise(errors, None)
    assert (summary.faces, summary.missed, summary.faces_wrapped) == (3, 1, 0)
    assert astuple(summary.found_only.euler_deg) == pytest.approx((2, 1, 3, 2))
    # The missed face adds 90 degrees to each sum.
    counted = summary.missed_counted.euler_deg
    assert astuple(counted) == pytest.approx((94 / 3, 92 / 3, 32, 282 / 9))
    assert summary.found_only.translation is None
    assert summary.found_only.landmarks_by_box is None


def test_differences_are_not_wrapped_and_also_wrapped() -> None:
    truth = truth_of(np.array([[179.0, 0, 0], [10.0, 0, 0], [0, 0, -170]]))
    errors = head_errors(truth, np.array([pose_of(-179, 0, 0), pose_of(13, 0, 0), MISSED]))
    np.testing.assert_allclose(errors.euler_deg[:2, 0], [358, 3], atol=1e-9)
    np.testing.assert_allclose(errors.euler_wrapped_deg[:2, 0], [2, 3], atol=1e-9)
    np.testing.assert_allclose(errors.rotation_deg[:2], [2, 3], atol=1e-9)
    summary = summarise(errors, None)
    assert summary.faces_wrapped == 1
    assert summary.found_only.euler_deg.pitch == pytest.approx(180.5)
    assert summary.found_only.euler_wrapped_deg.pitch == pytest.approx(2.5)
    # Errors count up to 90, as the missed face does.
    assert summary.missed_counted.euler_deg.pitch == pytest.approx((90 + 3 + 90) / 3)
    assert summary.missed_counted.rotation_deg_mean == pytest.approx((2 + 3 + 90) / 3)


def test_a_yaw_beyond_90_is_compared_as_the_set_states_it() -> None:
    # No prediction has such angles: the same rotation reads as yaw 85, and the rest turned round.
    errors = head_errors(truth_of(np.array([[0.0, 95, 0]])), np.array([pose_of(0, 95, 0)]))
    np.testing.assert_allclose(errors.euler_deg, [[180, 10, 180]], atol=1e-6)
    assert errors.rotation_deg[0] == pytest.approx(0, abs=1e-6)


def test_translation_errors_and_what_a_missed_face_counts() -> None:
    translations = np.array([[1.0, -2, 6], [0.5, 0.25, 8]])
    truth = truth_of(np.zeros((2, 3)), translations=translations)
    errors = head_errors(truth, np.array([pose_of(0, 0, 0, 1.5, -2, 20), MISSED]))
    np.testing.assert_allclose(errors.translations[0], [0.5, 0, 14])
    summary = summarise(errors, translations)
    figures = summary.found_only.translation
    assert (figures.x, figures.y, figures.z, figures.mean) == pytest.approx((0.5, 0, 14, 14.5 / 3))
    counted = summary.missed_counted.translation
    # No farther off than the camera itself: 6 in place of 14.
    assert (counted.x, counted.y, counted.z) == pytest.approx((0.5, 0.125, 7))


def test_landmark_errors_by_hand() -> None:
    points = np.zeros((68, 2))
    points[0], points[1] = [0, 0], [100, 100]
    points[36], points[45] = [20, 50], [70, 50]
    truth = truth_of(np.zeros((4, 3)), landmarks=np.tile(points, (4, 1, 1)))
    shifts = np.array([2.0, 8, 20, np.nan])
    landmarks = points + shifts[:, None, None] * [1, 0]
    poses = np.array([pose_of(0, 0, 0)] * 3 + [MISSED])
    errors = head_errors(truth, poses, landmarks)
    np.testing.assert_allclose(errors.landmarks_by_box, [0.02, 0.08, 0.2, np.nan])
    np.testing.assert_allclose(errors.landmarks_by_eyes, [0.04, 0.16, 0.4, np.nan])
    summary = summarise(errors, None)
    only = summary.found_only.landmarks_by_box
    assert (only.mean, only.median) == pytest.approx((0.1, 0.08))
    # 0.08 itself has not failed; its part under the curve is nothing.
    assert only.failure_rate == pytest.approx(1 / 3)
    assert only.area_under_curve == pytest.approx(0.75 / 3)
    counted = summary.missed_counted.landmarks_by_box
    assert counted.mean == pytest.approx(1.3 / 4)
    assert counted.failure_rate == pytest.approx(0.5)
    assert counted.area_under_curve == pytest.approx(0.75 / 4)
    assert summary.found_only.landmarks_by_eyes.failure_rate == pytest.approx(2 / 3)


def test_yaw_bands() -> None:
    angles = np.zeros((7, 3))
    angles[:, 1] = [0, -29.9, 30, -59.9, 60, 99, -99]
    bands = summarise(head_errors(truth_of(angles), np.tile(MISSED, (7, 1))), None).yaw_bands
    assert [band.missed_counted.faces for band in bands] == [2, 2, 3]
    assert [(band.from_deg, band.to_deg) for band in bands] == [(0, 30), (30, 60), (60, 99)]
    truth = truth_of(np.array([[0.0, 10, 0], [0, -50, 0], [0, 55, 0]]))
    poses = np.array([pose_of(0, 12, 0), pose_of(0, -50, 7), MISSED])
    near, far, profile = summarise(head_errors(truth, poses), None).yaw_bands
    assert near.found_only.euler_deg.yaw == pytest.approx(2)
    assert far.found_only.euler_deg.roll == pytest.approx(7)
    assert (far.found_only.faces, far.missed_counted.faces) == (1, 2)
    assert far.missed_counted.euler_deg.yaw == pytest.approx(45)
    assert profile.found_only == HeadPoseFigures(0)


def test_nothing_found() -> None:
    summary = summarise(head_errors(truth_of(np.zeros((2, 3))), np.array([MISSED, MISSED])), None)
    assert (summary.faces, summary.missed) == (2, 2)
    assert summary.found_only == HeadPoseFigures(0)
    assert summary.missed_counted.rotation_deg_mean == 90


def test_finding_a_face_never_costs() -> None:
    rng = np.random.default_rng(1)
    truth = truth_of(rng.uniform(-99, 99, (50, 3)))
    poses = np.hstack([rng.normal(0, 2, (50, 3)), np.ones((50, 3))])
    some = np.where(rng.random((50, 1)) < 0.5, poses, np.nan)
    one, other = (summarise(head_errors(truth, p), None).missed_counted for p in (poses, some))
    assert one.euler_deg.mean <= other.euler_deg.mean
    assert one.rotation_deg_mean <= other.rotation_deg_mean


def test_the_conventions_are_the_published_ones(shared: Path) -> None:
    with np.load(shared / "golden" / "euler.npz") as golden:
        rotvecs, angles = golden["rotvec"], golden["pitch_yaw_roll_deg"]
    rotations = Rotation.from_rotvec(rotvecs).as_matrix()
    poses = np.hstack([rotvecs, np.ones((len(rotvecs), 3))])
    errors = head_errors(HeadPoses(angles, rotations), poses)
    assert errors.euler_deg.max() < 1e-9
    assert errors.rotation_deg.max() < 1e-5


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="rotations must have shape"):
        HeadPoses(np.zeros((2, 3)), np.zeros((1, 3, 3)))
    truth = truth_of(np.zeros((1, 3)), landmarks=np.zeros((1, 68, 2)))
    with pytest.raises(ValueError, match="give the projected ones"):
        head_errors(truth, np.zeros((1, 6)))


def test_parts_of_errors_keep_what_is_not_judged() -> None:
    errors = head_errors(truth_of(np.zeros((3, 3))), np.zeros((3, 6)))
    part = errors.of(np.array([True, False, True]))
    assert isinstance(part, HeadErrors)
    assert len(part) == 2
    assert part.translations is None


@pytest.mark.parametrize(
    ("boxes", "chosen", "iou"),
    [
        ([], None, 0),
        # Beside the face.
        ([[40, 40, 60, 60]], None, 0),
        # Of two detections of one face the better one, however low its score.
        ([[0, 0, 9, 19], [0, 0, 9, 9]], 1, 1),
        # Of equals the first.
        ([[40, 40, 60, 60], [0, 0, 9, 4], [0, 5, 9, 9]], 1, 0.5),
        # One row of pixels is shared.
        ([[0, 9, 9, 18]], 0, 10 / 190),
    ],
)
def test_the_best_overlap(boxes: list[list[float]], chosen: int | None, iou: float) -> None:
    detections = found(boxes, [0.9 - 0.1 * i for i in range(len(boxes))])
    index, overlap = best_overlap(detections, np.array([0.0, 0, 9, 9]))
    assert index == chosen
    assert overlap == pytest.approx(iou)


@pytest.mark.parametrize(
    ("lefts", "scores", "chosen"),
    [
        ([], [], None),
        ([0, 90], [0.99, 0.95], 1),
        # The score has to be above 0.9.
        ([0, 90], [0.99, 0.9], 0),
        # None is sure: the first.
        ([0, 90], [0.8, 0.7], 0),
        # Equally far from the centre at 100.
        ([80, 100], [0.99, 0.95], 0),
    ],
)
def test_the_most_central(lefts: list[float], scores: list[float], chosen: int | None) -> None:
    assert most_central(found([[x, 40, x + 20, 60] for x in lefts], scores)) == chosen
