from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from img2pose.geometry import image_intrinsics, project_points
from img2pose.images import read_image
from img2pose.inference.alignment import (
    ARCFACE,
    CROP_PRESETS,
    FIVE_VIEWS,
    align_faces,
    can_be_cut_out,
    choose_templates,
    crop_faces,
    similarity_transforms,
)
from img2pose.references import PoseReferences

SIZE_HW = (120, 160)
FRONTAL = np.array([[0.05, -0.04, 0.1, 0.2, -0.1, 7.0]])


def gradient(size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """Red is the column, green the row: a crop's pixel tells where it came from."""
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    return np.stack([columns, rows, np.full(size_hw, 255)], -1).astype(np.uint8)


@pytest.mark.parametrize("size", [112, 224])
def test_crops_are_those_of_the_reference_implementation(
    shared: Path, original_references: PoseReferences, size: int
) -> None:
    golden = np.load(shared / "golden" / "alignment.npz")
    count = len(golden.files) // 4
    assert count == 3
    for k in range(count):
        picture = read_image(shared / "data" / str(golden[f"{k}_image"]), upright=False)
        (crop,) = align_faces(
            picture, golden[f"{k}_pose"][None], size, references=original_references
        )
        assert np.abs(crop.image.astype(float) - golden[f"{k}_{size}"]).mean() < 0.01


@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.05, 20),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    seed=st.integers(0, 1000),
)
def test_a_similarity_is_found_again(
    angle: float, scale: float, shift: tuple[float, float], seed: int
) -> None:
    points = np.random.default_rng(seed).normal(0, 30, (5, 2))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = similarity_transforms(points, points @ turn.T + shift)
    np.testing.assert_allclose(found[:2, :2], turn, atol=1e-9 * max(1, scale))
    np.testing.assert_allclose(found[:2, 2], shift, atol=1e-6)
    assert found[2].tolist() == [0, 0, 1]


def test_a_mirrored_target_is_not_met_by_a_reflection() -> None:
    points = np.array([[0.0, 0], [2, 0], [1, 1], [0.5, 3], [1.5, 3.2]])
    found = similarity_transforms(points, points * [-1, 1])
    assert np.linalg.det(found[:2, :2]) > 0


def test_no_other_similarity_leaves_less() -> None:
    rng = np.random.default_rng(0)
    points, targets = rng.normal(0, 10, (2, 5, 2))
    best = similarity_transforms(points, targets)

    def squares(matrix: np.ndarray) -> float:
        return float(((points @ matrix[:2, :2].T + matrix[:2, 2] - targets) ** 2).sum())

    for change in rng.normal(0, 0.01, (50, 4)):
        other = best.copy()
        other[0, 0] = other[1, 1] = best[0, 0] + change[0]
        other[1, 0] = best[1, 0] + change[1]
        other[0, 1] = -other[1, 0]
        other[:2, 2] += change[2:]
        assert squares(other) > squares(best)


def test_each_template_is_its_own_best_fit() -> None:
    points = np.stack(list(FIVE_VIEWS.values())) * 2 + [30, 10]
    names, transforms = choose_templates(points, FIVE_VIEWS)
    assert names == list(FIVE_VIEWS)
    np.testing.assert_allclose(transforms[:, 0, 0], 0.5)


@pytest.mark.parametrize(
    ("yaw_deg", "template"), [(-75, "left profile"), (0, "frontal"), (75, "right profile")]
)
def test_the_template_follows_the_direction_the_face_looks_in(
    yaw_deg: float, template: str
) -> None:
    # Negative turns about y bring the face, which looks to -z, to the picture's left.
    rotvec = Rotation.from_euler("y", -yaw_deg, degrees=True).as_rotvec()
    (crop,) = align_faces(gradient(), np.array([[*rotvec, 0, 0, 7]]))
    assert crop.template == template


@pytest.mark.parametrize("size", [7, 112, 500])
def test_a_crops_pixels_come_from_where_its_matrix_says(size: int) -> None:
    (crop,) = align_faces(gradient(), FRONTAL, size)
    assert crop.image.shape == (size, size, 3)
    rows, columns = np.mgrid[:size, :size]
    source = crop.points_in_image(np.stack([columns, rows], -1))
    inside = crop.image[..., 2] == 255
    assert inside.any()
    # OpenCV's bilinear weights are 1/32 of a pixel.
    np.testing.assert_allclose(crop.image[inside][:, :2], source[inside], atol=1.1)
    away = (source < -1.1).any(-1) | (source > np.array(SIZE_HW[::-1]) + 0.1).any(-1)
    assert not crop.image[away].any()


def test_the_five_points_lie_on_the_template(references: PoseReferences) -> None:
    (crop,) = align_faces(gradient(), FRONTAL, templates="arcface")
    assert crop.template == "arcface"
    points = project_points(references.points_5, FRONTAL, image_intrinsics(*SIZE_HW))[0]
    distances = np.linalg.norm(crop.points_in_crop(points) - ARCFACE["arcface"], axis=-1)
    assert distances.max() < 6


@given(
    rotation=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    place=st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(3, 30)),
    points=st.lists(st.tuples(st.floats(-500, 500), st.floats(-500, 500)), max_size=4),
    size=st.integers(1, 60),
)
def test_points_come_back(
    rotation: tuple[float, ...],
    place: tuple[float, ...],
    points: list[tuple[float, float]],
    size: int,
) -> None:
    poses = np.array([[*rotation, *place]])
    given_points = np.array(points).reshape(1, -1, 2)
    for crop in [*align_faces(gradient(), poses, size), *crop_faces(gradient(), poses, size)]:
        in_crop = crop.points_in_crop(given_points)
        np.testing.assert_allclose(crop.points_in_image(in_crop), given_points, atol=1e-6)
        np.testing.assert_allclose(crop.image_to_crop @ crop.crop_to_image, np.eye(3), atol=1e-8)


def test_a_face_that_fills_a_picture_wider_than_opencv_counts(
    references: PoseReferences,
) -> None:
    picture = np.zeros((20, 50000, 3), np.uint8)
    picture[:, 25000:] = 200
    camera = np.array([[40000.0, 0, 25000], [0, 40000, 0], [0, 0, 1]])
    pose = np.array([[0, 0, 0, 0, 0, 3.0]])
    # The middle of the face in the middle of the picture, and so in the crop's middle row.
    points = project_points(references.points_68, pose, camera)[0]
    camera[1, 2] = 10 - (points[:, 1].min() + points[:, 1].max()) / 2
    (crop,) = crop_faces(picture, pose, 101, scale=3, intrinsics=camera)
    edge = int(crop.points_in_crop([25000, 10])[0])
    assert crop.image[50, : edge - 1].max() == 0
    assert crop.image[50, edge + 2, 0] == 200


def test_a_face_behind_the_camera_cannot_be_cut_out() -> None:
    poses = np.array(
        [FRONTAL[0], [0, 0, 0, 0, 0, 0.2], [0, 0, 0, 0, 0, -9], [0, 0, np.nan, 0, 0, 9]]
    )
    assert can_be_cut_out(poses).tolist() == [True, False, False, False]
    assert can_be_cut_out(np.empty((0, 6))).shape == (0,)


def test_faces_keep_their_order_and_none_gives_none() -> None:
    poses = np.array([[0, 0, 0, -0.5, 0, 9], [0, 0, 0, 0.5, 0, 9.0]])
    lefts = [crop.points_in_image([0, 0])[0] for crop in align_faces(gradient(), poses)]
    assert lefts[0] < lefts[1]
    assert align_faces(gradient(), np.empty((0, 6))) == []
    assert crop_faces(gradient(), np.empty((0, 6))) == []


def test_a_camera_of_ones_own_moves_the_crop() -> None:
    camera = image_intrinsics(*SIZE_HW)
    moved = camera + [[0, 0, 10], [0, 0, -5], [0, 0, 0]]
    (at_home,) = align_faces(gradient(), FRONTAL)
    (elsewhere,) = align_faces(gradient(), FRONTAL, intrinsics=moved)
    np.testing.assert_allclose(
        elsewhere.points_in_image([50, 50]), at_home.points_in_image([50, 50]) + [10, -5]
    )


def test_a_square_around_the_landmarks(references: PoseReferences) -> None:
    (crop,) = crop_faces(gradient(), FRONTAL, 101, scale=1.5)
    points = project_points(references.points_68, FRONTAL, image_intrinsics(*SIZE_HW))[0]
    side = np.ptp(points, axis=0).mean() * 1.5
    np.testing.assert_allclose(crop.points_in_image([50, 50]), (points.min(0) + points.max(0)) / 2)
    np.testing.assert_allclose(
        crop.points_in_image([100, 100]) - crop.points_in_image([0, 0]), [side, side]
    )
    assert crop.template is None
    assert CROP_PRESETS["deca"].scale == pytest.approx(1.375)


def test_a_picture_wider_than_opencv_counts() -> None:
    picture = np.zeros((60, 40000, 3), np.uint8)
    picture[:, 39000:] = 200
    camera = np.array([[100.0, 0, 39030], [0, 100, 30], [0, 0, 1]])
    (crop,) = align_faces(picture, np.array([[0, 0, 0, 0, 0, 4.0]]), intrinsics=camera)
    assert crop.image[56, 56].tolist() == [200, 200, 200]


def test_a_face_outside_the_picture_gives_a_black_crop() -> None:
    (crop,) = align_faces(gradient(), np.array([[0, 0, 0, 30, 0, 9.0]]))
    assert not crop.image.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": gradient().astype(float)}, "uint8 RGB"),
        ({"image": gradient()[..., 0]}, "uint8 RGB"),
        ({"poses": np.zeros(6)}, r"\(N, 6\)"),
        ({"poses": np.array([[0, 0, 0, 0, 0, -7.0]])}, "pose 0: .*before the camera"),
        ({"poses": np.array([[0, 0, 0, 0, 0, np.nan]])}, "pose 0: .*finite"),
        ({"size": 0}, "size"),
        ({"size": 40000}, "size"),
        ({"templates": "six"}, "'six'"),
        ({"templates": {}}, "at least one"),
        ({"templates": {"mine": np.zeros((4, 2))}}, "'mine'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    given = {"image": gradient(), "poses": FRONTAL, **arguments}
    with pytest.raises(ValueError, match=message):
        align_faces(**given)  # type: ignore[arg-type]


def test_a_scale_must_be_positive() -> None:
    with pytest.raises(ValueError, match="scale"):
        crop_faces(gradient(), FRONTAL, scale=0)
