from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from img2pose.evaluation.landmark_report import (
    faces_by_band,
    figures_by_band,
    size_px,
    worst_faces,
    wrong_detections,
    yaw_deg,
)
from img2pose.evaluation.landmarks import FaceResult, JudgedPicture
from img2pose.geometry import euler_to_matrix, matrix_to_rotvec

FACE = FaceResult(
    image="a.png",
    face=0,
    landmark_count=68,
    truth_box=(10.0, 10.0, 42.0, 138.0),
    truth_pose=(0.0, 0.0, 0.0, 0.0, 0.0, 9.0),
    best_iou=0.8,
    found_at_50=True,
    found_at_75=True,
    score=0.9,
    predicted_pose=(0.0, 0.0, 0.0, 0.0, 0.0, 9.0),
    rotation_error_deg=4.0,
    landmark_error=0.05,
    landmark_error_of_truth=0.04,
)
MISSED = replace(
    FACE, best_iou=0.3, found_at_50=False, found_at_75=False, score=None, predicted_pose=None,
    rotation_error_deg=None, landmark_error=None,
)  # fmt: skip


def turned(yaw: float) -> tuple[float, ...]:
    rotvec = matrix_to_rotvec(euler_to_matrix(np.array([10.0, yaw, 5.0])))
    return (*np.asarray(rotvec).tolist(), 0.0, 0.0, 9.0)


def sized(face: FaceResult, side: float) -> FaceResult:
    return replace(face, truth_box=(5.0, 5.0, 5.0 + side, 5.0 + side))


def picture(*faces: FaceResult) -> JudgedPicture:
    return JudgedPicture(faces, 0, 0, np.zeros(0), np.zeros(0, bool), np.zeros(0, int))


def test_yaw_has_no_sign_and_size_is_of_a_square() -> None:
    for yaw in (-70.0, 0.0, 35.0):
        assert yaw_deg(replace(FACE, truth_pose=turned(yaw))) == pytest.approx(abs(yaw), abs=1e-6)
    assert size_px(FACE) == 64


def test_errors_by_band_are_known() -> None:
    faces = [
        replace(FACE, rotation_error_deg=2.0, landmark_error=0.02),
        replace(FACE, rotation_error_deg=4.0, landmark_error=None),
        replace(FACE, rotation_error_deg=9.0, landmark_error=0.08),
        MISSED,
        MISSED,
        FACE,
    ]
    values = [0.0, 14.9, 15.0, 29.0, 75.0, 100.0]
    low, middle, high = faces_by_band(faces, values, (0, 15, 30, 60, 90), "deg")
    assert (low.band, low.faces, low.recall_at_50) == ("0 to 15 deg", 2, 1.0)
    assert (low.rotation_error_deg_mean, low.landmark_error_mean) == (3.0, 0.02)
    assert (middle.band, middle.faces, middle.recall_at_50) == ("15 to 30 deg", 2, 0.5)
    assert (middle.rotation_error_deg_mean, middle.rotation_error_deg_median) == (9.0, 9.0)
    # No face lies in 30 to 60, and 100 is outside of all bands.
    assert (high.band, high.faces, high.recall_at_50) == ("60 to 90 deg", 1, 0.0)
    assert (high.rotation_error_deg_mean, high.landmark_error_mean) == (None, None)


def test_bands_of_yaw_and_size_hold_every_face() -> None:
    faces = [
        sized(replace(FACE, truth_pose=turned(y)), s) for y, s in ((3, 9), (20, 40), (89, 900))
    ]
    figures = figures_by_band(faces)
    assert [band["band"] for band in figures["by_yaw"]] == [
        "0 to 15 deg", "15 to 30 deg", "60 to 90 deg",
    ]  # fmt: skip
    assert [band["band"] for band in figures["by_face_size"]] == [
        "0 to 16 px", "32 to 64 px", "256 px and more",
    ]  # fmt: skip


def test_the_worst_faces_are_the_large_missed_ones_and_the_greatest_errors() -> None:
    judged = [
        picture(*(sized(MISSED, side) for side in range(10, 80, 10))),
        picture(*(replace(FACE, rotation_error_deg=float(error)) for error in range(20))),
    ]
    worst = worst_faces(judged)
    assert [number for number, _ in worst] == [0] * 5 + [1] * 5
    assert [size_px(face) for _, face in worst[:5]] == [70, 60, 50, 40, 30]
    assert [face.rotation_error_deg for _, face in worst[5:]] == [19, 18, 17, 16, 15]
    # Those not found fill what the others leave, and the other way round.
    assert len(worst_faces([judged[0], picture(FACE)])) == 8
    assert [face.found_at_50 for _, face in worst_faces(judged[1:])] == [True] * 10
    assert worst_faces([picture()]) == []


def test_the_surest_false_positives_are_told_by_picture_and_detection() -> None:
    judged = [
        JudgedPicture((), 0, 0, np.array([0.9, 0.6]), np.array([True, False]), np.array([0, 3])),
        JudgedPicture((), 0, 0, np.array([0.8, 0.4]), np.array([False, False]), np.array([1, 2])),
    ]
    assert wrong_detections(judged, 0.5) == [(1, 1, 0.8), (0, 3, 0.6)]
