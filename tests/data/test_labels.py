"""Pose labels: poses come back from their projections, and the published labels from golden."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2pose.data.annotations import Annotation, read_annotation
from img2pose.data.labels import NO_POSE, POSE_CAMERAS, PoseCamera, fit_labels, has_pose
from img2pose.geometry import (
    image_intrinsics,
    pose_image_to_box,
    pose_to_euler,
    project_points,
)
from img2pose.references import PoseReferences

SIZE_HW = (480, 640)
POSE = np.array([0.2, -0.3, 0.1, 0.4, -0.2, 9.0])


@pytest.fixture
def references() -> PoseReferences:
    rng = np.random.default_rng(5)
    points_68 = rng.uniform([-0.8, -0.6, -0.7], [0.8, 0.7, 0.4], (68, 3))
    points_5 = np.array(
        [
            [-0.3, -0.4, -0.35],
            [0.3, -0.4, -0.35],
            [0, 0, -0.75],
            [-0.24, 0.3, -0.4],
            [0.24, 0.3, -0.4],
        ]
    )
    return PoseReferences(points_68, points_5)


def projected(points_3d: np.ndarray, pose: np.ndarray = POSE) -> np.ndarray:
    points: np.ndarray = project_points(points_3d, pose[None], image_intrinsics(*SIZE_HW))[0]
    return points


def annotation_of(*landmarks: np.ndarray, boxes: np.ndarray | None = None) -> Annotation:
    if boxes is None:
        boxes = np.array([np.concatenate([p.min(0), p.max(0)]) for p in landmarks])
    return Annotation("a.jpg", boxes, landmarks, Path("made"))


def test_the_image_camera_finds_the_pose_again(references: PoseReferences) -> None:
    labels = fit_labels(
        annotation_of(projected(references.points_68)), SIZE_HW, references, "image"
    )
    np.testing.assert_allclose(labels.poses_in_image[0], POSE, atol=1e-6)
    in_box = pose_image_to_box(labels.poses_in_image, labels.boxes_xyxy, image_intrinsics(*SIZE_HW))
    np.testing.assert_allclose(labels.poses_in_box, in_box, atol=1e-12)


def test_the_box_camera_finds_a_pose_seen_in_the_box(references: PoseReferences) -> None:
    pose_in_box = np.array([0.2, -0.3, 0.1, 0.1, -0.05, 3.0])
    box = np.array([100.7, 50.2, 260.9, 251.3])
    corner, sides = np.array([100.0, 50.0]), np.array([160.0, 201.0])
    camera = image_intrinsics(int(sides[1]), int(sides[0]))
    landmarks = project_points(references.points_68, pose_in_box[None], camera)[0] + corner
    labels = fit_labels(annotation_of(landmarks, boxes=box[None]), SIZE_HW, references)
    np.testing.assert_allclose(labels.poses_in_box[0], pose_in_box, atol=1e-4)
    np.testing.assert_array_equal(labels.boxes_xyxy, [[100, 50, 260, 251]])
    in_box = pose_image_to_box(labels.poses_in_image, labels.boxes_xyxy, image_intrinsics(*SIZE_HW))
    np.testing.assert_allclose(in_box, labels.poses_in_box, atol=1e-9)


@pytest.mark.parametrize("pose_camera", POSE_CAMERAS)
def test_head_angles_replace_the_rotation_only(
    references: PoseReferences, pose_camera: PoseCamera
) -> None:
    plain = annotation_of(*[projected(references.points_68)] * 2)
    angles = np.array([-0.3, 0.5, 0.1])
    given = dataclasses.replace(plain, head_angles=(None, angles))
    labels = fit_labels(given, SIZE_HW, references, pose_camera)
    np.testing.assert_allclose(
        np.deg2rad(pose_to_euler(labels.poses_in_image[1])), angles, atol=1e-12
    )
    np.testing.assert_allclose(labels.poses_in_image[1, 3:], POSE[3:], atol=1e-6)
    in_box = pose_image_to_box(labels.poses_in_image, labels.boxes_xyxy, image_intrinsics(*SIZE_HW))
    np.testing.assert_allclose(labels.poses_in_box, in_box, atol=1e-9)
    without = fit_labels(plain, SIZE_HW, references, pose_camera)
    np.testing.assert_array_equal(labels.poses_in_image[0], without.poses_in_image[0])


@pytest.mark.parametrize("pose_camera", POSE_CAMERAS)
def test_carried_poses_are_the_labels_unless_all_are_to_be_fitted(
    references: PoseReferences, pose_camera: PoseCamera
) -> None:
    points = projected(references.points_68)
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    unknown = np.full((5, 2), -1.0)
    plain = annotation_of(points, points, unknown, points, boxes=np.tile(box, (4, 1)))
    other = POSE + [0.3, 0, 0, 1, 0, 2]
    given = dataclasses.replace(plain, poses=(None, other, other, None))
    without = fit_labels(plain, SIZE_HW, references, pose_camera)
    exact = fit_labels(given, SIZE_HW, references, pose_camera)
    for face in (1, 2):
        np.testing.assert_array_equal(exact.poses_in_image[face], other)
    for face in (0, 3):
        np.testing.assert_array_equal(exact.poses_in_image[face], without.poses_in_image[face])
    in_box = pose_image_to_box(exact.poses_in_image, exact.boxes_xyxy, image_intrinsics(*SIZE_HW))
    np.testing.assert_allclose(exact.poses_in_box, in_box, atol=1e-9)
    fitted = fit_labels(given, SIZE_HW, references, pose_camera, "fitted")
    np.testing.assert_array_equal(fitted.poses_in_image, without.poses_in_image)
    assert not has_pose(fitted.poses_in_image)[2]


def test_faces_without_pose_keep_their_place_and_faces_without_area_go(
    references: PoseReferences,
) -> None:
    known, unknown = projected(references.points_68), np.full((5, 2), -1.0)
    annotation = annotation_of(
        unknown,
        known,
        known,
        boxes=np.array([[1, 1, 9, 9], [50.2, 60, 50.9, 90], [50.2, 60.7, 300.9, 290]]),
    )
    labels = fit_labels(annotation, SIZE_HW, references)
    assert labels.without_area == 1
    assert labels.without_fit == 0
    assert has_pose(labels.poses_in_image).tolist() == [False, True]
    assert (labels.poses_in_image[0] == NO_POSE).all()
    assert (labels.poses_in_box[0] == NO_POSE).all()
    assert [len(points) for points in labels.landmarks] == [5, 68]
    np.testing.assert_array_equal(labels.boxes_xyxy[1], [50, 60, 300, 290])


@pytest.mark.parametrize("camera", ["box", "image"])
def test_points_on_one_spot_have_no_pose(references: PoseReferences, camera: PoseCamera) -> None:
    for count in (5, 68):
        annotation = annotation_of(np.full((count, 2), 30.0), boxes=np.array([[10, 10, 50, 50]]))
        labels = fit_labels(annotation, SIZE_HW, references, camera)
        assert labels.without_fit == 1
        assert (labels.poses_in_image == NO_POSE).all()


@pytest.mark.parametrize("camera", ["box", "image"])
def test_any_landmarks_give_usable_poses_or_none(
    references: PoseReferences, camera: PoseCamera
) -> None:
    rng = np.random.default_rng(0)
    landmarks = [rng.uniform(0, 400, (count, 2)) for count in (5, 68) for _ in range(100)]
    labels = fit_labels(annotation_of(*landmarks), SIZE_HW, references, camera)
    known = has_pose(labels.poses_in_box)
    assert (known == has_pose(labels.poses_in_image)).all()
    assert labels.without_fit == (~known).sum()
    for poses in (labels.poses_in_image, labels.poses_in_box):
        assert np.isfinite(poses).all()
        assert (poses[known, 5] > 0).all()


def test_no_faces(references: PoseReferences) -> None:
    labels = fit_labels(annotation_of(boxes=np.zeros((0, 4))), SIZE_HW, references)
    assert labels.poses_in_image.shape == labels.poses_in_box.shape == (0, 6)
    assert labels.boxes_xyxy.shape == (0, 4)


def test_published_labels() -> None:
    if "IMG2POSE_SHARED" not in os.environ:
        pytest.skip("IMG2POSE_SHARED is not set: no golden labels here")
    shared = Path(os.environ["IMG2POSE_SHARED"])
    originals = shared / "data/original_references"
    references = PoseReferences.from_files(
        points_68=originals / "reference_3d_68_points_trans.npy",
        points_5=originals / "reference_3d_5_points_trans.npy",
    )
    expected = json.loads((shared / "golden/labels/expected.json").read_text())
    posed = []
    for record in expected["records"]:
        annotation = read_annotation(shared / "golden/labels" / record["image"])
        with Image.open(shared / "data/helen" / annotation.image_path) as image:
            size_hw = (image.height, image.width)
        labels = fit_labels(annotation, size_hw, references)
        for ours, name in (
            (labels.poses_in_image, "global_poses"),
            (labels.poses_in_box, "poses"),
            (labels.boxes_xyxy, "bboxes"),
        ):
            np.testing.assert_allclose(ours, record[name], rtol=0, atol=1e-6)
        for ours, theirs in zip(labels.landmarks, record["landmarks"], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        posed.append(labels.poses_in_box[has_pose(labels.poses_in_box)])
    poses = np.concatenate(posed)
    np.testing.assert_allclose(poses.mean(0), expected["pose_mean"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(poses.std(0), expected["pose_stddev"], rtol=0, atol=1e-6)
