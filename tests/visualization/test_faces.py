from __future__ import annotations

import numpy as np
import pytest

from img2pose.detections import FaceDetections
from img2pose.geometry import image_intrinsics, project_points
from img2pose.references import PoseReferences
from img2pose.visualization import (
    BLUE,
    BOX_COLOR,
    GREEN,
    LANDMARK_COLOR,
    RED,
    draw_faces,
    draw_points,
)
from tests.visualization.poses import detections_of

SIZE_HW = (480, 640)
CAMERA = image_intrinsics(*SIZE_HW)
GRAY = np.full((*SIZE_HW, 3), 128, np.uint8)


def centroid(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Mean (x, y) of the pixels of exactly this colour."""
    y, x = np.nonzero((picture == color).all(-1))
    assert len(x) > 0
    return np.array([x.mean(), y.mean()])


def test_the_axes_point_right_down_and_out_of_the_face(references: PoseReferences) -> None:
    origin = np.array([320.0, 240.0])
    only_axes = {"boxes": False, "scores": False}
    # A face that looks to the picture's left: its -z axis leads there.
    for ry, side in ((0.6, 1), (-0.6, -1)):
        found = detections_of([[0, ry, 0, 0, 0, 6.0]], SIZE_HW)
        drawn = draw_faces(GRAY, found, references, **only_axes)
        outward = project_points(np.array([[0.0, 0, -0.7]]), found.poses, CAMERA)[0, 0]
        assert np.sign(outward[0] - origin[0]) == -side
        assert np.sign(centroid(drawn, BLUE)[0] - origin[0]) == -side
        red, green = centroid(drawn, RED), centroid(drawn, GREEN)
        assert red[0] > origin[0] + 10
        assert abs(red[1] - origin[1]) < 10
        assert green[1] > origin[1] + 10
        assert abs(green[0] - origin[0]) < 5


def test_parts_are_drawn_as_asked_and_never_in_place(references: PoseReferences) -> None:
    found = detections_of([[0, 0, 0, 0, 0, 6.0]], SIZE_HW)
    parts = dict.fromkeys(("axes", "boxes", "scores", "landmarks"), False)
    np.testing.assert_array_equal(draw_faces(GRAY, found, references, **parts), GRAY)
    boxed = draw_faces(GRAY, found, references, **{**parts, "boxes": True})
    left, top, right, bottom = found.boxes[0]
    center = centroid(boxed, BOX_COLOR)
    np.testing.assert_allclose(center, [(left + right) / 2, (top + bottom) / 2], atol=2)
    dotted = draw_faces(GRAY, found, references, **{**parts, "landmarks": True})
    assert (dotted == LANDMARK_COLOR).all(-1).sum() >= 68
    labelled = draw_faces(GRAY, found, references, **{**parts, "scores": True})
    y, x = np.nonzero((labelled == BOX_COLOR).all(-1))
    assert y.max() <= top + 1
    assert x.min() == round(left)
    assert (GRAY == 128).all()


def test_nearer_faces_lie_over_farther_ones(references: PoseReferences) -> None:
    near, far = [0, 0, 0, 0, 0, 6.0], [0.2, 0, 0, 0.3, -0.2, 9.0]
    both = draw_faces(GRAY, detections_of([near, far], SIZE_HW), references)
    swapped = draw_faces(GRAY, detections_of([far, near], SIZE_HW), references)
    alone = draw_faces(GRAY, detections_of([near], SIZE_HW), references, boxes=False, scores=False)
    axes = np.isin(alone, [*RED, *GREEN, *BLUE]).all(-1) & (alone != 128).any(-1)
    np.testing.assert_array_equal(both[axes], alone[axes])
    np.testing.assert_array_equal(swapped[axes], alone[axes])


@pytest.mark.parametrize(
    "pose",
    [
        [0, 0, 0, 0, 0, -5.0],
        [0, 0, 0, 0, 0, 0.0],
        [0, 0, 0, 0, 0, 0.1],
        [0, 0, 0, np.nan, 0, 5.0],
    ],
)
def test_faces_at_or_behind_the_camera_are_left_out(
    pose: list[float], references: PoseReferences
) -> None:
    found = FaceDetections(
        np.array([pose]), np.array([[0, 0, 640.0, 480]]), np.array([0.9]), CAMERA, SIZE_HW
    )
    np.testing.assert_array_equal(draw_faces(GRAY, found, references), GRAY)


def test_faces_beyond_the_picture_and_pictures_without_faces(references: PoseReferences) -> None:
    np.testing.assert_array_equal(draw_faces(GRAY, detections_of([], SIZE_HW), references), GRAY)
    outside = detections_of([[0, 0, 0, 90.0, 40, 6], [0, 0, 0, 1e9, -1e9, 6.0]], SIZE_HW)
    assert draw_faces(GRAY, outside, references, landmarks=True).shape == GRAY.shape
    tiny = np.zeros((4, 6, 3), np.uint8)
    found = FaceDetections(
        np.array([[0, 0, 0, 0, 0, 6.0]]),
        np.array([[1, 1, 3, 3.0]]),
        np.array([0.9]),
        image_intrinsics(4, 6),
        (4, 6),
    )
    assert draw_faces(tiny, found, references).shape == tiny.shape


def test_points_are_drawn_where_they_are() -> None:
    drawn = draw_points(GRAY, np.array([[100.0, 50.0], [np.nan, 3.0]]), color=RED, radius=4)
    np.testing.assert_allclose(centroid(drawn, RED), [100, 50], atol=0.1)
    np.testing.assert_array_equal(draw_points(GRAY, np.zeros((0, 2))), GRAY)
