from __future__ import annotations

import numpy as np
import pytest

from img2pose.detections import FaceDetections
from img2pose.inference.agreement import agreement_of

RNG = np.random.default_rng(0)
SIZE_HW = (100, 200)


def faces(count: int) -> FaceDetections:
    poses = RNG.normal(0, 1, (count, 6)) + [0, 0, 0, 0, 0, 20]
    return FaceDetections.from_dict(
        {
            "size_hw": SIZE_HW,
            "intrinsics": np.eye(3).tolist(),
            "faces": [
                {"pose": pose, "box": [1, 2, 30 + i, 40], "score": 0.9 - 0.1 * i}
                for i, pose in enumerate(poses)
            ],
        }
    )


def test_the_same_faces_in_another_order_agree() -> None:
    first = faces(4)
    found = agreement_of([(first, first[::-1])], threshold=0.1, margin=0.0)
    assert (found.pictures, found.faces, found.only_first, found.only_second) == (1, 4, 0, 0)
    assert found.pose == found.score == found.box_px == 0


def test_differences_are_the_largest_of_all_pictures_and_of_large_numbers_relative() -> None:
    first = faces(2)
    turned = first.poses + [0, 0.02, 0, 0, 0, 0]
    further = first.poses * [1, 1, 1, 1, 1, 1.01]
    pairs = [
        (first, FaceDetections(p, first.boxes + 3, first.scores - 0.01, np.eye(3), SIZE_HW))
        for p in (turned, further)
    ]
    found = agreement_of(pairs, threshold=0.1, margin=0.0)
    assert (found.pictures, found.faces) == (2, 4)
    assert found.pose == pytest.approx(0.02)
    assert found.pose_mean == pytest.approx((0.02 + 0.01) / 2 / 6)
    assert found.score == pytest.approx(0.01)
    assert found.box_px == pytest.approx(3)
    assert found.box_share == pytest.approx(3 / 200)


def test_a_face_of_one_engine_counts_unless_its_score_is_at_the_threshold() -> None:
    first = faces(3)
    pairs = [(first, first[:1]), (first[1:], first)]
    found = agreement_of(pairs, threshold=0.7, margin=0.01)
    assert (found.faces, found.only_first, found.only_second) == (3, 1, 1)
    assert agreement_of(pairs, threshold=0.2, margin=0.0).only_first == 2


def test_no_faces_in_both_agree() -> None:
    nothing = FaceDetections.empty(SIZE_HW)
    found = agreement_of([(nothing, nothing), (nothing, faces(2))], threshold=0.1, margin=0.0)
    assert (found.pictures, found.faces, found.only_first, found.only_second) == (2, 0, 0, 2)
    assert found.pose == 0
