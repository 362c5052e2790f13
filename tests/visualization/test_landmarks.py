from __future__ import annotations

import numpy as np
import pytest

from img2pose.geometry import project_points
from img2pose.references import PoseReferences
from img2pose.visualization import IBUG_STROKES, LANDMARK_COLOR, draw_landmarks
from img2pose.visualization.landmarks import POINT_COLOR, STROKE_ENDS
from tests.visualization.poses import detections_of, gray

SIZE_HW = (480, 640)


def test_strokes_join_each_point_to_its_neighbours() -> None:
    assert {point for stroke in IBUG_STROKES.values() for point in stroke} == set(range(68))
    ends = {tuple(pair) for pair in STROKE_ENDS.tolist()}
    assert len(ends) == len(STROKE_ENDS) == 63
    # Eyes and lips are closed, the jaw is open, and no line leads from one part to the next.
    assert {(41, 36), (47, 42), (59, 48), (67, 60)} <= ends
    assert not {(16, 0), (16, 17), (21, 22), (26, 27), (30, 31), (35, 36), (59, 60)} & ends


def test_points_and_lines_lie_on_the_projected_references(references: PoseReferences) -> None:
    found = detections_of([[0, 0, 0, 0, 0, 5.0]], SIZE_HW)
    drawn = draw_landmarks(gray(SIZE_HW), found, references)
    points = project_points(references.points_68, found.poses, found.intrinsics)[0]
    for x, y in points[17:].round().astype(int):
        assert (drawn[y - 1 : y + 2, x - 1 : x + 2] == POINT_COLOR).all(-1).any()
    middle = points[[27, 28]].mean(axis=0).round().astype(int)
    around = drawn[middle[1] - 1 : middle[1] + 2, middle[0] - 1 : middle[0] + 2]
    assert (around == LANDMARK_COLOR).all(-1).any()


@pytest.mark.parametrize("hidden", ["dim", "leave_out", "show"])
def test_hidden_points_are_drawn_as_asked(hidden: str, references: PoseReferences) -> None:
    found = detections_of([[0, 0.9, 0, 0, 0, 5.0]], SIZE_HW)
    image = gray(SIZE_HW)
    drawn = draw_landmarks(image, found, references, hidden=hidden)
    x, y = project_points(references.points_68, found.poses, found.intrinsics)[0, 2].round()
    pixel = drawn[int(y), int(x)].astype(int)
    if hidden == "show":
        assert (pixel > 250).all()
    else:
        assert (pixel == 128).all() if hidden == "leave_out" else (pixel > 150).all()
        assert (pixel < 200).all()
    assert (image == 128).all()


def test_pictures_without_faces_stay_as_they_are(references: PoseReferences) -> None:
    for found in (detections_of([]), detections_of([[0, 0, 0, 0, 0, -5.0]])):
        np.testing.assert_array_equal(draw_landmarks(gray(), found, references), gray())
