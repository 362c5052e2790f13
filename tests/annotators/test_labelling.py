"""Annotations made of what a detector found, alone or on given boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from img2pose.annotators.labelling import MatchRule, add_landmarks, label_faces
from img2pose.annotators.protocol import FoundFaces
from img2pose.data.annotations import Annotation, read_annotation, write_annotation

UNKNOWN = np.full((5, 2), -1.0)
SIZE_HW = (50, 100)


def points_at(x: float, count: int = 5) -> np.ndarray:
    return x + np.arange(2.0 * count).reshape(count, 2)


def found(*boxes: tuple[float, float, float, float]) -> FoundFaces:
    points = [points_at(box[0]) for box in boxes]
    return FoundFaces(np.array(boxes, dtype=float), np.linspace(0.9, 0.5, len(boxes)), points)


def given(*boxes: tuple[float, float, float, float], **more: object) -> Annotation:
    points = more.pop("landmarks", (UNKNOWN,) * len(boxes))
    return Annotation("a.jpg", np.array(boxes, float), points, Path("given.json"), **more)  # type: ignore[arg-type]


def test_boxes_end_at_the_picture_and_faces_outside_are_none() -> None:
    faces = found((-5, -5, 20.12345, 30), (90, 10, 130, 60), (100, 0, 120, 20))
    annotation = label_faces(faces, "b/a.jpg", SIZE_HW, "mine")
    np.testing.assert_array_equal(annotation.boxes_xyxy, [[0, 0, 20.123, 30], [90, 10, 100, 50]])
    np.testing.assert_array_equal(annotation.landmarks[0], points_at(-5))
    assert annotation.scores == (0.9, 0.7)
    assert (annotation.image_path, annotation.label_source) == ("b/a.jpg", "mine")


def test_rounding_makes_no_known_point_unknown_and_unknown_ones_stay_so() -> None:
    near, far = points_at(3), UNKNOWN.copy()
    near[2, 1] = -1.0000001
    faces = FoundFaces(np.array([[0, 0, 9, 9], [20, 0, 29, 9.0]]), np.ones(2), [near, far])
    annotation = label_faces(faces, "a.jpg", SIZE_HW, "mine")
    assert annotation.has_landmarks.tolist() == [True, False]
    assert annotation.landmarks[0][2, 1] == pytest.approx(-1, abs=0.0011)


def test_given_boxes_take_points_and_scores_of_the_faces_at_their_place(tmp_path: Path) -> None:
    there = given((60, 0, 80, 20), (10, 10, 12, 12), (0, 0, 20, 20), label_source="WIDER")
    labelled = label_faces(
        found((1, 0, 20, 20), (30, 30, 40, 40), (60, 1, 80, 20)), "a.jpg", SIZE_HW, "mine"
    )
    annotation, matched, unmatched = add_landmarks(there, labelled, MatchRule())
    assert (matched, unmatched) == (2, 1)
    np.testing.assert_array_equal(annotation.boxes_xyxy, there.boxes_xyxy)
    assert annotation.has_landmarks.tolist() == [True, False, True]
    np.testing.assert_array_equal(annotation.landmarks[0], points_at(60))
    np.testing.assert_array_equal(annotation.landmarks[1], UNKNOWN)
    np.testing.assert_array_equal(annotation.landmarks[2], points_at(1))
    assert annotation.scores == (0.5, None, 0.9)
    assert annotation.label_source == "mine; boxes: WIDER"
    write_annotation(tmp_path / "a.json", annotation)
    assert read_annotation(tmp_path / "a.json").scores == annotation.scores


def test_found_faces_without_a_box_stay_behind_the_given_ones_on_demand() -> None:
    labelled = label_faces(found((30, 30, 40, 40)), "a.jpg", SIZE_HW, "mine")
    annotation, matched, unmatched = add_landmarks(
        given((0, 0, 20, 20), head_angles=(np.ones(3),)), labelled, MatchRule(keep_unmatched=True)
    )
    assert (matched, unmatched) == (0, 1)
    np.testing.assert_array_equal(annotation.boxes_xyxy, [[0, 0, 20, 20], [30, 30, 40, 40]])
    assert annotation.has_landmarks.tolist() == [False, True]
    assert annotation.scores == (None, 0.9)
    assert annotation.head_angles[1] is None


def test_points_that_are_known_stay() -> None:
    there = given((0, 0, 20, 20), landmarks=(points_at(7, 68),), scores=(0.3,))
    labelled = label_faces(found((0, 0, 20, 20)), "a.jpg", SIZE_HW, "mine")
    annotation = add_landmarks(there, labelled, MatchRule()).annotation
    np.testing.assert_array_equal(annotation.landmarks[0], points_at(7, 68))
    assert annotation.scores == (0.9,)


def test_all_that_is_known_of_given_faces_stays() -> None:
    known, pose = np.ones(68, dtype=bool), np.array([0.1, 0, 0, 0, 0, 5])
    there = given(
        (0, 0, 20, 20),
        (60, 0, 80, 20),
        landmarks=(points_at(7, 68), UNKNOWN),
        poses=(pose, pose + 1),
        visibility=(0.7, None),
        landmark_visibility=(known, np.zeros(5, dtype=bool)),
    )
    labelled = label_faces(found((60, 0, 80, 20), (30, 30, 40, 40)), "a.jpg", SIZE_HW, "mine")
    annotation = add_landmarks(there, labelled, MatchRule(keep_unmatched=True)).annotation
    assert annotation.poses[2] is None
    np.testing.assert_array_equal(annotation.poses[:2], there.poses)
    assert annotation.visibility == (0.7, None, None)
    # Flags of points that were not known say nothing of those that take their place.
    np.testing.assert_array_equal(annotation.landmark_visibility[0], known)
    assert annotation.landmark_visibility[1:] == (None, None)


@pytest.mark.parametrize("keep", [True, False])
def test_pictures_without_given_or_found_faces(keep: bool) -> None:
    nothing = FoundFaces(np.zeros((0, 4)), np.zeros(0), [])
    rule = MatchRule(keep_unmatched=keep)
    none = label_faces(nothing, "a.jpg", SIZE_HW, "mine")
    assert len(none) == 0
    assert len(add_landmarks(given(), none, rule).annotation) == 0
    assert len(add_landmarks(given((0, 0, 9, 9)), none, rule).annotation) == 1
    one = label_faces(found((0, 0, 9, 9)), "a.jpg", SIZE_HW, "mine")
    assert len(add_landmarks(given(), one, rule).annotation) == int(keep)
