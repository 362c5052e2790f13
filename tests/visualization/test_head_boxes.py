from __future__ import annotations

import numpy as np

from img2pose.geometry import project_points
from img2pose.references import PoseReferences, default_mesh
from img2pose.visualization import draw_pose_boxes, head_box
from img2pose.visualization.head_boxes import FRONT_COLOR
from tests.visualization.poses import detections_of, gray

SIZE_HW = (480, 640)


def test_the_box_holds_the_head_from_chin_to_crown(references: PoseReferences) -> None:
    box, vertices = head_box(references), default_mesh().vertices
    np.testing.assert_allclose(box.min(axis=0), vertices.min(axis=0))
    np.testing.assert_allclose(box.max(axis=0)[[0, 2]], vertices.max(axis=0)[[0, 2]])
    np.testing.assert_allclose(box[:, 1].max(), references.points_68[:, 1].max())


def test_the_box_follows_other_references(references: PoseReferences) -> None:
    other = PoseReferences(references.points_68 * 2 + 1, references.points_5 * 2 + 1)
    np.testing.assert_allclose(head_box(other), head_box(references) * 2 + 1)


def test_the_front_is_drawn_at_its_projected_corners(references: PoseReferences) -> None:
    found = detections_of([[0.1, 0.4, 0, 0, 0.3, 9.0]], SIZE_HW)
    drawn = draw_pose_boxes(gray(SIZE_HW), found, references)
    corners = project_points(head_box(references), found.poses, found.intrinsics)[0, [0, 1, 3, 2]]
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        x, y = ((start + end) / 2).round().astype(int)
        assert (drawn[y, x] == FRONT_COLOR).all()
    # The filled front takes the colour's side: less blue than the gray around it.
    x, y = corners.mean(axis=0).round().astype(int)
    assert drawn[y - 20 : y + 20, x - 20 : x + 20, 2].mean() < 125


def test_heads_at_the_camera_are_cut_and_those_behind_it_left_out(
    references: PoseReferences,
) -> None:
    around = draw_pose_boxes(gray(), detections_of([[0, 0, 0, 0.3, 0.2, 0.5]]), references)
    assert around.shape == gray().shape
    assert (around != 128).any()
    for pose in ([0, 0, 0, 0, 0, -4.0], [0, 0, 0, np.nan, 0, 4], [0, 0, 0, 900.0, 0, 4]):
        drawn = draw_pose_boxes(gray(), detections_of([pose]), references)
        np.testing.assert_array_equal(drawn, gray())
