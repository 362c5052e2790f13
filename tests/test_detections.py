from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from img2pose.detections import FaceDetections
from img2pose.geometry import boxes_from_points, euler_to_matrix, image_intrinsics, project_points
from img2pose.references import PoseReferences

SIZE_HW = (100, 200)


def some_faces(count: int = 4, seed: int = 0) -> FaceDetections:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 80, (count, 2))
    return FaceDetections(
        np.concatenate([rng.normal(0, 1, (count, 5)), rng.uniform(4, 9, (count, 1))], axis=1),
        np.concatenate([corners, corners + rng.uniform(5, 90, (count, 2))], axis=1),
        np.sort(rng.uniform(0, 1, count))[::-1],
        image_intrinsics(*SIZE_HW),
        SIZE_HW,
    )


def test_detections_check_their_shapes_and_may_be_empty() -> None:
    empty = FaceDetections(np.zeros((0, 6)), np.zeros((0, 4)), np.zeros(0), np.eye(3), (10, 20))
    assert len(empty) == 0
    assert empty.to_dict()["faces"] == []
    with pytest.raises(ValueError, match="boxes"):
        FaceDetections(np.zeros((1, 6)), np.zeros((2, 4)), np.zeros(1), np.eye(3), (10, 20))


def test_above_keeps_the_greater_scores() -> None:
    faces = FaceDetections(
        np.arange(12).reshape(2, 6), np.zeros((2, 4)), np.array([0.9, 0.5]), np.eye(3), (10, 20)
    )
    kept = faces.above(0.5)
    assert kept.scores.tolist() == [0.9]
    assert kept.to_dict()["faces"][0]["pose"] == [0, 1, 2, 3, 4, 5]


def test_parts_of_detections_are_detections() -> None:
    faces = some_faces()
    assert faces[1].scores.tolist() == [faces.scores[1]]
    assert faces[-1].scores.tolist() == [faces.scores[3]]
    assert faces[1:3].scores.tolist() == faces.scores[1:3].tolist()
    assert faces[[2, 0]].scores.tolist() == faces.scores[[2, 0]].tolist()
    assert faces[faces.scores > faces.scores[2]].boxes.tolist() == faces.boxes[:2].tolist()
    assert len(faces[[]]) == len(faces[4:]) == 0
    assert [len(face) for face in faces] == [1, 1, 1, 1]
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"no face {index} of 4"):
            faces[index]


def test_orders() -> None:
    boxes = np.array([[0, 0, 10, 10], [90, 40, 110, 60], [0, 0, 50, 50], [150, 0, 200, 50.0]])
    poses = np.arange(24.0).reshape(4, 6)
    faces = FaceDetections(poses, boxes, np.array([0.5, 0.9, 0.9, 0.1]), np.eye(3), SIZE_HW)
    first = {order: faces.sorted_by(order).poses[:, 0] // 6 for order in ("score", "size")}
    assert first["score"].tolist() == [1, 2, 0, 3]
    assert first["size"].tolist() == [2, 3, 1, 0]
    assert (faces.sorted_by("position").poses[:, 0] // 6).tolist() == [1, 2, 3, 0]
    with pytest.raises(ValueError, match="'age'"):
        faces.sorted_by("age")


def test_rotations_agree_with_scipys() -> None:
    faces = some_faces(20)
    rotations = Rotation.from_rotvec(faces.poses[:, :3])
    np.testing.assert_allclose(faces.rotation_matrices, rotations.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(faces.quaternions, rotations.as_quat(canonical=True), atol=1e-12)
    np.testing.assert_allclose(faces.euler_deg("ZYX"), rotations.as_euler("ZYX", degrees=True))
    np.testing.assert_allclose(
        euler_to_matrix(faces.euler_deg()), rotations.as_matrix(), atol=1e-12
    )
    for unknown in ("abc", "xyZ", "", "xx"):
        with pytest.raises(ValueError, match="convention"):
            faces.euler_deg(unknown)


def test_extrinsics_carry_points_to_where_they_are_projected_from() -> None:
    faces = some_faces()
    points = PoseReferences.default().points_68
    homogeneous = np.concatenate([points, np.ones((68, 1))], axis=1)
    in_camera = (homogeneous @ faces.extrinsics.mT)[..., :3] @ faces.intrinsics.T
    np.testing.assert_allclose(faces.landmarks(), in_camera[..., :2] / in_camera[..., 2:])


def test_metres_come_from_the_distance_of_the_eyes() -> None:
    faces = some_faces()
    eyes = PoseReferences.default().points_68[36:48].reshape(2, 6, 3).mean(1)
    apart = np.linalg.norm(np.subtract(*eyes))
    np.testing.assert_allclose(faces.translations_m(float(apart)), faces.poses[:, 3:])
    each = faces.translations_m(np.array([1.0, 2, 3, 4]))
    np.testing.assert_allclose(each[2], 3 * each[0] * faces.poses[2, 3:] / faces.poses[0, 3:])
    for wrong in (0, -1, np.ones(3), np.nan):
        with pytest.raises(ValueError, match="positive"):
            faces.translations_m(wrong)


@given(count=st.integers(0, 5), seed=st.integers(0, 99))
def test_json_brings_back_the_same_numbers(count: int, seed: int) -> None:
    faces = some_faces(count, seed)
    back = FaceDetections.from_dict(json.loads(faces.to_json()))
    for name in ("poses", "boxes", "scores", "intrinsics"):
        np.testing.assert_array_equal(getattr(back, name), getattr(faces, name))
    assert back.size_hw == SIZE_HW


FACE = {"score": 0.5, "box": [0, 0, 9, 9], "pose": [0, 0, 0, 0, 0, 5]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"faces": None}, "faces"),
        ({"faces": {}}, "faces"),
        ({"faces": ""}, "faces"),
        ({"faces": [3]}, "faces"),
        ({"faces": [FACE, {"score": 1}]}, "face 1 of faces has no box, pose"),
        ({"faces": [{**FACE, "box": [1, 2]}]}, "boxes"),
        ({"faces": [FACE, {**FACE, "box": [1]}]}, "boxes"),
        ({"faces": [{**FACE, "pose": [0, 0, 0]}]}, "poses"),
        ({"faces": [{**FACE, "pose": [0, 0, 0, 0, 0, "5"]}]}, "poses"),
        ({"faces": [{**FACE, "pose": [0, 0, 0, 0, True, 5]}]}, "poses"),
        ({"faces": [{**FACE, "pose": [0, 0, 0, 0, 0, float("nan")]}]}, "poses"),
        ({"faces": [{**FACE, "score": "high"}]}, "scores"),
        ({"faces": [{**FACE, "score": True}]}, "scores"),
        ({"faces": [{**FACE, "score": 10**400}]}, "scores"),
        ({"faces": [{**FACE, "score": 1.5}]}, "scores"),
        ({"size_hw": [1]}, "size_hw"),
        ({"size_hw": [0, 4]}, "size_hw"),
        ({"size_hw": [2.5, 4]}, "size_hw"),
        ({"size_hw": [1e300, 4]}, "size_hw"),
        ({"size_hw": None}, "size_hw"),
        ({"intrinsics": [1, 2]}, "intrinsics"),
        ({"intrinsics": None}, "intrinsics"),
        ({"intrinsics": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "intrinsics"),
        ({"intrinsics": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]}, "intrinsics"),
    ],
)
def test_other_dicts_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named) as error:
        FaceDetections.from_dict({**some_faces().to_dict(), **change})
    assert len(str(error.value)) < 120


def test_what_is_no_dict_or_lacks_a_key_is_refused() -> None:
    whole = some_faces().to_dict()
    for key in whole:
        with pytest.raises(ValueError, match=f"no {key}"):
            FaceDetections.from_dict({name: whole[name] for name in whole if name != key})
    with pytest.raises(ValueError, match="object"):
        FaceDetections.from_dict([whole])  # type: ignore[arg-type]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(
    place=st.sampled_from(["faces", "size_hw", "intrinsics", "score", "box", "pose"]), value=JSON
)
def test_any_value_is_read_or_refused(place: str, value: object) -> None:
    whole = some_faces().to_dict()
    (whole if place in whole else whole["faces"][1])[place] = value
    try:
        read = FaceDetections.from_dict(whole)
    except ValueError:
        return
    for array in (read.poses, read.boxes, read.scores, read.intrinsics):
        assert np.isfinite(array).all()


def test_no_faces_have_every_shape() -> None:
    none = FaceDetections.empty(SIZE_HW)
    assert none.rotation_matrices.shape == (0, 3, 3)
    assert none.quaternions.shape == (0, 4)
    assert none.extrinsics.shape == (0, 4, 4)
    assert none.euler_deg().shape == none.euler_deg("xyz").shape == (0, 3)
    assert none.landmarks().shape == (0, 68, 2)
    assert none.translations_m().shape == (0, 3)
    assert none.to_dict()["faces"] == []
    assert len(none.above(0.5)) == len(none.sorted_by("size")) == 0
    np.testing.assert_array_equal(none.intrinsics, image_intrinsics(*SIZE_HW))
    assert len(FaceDetections.from_dict(none.to_dict())) == 0


def test_landmarks_are_those_of_the_given_references() -> None:
    faces = some_faces()
    own = PoseReferences.default()
    other = PoseReferences(own.points_68 * 2, own.points_5 * 2)
    expected = project_points(other.points_68, faces.poses, faces.intrinsics)
    np.testing.assert_array_equal(faces.landmarks(other), expected)


def test_faces_are_described_with_named_angles_if_asked_for() -> None:
    faces = some_faces(3)
    plain, described = faces.to_dict(), faces.to_dict(euler=True)
    for face, (pitch, yaw, roll) in zip(described["faces"], faces.euler_deg(), strict=True):
        angles = face.pop("euler_aflw2000_deg")
        assert angles == {"pitch": pitch, "yaw": yaw, "roll": roll}
    assert described == plain
    assert FaceDetections.empty((4, 5)).to_dict(euler=True)["faces"] == []


def test_faces_of_known_poses_have_the_boxes_that_a_model_makes() -> None:
    poses = some_faces(3).poses
    camera = image_intrinsics(*SIZE_HW) * [[2], [2], [1]]
    for intrinsics in (None, camera):
        faces = FaceDetections.from_poses(poses, SIZE_HW, intrinsics)
        own = image_intrinsics(*SIZE_HW) if intrinsics is None else intrinsics
        np.testing.assert_array_equal(faces.intrinsics, own)
        np.testing.assert_array_equal(faces.poses, poses)
        assert faces.scores.tolist() == [1, 1, 1]
        expected = boxes_from_points(faces.landmarks(), poses, SIZE_HW)
        np.testing.assert_array_equal(faces.boxes, expected)
    assert len(FaceDetections.from_poses(np.empty((0, 6)), SIZE_HW)) == 0
