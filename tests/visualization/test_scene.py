from __future__ import annotations

import numpy as np

from img2pose.geometry import project_points
from img2pose.references import PoseReferences, default_mesh
from img2pose.visualization.scene import FaceScene
from tests.visualization.poses import detections_of

NEAR_FACE, FAR_FACE = [0.1, 0.2, 0, 0, 0, 6.0], [0, 0, 0, 0.2, -0.2, 9.0]


def test_places_and_projections_are_those_of_the_geometry(references: PoseReferences) -> None:
    found = detections_of([NEAR_FACE, FAR_FACE])
    scene = FaceScene.of(found)
    placed = scene.place(references.points_68)
    expected = project_points(references.points_68, found.poses, found.intrinsics)
    np.testing.assert_allclose(scene.project(placed), expected, atol=1e-9)
    assert np.isnan(scene.project(np.array([0.0, 0, -3]))).all()
    np.testing.assert_allclose(np.linalg.norm(scene.normals, axis=-1), 1, atol=1e-9)


def test_faces_without_a_sensible_pose_are_left_out() -> None:
    poses = [[0, 0, 0, 0, 0, z] for z in (5.0, -5.0, 0.0, np.nan, np.inf, 1e300)]
    found = detections_of([*poses, [1e300, 0, 0, 0, 0, 5.0], FAR_FACE])
    scene = FaceScene.of(found)
    assert scene.faces.tolist() == [0, 7]
    assert len(FaceScene.of(detections_of([]))) == 0
    assert np.isinf(FaceScene.of(detections_of([])).depth).all()


def test_depth_is_that_of_the_nearest_face(references: PoseReferences) -> None:
    both = FaceScene.of(detections_of([NEAR_FACE, FAR_FACE])).depth
    alone = [FaceScene.of(detections_of([pose])).depth for pose in (NEAR_FACE, FAR_FACE)]
    np.testing.assert_array_equal(both, np.minimum(*alone))
    nose = FaceScene.of(detections_of([NEAR_FACE])).place(references.points_68[30:31])[0, 0]
    assert abs(both[np.isfinite(both)].min() - nose[2]) < 0.05


def test_a_point_is_hidden_by_its_own_head_and_by_others(references: PoseReferences) -> None:
    frontal = FaceScene.of(detections_of([[0, 0, 0, 0, 0, 6.0]], (480, 640)))
    seen = frontal.is_visible(frontal.place(references.points_68))[0]
    assert seen[17:].all()
    turned = FaceScene.of(detections_of([[0, 0.9, 0, 0, 0, 6.0]], (480, 640)), default_mesh())
    hidden = ~turned.is_visible(turned.place(references.points_68))[0]
    # The face looks to the picture's left: there lies the hidden cheek.
    assert hidden[:4].all() and not hidden[9:17].any()
    pair = FaceScene.of(detections_of([[0, 0, 0, 0, 0, 6.0], [0, 0, 0, 0, 0, 9.0]], (480, 640)))
    front, back = pair.is_visible(pair.place(references.points_68))
    assert front[17:].all() and not back.any()
    outside = FaceScene.of(detections_of([[0, 0, 0, 40.0, 0, 6.0]], (480, 640)))
    assert not outside.is_visible(outside.place(references.points_68)).any()
