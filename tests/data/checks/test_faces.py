"""What the checks of boxes, landmarks and fits find, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.data.checks.faces import (
    check_boxes,
    check_fits,
    check_points,
    fit_faces,
    landmarks_known,
    look_angle_deg,
    reference_points,
    reprojection_errors,
    rotation_differences_deg,
    signed_orientation,
)
from img2pose.geometry import (
    MIRROR_ORDER_5,
    MIRROR_ORDER_68,
    euler_to_matrix,
    image_intrinsics,
    in_plane_rotation,
    matrix_to_rotvec,
    pose_to_euler,
    project_points,
)
from img2pose.references import PoseReferences

SIZE_HW = (480, 640)
REFERENCES = PoseReferences.default()
COUNTS = (5, 68)


def pose_of(pitch: float, yaw: float, roll: float, place: tuple[float, float, float]) -> np.ndarray:
    matrix = np.asarray(euler_to_matrix(np.array([pitch, yaw, roll])))
    return np.concatenate([matrix_to_rotvec(matrix), place])


def project(pose: np.ndarray, count: int) -> np.ndarray:
    points: np.ndarray = project_points(
        reference_points(REFERENCES, count), pose[None], image_intrinsics(*SIZE_HW)
    )[0]
    return points


def mirrored_order(points: np.ndarray) -> np.ndarray:
    return points[MIRROR_ORDER_68 if len(points) == 68 else MIRROR_ORDER_5]


def fit_problems(points: np.ndarray) -> list[str]:
    landmarks = [points]
    fits = fit_faces(landmarks, landmarks_known(landmarks), SIZE_HW, REFERENCES)
    return [problem.check for problem in check_fits(landmarks, fits, SIZE_HW, REFERENCES)]


# Any roll, upside down too; profiles as far as photographs show both eyes.
poses = st.builds(
    pose_of,
    st.floats(-35, 35),
    st.floats(-60, 60),
    st.floats(-180, 180),
    st.tuples(st.floats(-1.5, 1.5), st.floats(-1, 1), st.floats(6, 20)),
)


@settings(max_examples=60, deadline=None)
@given(poses, st.sampled_from(COUNTS), st.integers(0, 2**32 - 1))
def test_swapped_points_are_told_from_all_true_ones(
    pose: np.ndarray, count: int, seed: int
) -> None:
    points = project(pose, count)
    noise = np.random.default_rng(seed).normal(0, 0.01, points.shape)
    points = points + noise * np.ptp(points, axis=0).max()
    assert fit_problems(points) == []
    problems = fit_problems(mirrored_order(points))
    assert problems
    # Nearly from the side the swapped points of a face no longer look like its back.
    _, yaw_deg, _ = pose_to_euler(pose)
    assert "points_swapped" in problems or abs(yaw_deg) > 40


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("yaw", [-90, -75, 75, 90])
@pytest.mark.parametrize("roll", [0, 90, 180])
def test_profiles_are_left_alone(count: int, yaw: float, roll: float) -> None:
    assert fit_problems(project(pose_of(0, yaw, roll, (0.2, 0.1, 9)), count)) == []


@settings(deadline=None)
@given(poses, st.sampled_from(COUNTS), st.floats(-180, 180), st.floats(0.1, 10))
def test_orientation_stays_when_the_picture_is_turned_and_flips_when_mirrored(
    pose: np.ndarray, count: int, angle_deg: float, scale: float
) -> None:
    points = project(pose, count)
    # Without the bounds: they change as the picture turns.
    sign = np.sign(signed_orientation(points))
    turned = points @ in_plane_rotation(angle_deg, scale).T + [30, -7]
    assert np.sign(signed_orientation(turned)) == sign
    assert signed_orientation(points * [-1, 1]) == pytest.approx(-signed_orientation(points))
    assert signed_orientation(mirrored_order(points)) == pytest.approx(-signed_orientation(points))


def test_a_face_that_looks_into_the_camera_is_at_no_angle_and_its_back_at_180() -> None:
    assert look_angle_deg(np.array([0.0, 0, 0, 0, 0, 5])) == pytest.approx(0, abs=1e-5)
    assert look_angle_deg(np.array([0, np.pi, 0, 0, 0, 5])) == pytest.approx(180, abs=1e-3)
    assert look_angle_deg(np.array([0.0, 0, 0, 5, 0, 5])) == pytest.approx(45)


def test_a_shift_of_a_tenth_of_the_extent_is_an_error_of_a_tenth() -> None:
    pose = pose_of(5, 20, 10, (0.3, 0.2, 8))
    landmarks = []
    for count in COUNTS:
        points = project(pose, count)
        extent = np.ptp(points, axis=0).max()
        landmarks.append(points + [0.1 * extent, 0])
    unknown = np.full((5, 2), -1.0)
    poses = np.stack([pose, pose, np.full(6, np.nan)])
    errors = reprojection_errors([*landmarks, unknown], poses, SIZE_HW, REFERENCES)
    np.testing.assert_allclose(errors, [0.1, 0.1, np.nan], rtol=1e-9)


@pytest.mark.parametrize("count", COUNTS)
def test_points_of_no_face_are_outliers(count: int) -> None:
    rng = np.random.default_rng(1)
    found = [fit_problems(rng.uniform(100, 300, (count, 2))) for _ in range(10)]
    # Five points leave six numbers of a pose much freedom.
    assert sum("reprojection_outlier" in checks for checks in found) >= (10 if count == 68 else 3)


@pytest.mark.parametrize("moved", [3, 30, 60])
def test_one_point_far_off_is_named(moved: int) -> None:
    rng = np.random.default_rng(moved)
    points = project(pose_of(10, -20, 5, (0.3, 0.2, 8)), 68)
    points += rng.normal(0, 0.02 * np.ptp(points, axis=0).max(), points.shape)
    assert fit_problems(points) == []
    points[moved] += [0.8 * np.ptp(points[:, 0]), 0]
    landmarks = [points]
    fits = fit_faces(landmarks, landmarks_known(landmarks), SIZE_HW, REFERENCES)
    (problem,) = (
        p for p in check_fits(landmarks, fits, SIZE_HW, REFERENCES) if p.check == "point_far_off"
    )
    assert problem.detail.startswith(f"point {moved} by ")


@pytest.mark.parametrize(
    ("box", "check"),
    [
        ([10, 10, 50, 60], None),
        ([10, 10, 10, 60], "box_without_area"),
        ([10.2, 10, 10.8, 60], "box_below_a_pixel"),
        ([700, 10, 760, 60], "box_outside_picture"),
        ([-90, 10, -10, 60], "box_outside_picture"),
        ([-60, 10, 20, 60], "box_largely_outside"),
        ([-20, 10, 60, 60], None),
    ],
)
def test_boxes_have_an_area_in_the_picture(box: list[float], check: str | None) -> None:
    problems = check_boxes(np.array([box], dtype=float), SIZE_HW)
    assert [problem.check for problem in problems] == ([] if check is None else [check])


def test_a_box_given_twice_is_found_and_neighbours_are_not() -> None:
    boxes = np.array([[10, 10, 110, 110], [60, 10, 160, 110], [11, 10, 111, 110]], dtype=float)
    (problem,) = check_boxes(boxes, SIZE_HW)
    assert (problem.check, problem.face) == ("face_repeated", 2)
    assert problem.detail == "overlaps face 0 with IoU 0.980"
    assert check_boxes(np.empty((0, 4)), SIZE_HW) == []


def bounds(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(0), points.max(0)])


@pytest.mark.parametrize("count", COUNTS)
def test_points_lie_in_their_box_and_in_the_picture(count: int) -> None:
    points = project(pose_of(0, 10, 5, (0, 0, 6)), count)
    box = bounds(points)
    width, height = np.ptp(points, axis=0)

    def found(box: np.ndarray, points: np.ndarray, size_hw: tuple[int, int] = SIZE_HW) -> list[str]:
        return [p.check for p in check_points(box[None], [points], size_hw)]

    assert found(box, points) == []
    assert found(box + [width, 0, width, 0], points) == ["points_outside_box"]
    assert found(box + [0, 0.8 * height, 0, 0.8 * height], points) == ["points_outside_box"]
    middle = int(points[:, 0].mean())
    assert "points_partly_outside_picture" in found(box, points, (480, middle))
    left = int(points[:, 0].min())
    assert found(box, points, (480, left - 1)) == ["points_outside_picture"]


def test_points_on_a_line_and_points_known_in_part_are_found() -> None:
    line = np.linspace([10, 10], [60, 90], 68)
    same = np.full((5, 2), 30.0)
    unknown = np.full((5, 2), -1.0)
    part = unknown.copy()
    part[2] = 30
    boxes = np.tile([5.0, 5, 95, 95], (4, 1))
    problems = check_points(boxes, [line, same, unknown, part], SIZE_HW)
    assert [(p.face, p.check) for p in problems] == [
        (0, "points_degenerate"),
        (1, "points_degenerate"),
        (3, "points_partly_unknown"),
    ]


def test_rotations_are_compared_where_both_are_known() -> None:
    first = np.stack([pose_of(0, 0, 0, (0, 0, 5)), pose_of(0, 0, 0, (0, 0, 5))])
    second = np.stack([pose_of(0, 30, 0, (1, 1, 9)), np.full(6, np.nan)])
    np.testing.assert_allclose(rotation_differences_deg(first, second), [30, np.nan], rtol=1e-9)
