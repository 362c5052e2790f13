from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from img2pose.geometry import (
    MIRROR_ORDER_68,
    boxes_from_points,
    image_intrinsics,
    in_plane_rotation,
    mirror_plane,
    mirror_poses,
    pose_box_to_image,
    pose_image_to_box,
    project_points,
    solve_pose,
    transform_poses,
)
from img2pose.references import PoseReferences


def random_faces(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses, boxes and a camera of faces in a 640 x 480 picture."""
    rng = np.random.default_rng(seed)
    intrinsics = image_intrinsics(480, 640)
    depth = rng.uniform(4, 30, count)
    poses = np.column_stack(
        [
            rng.normal(0, 0.6, (count, 3)),
            rng.uniform(-0.25, 0.25, count) * depth,
            rng.uniform(-0.2, 0.2, count) * depth,
            depth,
        ]
    )
    corner = rng.uniform(0, 300, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 200, (count, 2))], axis=1)
    return poses, boxes, intrinsics


def test_box_to_image_is_the_exact_inverse() -> None:
    poses, boxes, intrinsics = random_faces(300, 0)
    in_box = pose_image_to_box(poses, boxes, intrinsics)
    np.testing.assert_allclose(pose_box_to_image(in_box, boxes, intrinsics), poses, atol=1e-11)


def test_rotation_in_box_is_the_polar_factor() -> None:
    poses, boxes, intrinsics = random_faces(100, 1)
    in_box = pose_image_to_box(poses, boxes, intrinsics)
    for pose, box, found in zip(poses, boxes, in_box, strict=True):
        camera = intrinsics.copy()
        camera[:2, 2] = box[:2] + (box[2:] - box[:2]) // 2
        shear = np.linalg.inv(camera) @ intrinsics
        left, _, right = np.linalg.svd(shear @ Rotation.from_rotvec(pose[:3]).as_matrix())
        expected = Rotation.from_matrix(left @ right).as_rotvec()
        np.testing.assert_allclose(found[:3], expected, atol=1e-10)
        translation = shear @ pose[3:]
        translation[2] /= intrinsics[0, 0] / (box[2:] - box[:2]).sum()
        np.testing.assert_allclose(found[3:], translation, atol=1e-10)


def test_box_around_the_image_centre_changes_only_the_distance() -> None:
    intrinsics = image_intrinsics(480, 640)
    pose = np.array([[0.1, 0.2, 0.3, 0.0, 0.0, 10.0]])
    box = np.array([[270.0, 190.0, 370.0, 290.0]])
    found = pose_image_to_box(pose, box, intrinsics)
    np.testing.assert_allclose(found, [[0.1, 0.2, 0.3, 0, 0, 10 * 200 / 1120]], atol=1e-12)


def test_whole_pixel_centres_truncate() -> None:
    poses, boxes, intrinsics = random_faces(50, 2)
    whole = np.trunc(boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2]) // 2)
    sides = boxes[:, 2:] - boxes[:, :2]
    # A box with the same size whose own centre is the truncated one.
    moved = np.concatenate([whole - sides // 2, whole - sides // 2 + sides], axis=1)
    found = pose_image_to_box(poses, boxes, intrinsics, whole_pixel_centers=True)
    np.testing.assert_allclose(found, pose_image_to_box(poses, moved, intrinsics), atol=1e-9)


def test_tensors_come_back_with_gradients_everywhere() -> None:
    intrinsics = torch.tensor(image_intrinsics(480, 640))
    boxes = torch.tensor([[270.0, 190.0, 370.0, 290.0]] * 3, dtype=torch.float64)
    poses = torch.zeros(3, 6, dtype=torch.float64)
    poses[:, 5] = 10
    poses[1, 0] = 1e-5
    poses[2, 1] = math.pi - 1e-3
    poses.requires_grad_()
    pose_box_to_image(poses, boxes, intrinsics).square().sum().backward()
    assert torch.isfinite(poses.grad).all()
    torch.autograd.gradcheck(
        lambda p: pose_image_to_box(p, boxes[:2], intrinsics),
        (poses.detach()[:2].requires_grad_(),),
    )


def test_intrinsics_of_their_own_for_each_face() -> None:
    poses, boxes, intrinsics = random_faces(4, 3)
    other = image_intrinsics(1000, 700)
    cameras = np.stack([intrinsics, other, intrinsics, other])
    mixed = pose_image_to_box(poses, boxes, cameras)
    np.testing.assert_allclose(mixed[1], pose_image_to_box(poses, boxes, other)[1])
    np.testing.assert_allclose(mixed[2], pose_image_to_box(poses, boxes, intrinsics)[2])


def test_skew_of_a_users_camera_is_respected() -> None:
    poses, boxes, _ = random_faces(5, 4)
    camera = np.array([[900.0, 25.0, 310.0], [0, 950.0, 250.0], [0, 0, 1]])
    in_box = pose_image_to_box(poses, boxes, camera)
    np.testing.assert_allclose(pose_box_to_image(in_box, boxes, camera), poses, atol=1e-11)
    centers = boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2]) // 2
    moved = camera.copy()
    moved[:2, 2] = centers[0]
    np.testing.assert_allclose(
        in_box[0, 3:5], (np.linalg.inv(moved) @ camera @ poses[0, 3:])[:2], atol=1e-12
    )


def test_projection_by_hand() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    pose = np.array([[0, 0, math.pi / 2, 0.0, 0.0, 10.0]])
    projected = project_points(points, pose, image_intrinsics(100, 200))
    np.testing.assert_allclose(projected[0], [[100, 50], [100, 80], [70, 50]], atol=1e-12)


def test_projection_with_a_smallest_depth_stays_finite() -> None:
    points = np.zeros((1, 3))
    pose = np.array([[0, 0, 0, 1.0, 1.0, 0.0]])
    camera = image_intrinsics(100, 200)
    assert np.isfinite(project_points(points, pose, camera, min_depth=0.2)).all()
    projected = project_points(points, np.array([[0, 0, 0, 1.0, 1.0, 5.0]]), camera)
    np.testing.assert_allclose(projected[0], [[160, 110]])


def test_integer_boxes_do_not_truncate_poses() -> None:
    pose = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.0, 10.5]])
    box = torch.tensor([[270, 190, 370, 290]])
    found = pose_image_to_box(pose, box, image_intrinsics(480, 640))
    assert found.dtype == torch.float32
    assert found[0, 5].item() == pytest.approx(10.5 * 200 / 1120)


@given(
    angle=st.floats(-180, 180),
    scale=st.floats(0.2, 3),
    shift=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    seed=st.integers(0, 50),
)
@settings(max_examples=60, deadline=None)
def test_transform_back_gives_the_pose_back(
    angle: float, scale: float, shift: tuple[float, float], seed: int
) -> None:
    poses, _, camera = random_faces(5, seed)
    other = image_intrinsics(300, 500)
    linear = in_plane_rotation(angle, scale)
    there = np.column_stack([linear, shift])
    back = np.linalg.inv(np.vstack([there, [0, 0, 1]]))[:2]
    moved = transform_poses(poses, there, camera, other)
    returned = transform_poses(moved, back, other, camera)
    difference = Rotation.from_rotvec(returned[:, :3]) * Rotation.from_rotvec(poses[:, :3]).inv()
    assert difference.magnitude().max() < 1e-7
    np.testing.assert_allclose(returned[:, 3:], poses[:, 3:], rtol=1e-8, atol=1e-8)


def test_transformed_faces_land_where_the_picture_takes_them(references: PoseReferences) -> None:
    poses, _, camera = random_faces(40, 5)
    rng = np.random.default_rng(6)
    for pose in poses:
        scale = rng.uniform(0.5, 2)
        linear = in_plane_rotation(rng.uniform(-40, 40), scale)
        center = pose[3:5] / pose[5] * camera[0, 0] + camera[:2, 2]
        similarity = np.column_stack([linear, rng.uniform(100, 300, 2) - linear @ center])
        # The focal length grows with the picture, so that the perspective stays the same.
        other = camera * [[scale, 1, 0], [1, scale, 0], [0, 0, 1]]
        other[:2, 2] = 200
        moved = transform_poses(pose[None], similarity, camera, other)
        before = project_points(references.points_68, pose[None], camera)[0]
        expected = before @ linear.T + similarity[:, 2]
        found = project_points(references.points_68, moved, other)[0]
        size = np.ptp(expected, axis=0).max()
        # What is left is the shear that no rotation can follow; off-centre faces have it.
        assert np.linalg.norm(found - expected, axis=1).mean() < 0.08 * size


def test_pure_resize_with_its_own_camera_keeps_the_pose() -> None:
    poses, _, camera = random_faces(20, 7)
    twice = np.array([[2.0, 0, 0], [0, 2, 0]])
    moved = transform_poses(poses, twice, camera, image_intrinsics(960, 1280))
    np.testing.assert_allclose(moved, poses, atol=1e-9)


def test_one_similarity_a_face() -> None:
    poses, _, camera = random_faces(3, 8)
    maps = np.stack([np.column_stack([in_plane_rotation(a), [a, 2]]) for a in (0.0, 10.0, 20.0)])
    together = transform_poses(poses, maps, camera, camera)
    for index in range(3):
        alone = transform_poses(poses[index : index + 1], maps[index], camera, camera)
        np.testing.assert_allclose(together[index], alone[0], atol=1e-12)


def test_mirroring_a_symmetric_face_negates_ry_rz_tx() -> None:
    poses, _, _ = random_faces(30, 9)
    mirrored = mirror_poses(poses, np.array([1.0, 0, 0]), 0.0)
    np.testing.assert_allclose(mirrored, poses * [1, -1, -1, -1, 1, 1], atol=1e-12)


def test_mirrored_pose_projects_to_mirrored_points(references: PoseReferences) -> None:
    poses, _, camera = random_faces(30, 10)
    normal, offset = mirror_plane(references.points_68)
    mirrored = mirror_poses(poses, normal, offset)
    width = 640
    before = project_points(references.points_68, poses, camera)
    expected = before[:, MIRROR_ORDER_68] * [-1, 1] + [width, 0]
    found = project_points(references.points_68, mirrored, camera)
    scale = np.ptp(expected, axis=1).max(1)[:, None, None]
    np.testing.assert_allclose(found / scale, expected / scale, atol=0.01)


def test_mirror_order_is_an_involution_without_fixed_pairs() -> None:
    assert sorted(MIRROR_ORDER_68) == list(range(68))
    np.testing.assert_array_equal(MIRROR_ORDER_68[MIRROR_ORDER_68], np.arange(68))
    fixed = np.flatnonzero(np.arange(68) == MIRROR_ORDER_68)
    np.testing.assert_array_equal(fixed, [8, 27, 28, 29, 30, 33, 51, 57, 62, 66])


def test_mirror_plane_of_a_tilted_symmetric_cloud() -> None:
    rng = np.random.default_rng(11)
    points = rng.normal(size=(68, 3))
    mirrored = points[MIRROR_ORDER_68] * [-1, 1, 1]
    symmetric = (points + mirrored) / 2
    turn = Rotation.from_rotvec([0.05, 0.1, -0.2]).as_matrix()
    normal, offset = mirror_plane(symmetric @ turn.T + [0.3, 0, 0])
    np.testing.assert_allclose(normal, turn[:, 0], atol=1e-9)
    assert offset == pytest.approx(0.3 * turn[0, 0], abs=1e-9)


def test_solve_pose_finds_the_pose_it_was_projected_with(references: PoseReferences) -> None:
    poses, _, camera = random_faces(20, 12)
    for pose in poses:
        points = project_points(references.points_68, pose[None], camera)[0]
        np.testing.assert_allclose(
            solve_pose(references.points_68, points, camera), pose, atol=1e-4
        )


@pytest.mark.parametrize(
    ("points_3d", "points_2d"),
    [
        (np.zeros((3, 3)), np.zeros((3, 2))),
        (np.zeros((5, 3)), np.zeros((4, 2))),
        (np.ones((5, 3)), np.full((5, 2), np.nan)),
    ],
)
def test_solve_pose_refuses_what_cannot_be_fitted(
    points_3d: np.ndarray, points_2d: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="point"):
        solve_pose(points_3d, points_2d, image_intrinsics(10, 10))


def test_golden_geometry(shared: Path, original_references: PoseReferences) -> None:
    golden = np.load(shared / "golden" / "geometry.npz")
    cameras = np.stack([image_intrinsics(h, w) for w, h in golden["size_wh"]])
    in_box = pose_image_to_box(golden["pose"], golden["box"], cameras)
    np.testing.assert_allclose(in_box, golden["pose_in_box"], atol=1e-6)
    back = pose_box_to_image(golden["pose_in_box"], golden["box"], cameras)
    np.testing.assert_allclose(back, golden["pose_back"], atol=1e-6)
    points = project_points(original_references.points_68, golden["pose"], cameras)
    np.testing.assert_allclose(points, golden["projected"], atol=1e-6)
    sizes_hw = np.asarray(golden["size_wh"])[:, ::-1]
    for index, (height, width) in enumerate(sizes_hw):
        one = slice(index, index + 1)
        box = boxes_from_points(
            points[one], golden["pose"][one], (height, width), published_rounding=True
        )
        np.testing.assert_array_equal(box[0], golden["bbox"][index])
