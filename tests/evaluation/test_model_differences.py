"""How far two models lie apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from img2pose.detections import FaceDetections
from img2pose.evaluation.model_differences import ModelDifferences, differences_of
from img2pose.geometry import image_intrinsics

SIZE_HW = (100, 100)
BOXES = np.array([[10.0, 10, 30, 50], [60, 60, 80, 80]])
POSES = np.array([[0.1, 0, 0, 0, 0, 5.0], [0, 0.2, 0, 0, 3, 4]])


def faces(boxes: np.ndarray, poses: np.ndarray, scores: list[float]) -> FaceDetections:
    return FaceDetections(poses, boxes, np.array(scores), image_intrinsics(*SIZE_HW), SIZE_HW)


def test_known_differences() -> None:
    first = faces(BOXES, POSES, [0.9, 0.8])
    turned = POSES + [[np.deg2rad(3), 0, 0, 0, 0, 0.5], [0, np.deg2rad(1), 0, 0, 0, 0]]
    moved = BOXES + [[0, 0, 4, 0], [1, 0, 0, -2]]
    # The order of the second model's faces is another one.
    second = faces(moved[::-1], turned[::-1], [0.85, 0.6])
    found = differences_of([(first, second)])
    assert (found.pictures, found.faces_first, found.faces_second, found.faces_both) == (1, 2, 2, 2)
    assert found.same_faces
    assert found.box_px_max == 4
    assert found.box_px_mean == 3
    assert found.box_share_max == pytest.approx(4 / np.sqrt(20 * 40))
    assert found.rotation_deg_mean == pytest.approx(2)
    assert found.rotation_deg_max == pytest.approx(3)
    assert found.translation_share_mean == pytest.approx(0.05)
    assert found.translation_share_max == pytest.approx(0.1)
    assert found.score_max == pytest.approx(0.3)


def test_faces_of_one_model_only() -> None:
    first = faces(BOXES, POSES, [0.9, 0.8])
    elsewhere = faces(BOXES + [[0], [20]], POSES, [0.9, 0.8])
    found = differences_of([(first, elsewhere), (first[:0], first[:0])])
    assert (found.pictures, found.faces_first, found.faces_second, found.faces_both) == (2, 2, 2, 1)
    assert not found.same_faces
    assert found.rotation_deg_max == 0


def test_a_model_agrees_with_itself() -> None:
    first = faces(BOXES, POSES, [0.9, 0.8])
    found = differences_of([(first, first), (first, replace(first))])
    assert found.same_faces and found.faces_both == 4
    assert ModelDifferences.from_dict(found.to_dict()) == found
    assert found.box_px_max == found.score_max == 0


def test_no_faces_at_all_have_no_differences() -> None:
    none = faces(BOXES[:0], POSES[:0], [])
    found = differences_of([(none, none)])
    assert found.same_faces
    assert found.rotation_deg_mean is None and found.box_px_max is None
    assert differences_of([]).pictures == 0
