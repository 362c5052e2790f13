"""Poses without trembling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.geometry import (
    geodesic_angle,
    image_intrinsics,
    matrix_to_rotvec,
    project_points,
    rotvec_to_matrix,
)
from img2pose.inference.video.smoothing import PoseSmoother, SmoothingSettings
from img2pose.references import PoseReferences
from tests.visualization.poses import detections_of

STEP_S = 1 / 30
SIZE_HW = (480, 640)
REST = SmoothingSettings(1.0, 0.0, 0.0, 0.0)


def smoother(settings: SmoothingSettings | None = None) -> PoseSmoother:
    return PoseSmoother(settings or SmoothingSettings(), PoseReferences.default())


def smoothed_series(
    poses: np.ndarray, settings: SmoothingSettings | None = None, step_s: float = STEP_S
) -> np.ndarray:
    """(T, 6) poses of one face, smoothed in their order."""
    filtered = smoother(settings)
    one = np.array([1])
    return np.concatenate(
        [
            filtered.update(index * step_s, one, detections_of([pose.tolist()], SIZE_HW)).poses
            for index, pose in enumerate(poses)
        ]
    )


def angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T,) radians between the rotations of poses."""
    result: np.ndarray = geodesic_angle(
        rotvec_to_matrix(first[:, :3]), rotvec_to_matrix(second[:, :3])
    )
    return result


def test_a_face_at_rest_stays_where_it_is() -> None:
    pose = np.array([0.3, -0.5, 0.1, 0.4, -0.2, 8.0])
    series = smoothed_series(np.tile(pose, (10, 1)))
    np.testing.assert_allclose(series, np.tile(pose, (10, 1)), atol=1e-12)


def test_a_step_is_approached_as_a_low_pass_of_first_order_does() -> None:
    before, after = np.array([0, 0, 0, 0, 0, 8.0]), np.array([0, 0.2, 0, 0.8, 0, 8.0])
    poses = np.stack([before] + [after] * 20)
    series = smoothed_series(poses, REST)
    # Weight of the new value with a cutoff of 1 Hz: dt / (dt + 1 / (2 pi)).
    left = (1 - STEP_S / (STEP_S + 1 / (2 * math.pi))) ** np.arange(21)
    np.testing.assert_allclose(series[:, 1], 0.2 * (1 - left), atol=1e-9)
    np.testing.assert_allclose(series[:, 3] / series[:, 5], 0.1 * (1 - left), atol=1e-9)


def test_distances_are_smoothed_by_their_ratio() -> None:
    poses = np.array([[0, 0, 0, 0, 0, 4.0]] + [[0, 0, 0, 0, 0, 16.0]] * 3)
    nearer = np.array([[0, 0, 0, 0, 0, 16.0]] + [[0, 0, 0, 0, 0, 4.0]] * 3)
    product = smoothed_series(poses, REST)[:, 5] * smoothed_series(nearer, REST)[:, 5]
    np.testing.assert_allclose(product, 64.0)


def test_trembling_is_reduced_and_a_turn_is_followed() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (90, 6)) * [0.03, 0.03, 0.03, 0.02, 0.02, 0.3]
    still = np.tile([0.1, 0.2, 0, 0.5, 0.1, 8.0], (90, 1))
    trembling = angles(still + noise, still)[30:].mean()
    assert angles(smoothed_series(still + noise), still)[30:].mean() < 0.5 * trembling
    # A turn of 90 degrees within a second.
    turn = still.copy()
    turn[:, 1] = np.clip(np.arange(90) * STEP_S - 1, 0, 1) * math.pi / 2
    slow, quick = (
        angles(smoothed_series(turn + noise, chosen), turn).max()
        for chosen in (REST, SmoothingSettings())
    )
    assert quick < 0.6 * slow
    assert quick < math.radians(15)


def test_the_way_leads_over_the_turn_by_pi_and_not_around() -> None:
    """Rotation vectors jump at half a turn, rotations do not."""
    half = np.linspace(math.pi - 0.1, math.pi + 0.1, 21)
    axis = np.array([0.6, 0, 0.8])
    rotvecs = matrix_to_rotvec(rotvec_to_matrix(half[:, None] * axis))
    assert np.abs(np.diff(rotvecs, axis=0)).max() > 3
    poses = np.concatenate([rotvecs, np.tile([0, 0, 8.0], (21, 1))], axis=1)
    series = smoothed_series(poses)
    assert angles(series[1:], series[:-1]).max() < 0.02
    assert angles(series, poses).max() < 0.15


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_turning_the_camera_turns_the_result(seed: int) -> None:
    """No axis is preferred: smoothing commutes with rotations of the world."""
    rng = np.random.default_rng(seed)
    poses = np.concatenate(
        [rng.normal(0, 0.5, (8, 3)).cumsum(0) * 0.3, np.tile([0, 0, 8.0], (8, 1))], axis=1
    )
    world = rotvec_to_matrix(rng.normal(0, 1, 3))
    turned = poses.copy()
    turned[:, :3] = matrix_to_rotvec(world @ rotvec_to_matrix(poses[:, :3]))
    expected = world @ rotvec_to_matrix(smoothed_series(poses)[:, :3])
    found = rotvec_to_matrix(smoothed_series(turned)[:, :3])
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_each_track_is_smoothed_by_itself() -> None:
    rng = np.random.default_rng(1)
    series = np.concatenate(
        [rng.normal(0, 0.2, (3, 12, 5)), rng.uniform(6, 9, (3, 12, 1))], axis=-1
    )
    together = smoother()
    results: dict[int, list[np.ndarray]] = {3: [], 8: [], 5: []}
    numbers = np.array(list(results))
    for frame in range(12):
        # In any order; the last face is missed twice.
        order = rng.permutation(3)
        order = order[order != 2] if frame in (4, 5) else order
        faces = detections_of(series[order, frame].tolist(), SIZE_HW)
        for face, found in zip(
            order, together.update(frame * STEP_S, numbers[order], faces), strict=True
        ):
            results[int(numbers[face])].append(found.poses[0])
    for face, number in enumerate(results):
        alone = smoother()
        frames = [frame for frame in range(12) if face != 2 or frame not in (4, 5)]
        expected = [
            alone.update(
                frame * STEP_S,
                np.array([1]),
                detections_of([series[face, frame].tolist()], SIZE_HW),
            ).poses[0]
            for frame in frames
        ]
        np.testing.assert_allclose(results[number], expected, atol=1e-12)


def test_boxes_move_and_grow_as_the_points_do() -> None:
    filtered = smoother(REST)
    before = detections_of([[0, 0, 0, 0, 0, 9.0]], SIZE_HW)
    after = detections_of([[0, 0.3, 0, 0.4, 0.2, 8.0]], SIZE_HW)
    first = filtered.update(0.0, np.array([1]), before)
    np.testing.assert_array_equal(first.boxes, before.boxes)
    second = filtered.update(STEP_S, np.array([1]), after)
    points_68 = PoseReferences.default().points_68
    moved, found = (
        project_points(points_68, faces.poses, image_intrinsics(*SIZE_HW))[0]
        for faces in (second, after)
    )
    shift = np.concatenate([moved.min(0) - found.min(0), moved.max(0) - found.max(0)])
    assert np.abs(shift).min() > 1
    np.testing.assert_allclose(second.boxes - after.boxes, shift[None])


def test_no_faces_and_poses_without_a_direction_pass_through() -> None:
    filtered = smoother()
    assert len(filtered.update(0.0, np.zeros(0, np.int64), FaceDetections.empty(SIZE_HW))) == 0
    behind = FaceDetections(
        np.array([[0.1, 0, 0, 0, 0, -3.0]]),
        np.array([[1.0, 2, 3, 4]]),
        np.array([0.9]),
        image_intrinsics(*SIZE_HW),
        SIZE_HW,
    )
    for frame in range(1, 4):
        found = filtered.update(frame * STEP_S, np.array([1]), behind)
        np.testing.assert_array_equal(found.poses, behind.poses)
        np.testing.assert_array_equal(found.boxes, behind.boxes)


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"min_cutoff_hz": 0.0}, "--smooth_cutoff"),
        ({"min_cutoff_hz": float("nan")}, "--smooth_cutoff"),
        ({"rotation_beta": -1.0}, "--smooth_beta"),
        ({"distance_beta": float("inf")}, "--smooth_beta"),
    ],
)
def test_settings_out_of_range_are_named(values: dict[str, float], flag: str) -> None:
    with pytest.raises(InputError, match=flag):
        SmoothingSettings(**values)
