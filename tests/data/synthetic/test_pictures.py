"""Synthetic pictures: chance decided by seed and number, labels that are exact, depth in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from img2pose.data.synthetic import layout as layouts
from img2pose.data.synthetic.figures import Wardrobe, make_figure
from img2pose.data.synthetic.head_model import default_head_model
from img2pose.data.synthetic.labels import annotation_of, face_boxes
from img2pose.data.synthetic.layout import FACE_HEIGHT, draw_layout, rotation_y
from img2pose.data.synthetic.lighting import draw_illumination
from img2pose.data.synthetic.pictures import SyntheticPicture, make_picture
from img2pose.data.synthetic.rendering import (
    PlacedFigure,
    Rendered,
    face_samples,
    render,
    visible_points,
)
from img2pose.data.synthetic.settings import SyntheticSettings
from img2pose.errors import InputError
from img2pose.geometry import (
    geodesic_angle,
    image_intrinsics,
    project_points,
    rotvec_to_matrix,
    solve_pose,
)
from img2pose.references import PoseReferences

SIZE_HW = (128, 160)
SMALL = SyntheticSettings(size_hw=SIZE_HW, samples=1.0)
BARE = Wardrobe(glasses=0, hats=0, masks=0, occluders=0, beards=0, hair=0)


@pytest.fixture(scope="module")
def pictures() -> list[SyntheticPicture]:
    return [make_picture(SMALL, 7, index) for index in range(24)]


def test_a_picture_depends_on_seed_and_number_alone(pictures: list[SyntheticPicture]) -> None:
    for index in (11, 3):
        again = make_picture(SMALL, 7, index)
        assert (again.pixels == pictures[index].pixels).all()
        assert len(again.faces) == len(pictures[index].faces)
        for face, other in zip(again.faces, pictures[index].faces, strict=True):
            assert (face.pose == other.pose).all()
            assert (face.landmarks == other.landmarks).all()
            assert face.visibility == other.visibility
    assert not (make_picture(SMALL, 8, 3).pixels == pictures[3].pixels).all()


def test_pictures_differ_and_are_photographs(pictures: list[SyntheticPicture]) -> None:
    assert len({picture.pixels.tobytes() for picture in pictures}) == len(pictures)
    assert len({picture.kind for picture in pictures}) >= 3
    assert len({picture.light for picture in pictures}) >= 4
    for picture in pictures:
        assert picture.pixels.shape == (*SIZE_HW, 3)
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.std() > 4


def test_labels_are_consistent(pictures: list[SyntheticPicture]) -> None:
    faces = [face for picture in pictures for face in picture.faces]
    assert len(faces) > 20
    for face in faces:
        assert 0 <= face.visibility <= 1
        assert face.landmark_visible.shape == (68,)
        assert face.pose[5] > 0
        outside = ((face.landmarks < -1) | (face.landmarks > [SIZE_HW[1], SIZE_HW[0]])).any(1)
        assert not face.landmark_visible[outside].any()
        if face.visibility == 0:
            assert face.landmark_visible.mean() < 0.2
    well_seen = [face for face in faces if face.visibility > 0.9]
    assert np.mean([face.landmark_visible.mean() for face in well_seen]) > 0.55


def test_rigid_reference_projects_onto_the_persons_own_landmarks(
    pictures: list[SyntheticPicture], references: PoseReferences
) -> None:
    """A person differs from the rigid mean head by shape and expression only."""
    intrinsics = image_intrinsics(*SIZE_HW)
    distances, angles = [], []
    for picture in pictures:
        for face, box in zip(picture.faces, face_boxes(picture.faces, SIZE_HW), strict=True):
            projected = project_points(references.points_68, face.pose[None], intrinsics)[0]
            extent = np.ptp(face.landmarks, axis=0).max()
            distances.append(np.linalg.norm(projected - face.landmarks, axis=1).mean() / extent)
            inside = (projected > box[:2] - 0.15 * extent) & (projected < box[2:] + 0.15 * extent)
            in_picture = (projected > 0) & (projected < [SIZE_HW[1], SIZE_HW[0]])
            assert inside[in_picture.all(axis=1)].all()
            fitted = solve_pose(references.points_68, face.landmarks, intrinsics)
            turns = rotvec_to_matrix(np.stack([fitted[:3], face.pose[:3]]))
            angles.append(np.rad2deg(geodesic_angle(turns[0], turns[1])))
    assert np.mean(distances) < 0.05
    assert np.median(angles) < 8


def test_without_shape_and_expression_labels_are_exact_to_the_last_digit(
    references: PoseReferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = default_head_model()
    mean = model.fine.mean.astype(np.float64)
    monkeypatch.setattr("img2pose.data.synthetic.head_model.HeadModel.shape", lambda *_: mean)
    monkeypatch.setattr("img2pose.data.synthetic.identities.Person.shape", lambda _, v: v)
    settings = replace(SMALL, focal_share=0.0, negatives=0.0)
    for index in range(3):
        for face in make_picture(settings, 1, index).faces:
            intrinsics = image_intrinsics(*SIZE_HW)
            projected = project_points(references.points_68, face.pose[None], intrinsics)[0]
            np.testing.assert_allclose(projected, face.landmarks, atol=1e-3)


def test_another_focal_length_keeps_place_size_and_view(references: PoseReferences) -> None:
    settings = replace(SMALL, focal_share=1.0, focal_range=(2.0, 2.0), negatives=0.0)
    for index in range(4):
        picture = make_picture(settings, 2, index)
        assert picture.focal == pytest.approx(2.0)
        for face in picture.faces:
            intrinsics = image_intrinsics(*SIZE_HW)
            projected = project_points(references.points_68, face.pose[None], intrinsics)[0]
            extent = np.ptp(face.landmarks, axis=0).max()
            off = np.linalg.norm(projected.mean(0) - face.landmarks.mean(0))
            assert off < 0.08 * extent
            assert np.ptp(projected, axis=0).max() == pytest.approx(extent, rel=0.25)


def _scene(depths: list[float], offset: float = 0.0) -> Rendered:
    """Bare heads that look into the camera, one behind the other, all of the same height."""
    model = default_head_model()
    rng = np.random.default_rng(0)
    intrinsics = image_intrinsics(*SIZE_HW)
    placed = []
    for number, depth in enumerate(depths):
        figure, _ = make_figure(rng, model, np.eye(3), BARE)
        place = np.array([number * offset, 0.0, depth])
        placed.append(PlacedFigure(figure, np.eye(3), place, 40.0))
    light = draw_illumination(rng, np.eye(3))
    background = np.zeros((*SIZE_HW, 3), dtype=np.float32)
    return render(placed, background, intrinsics, light)


def _visibility(scene: Rendered, figure: int) -> float:
    assert scene.assembly is not None
    mine = np.flatnonzero(scene.assembly.figure_of_part == figure)
    visible, whole = face_samples(scene, int(mine[0]), int(mine[1]))
    return visible / whole


@pytest.mark.parametrize("depths", [[10.0, 14.0], [14.0, 10.0]])
def test_the_nearer_head_hides_the_farther_whatever_their_order(depths: list[float]) -> None:
    scene = _scene(depths)
    near, far = int(np.argmin(depths)), int(np.argmax(depths))
    assert _visibility(scene, near) > 0.95
    assert _visibility(scene, far) < 0.1
    landmarks = default_head_model().fine.mean[default_head_model().landmark_indices]
    seen = visible_points(scene, landmarks + [0, 0, depths[far]], 0.1)
    assert seen.mean() < 0.1


def test_heads_side_by_side_are_both_seen() -> None:
    scene = _scene([12.0, 12.0], offset=2.6)
    assert _visibility(scene, 0) > 0.95
    assert _visibility(scene, 1) > 0.9


def test_a_head_half_outside_is_half_seen() -> None:
    model = default_head_model()
    rng = np.random.default_rng(1)
    figure, _ = make_figure(rng, model, np.eye(3), BARE)
    depth = 10.0
    left = -(SIZE_HW[1] / 2) / sum(SIZE_HW) * depth
    placed = [PlacedFigure(figure, np.eye(3), np.array([left, 0.0, depth]), 40.0)]
    background = np.zeros((*SIZE_HW, 3), dtype=np.float32)
    light = draw_illumination(rng, np.eye(3))
    scene = render(placed, background, image_intrinsics(*SIZE_HW), light)
    assert 0.4 < _visibility(scene, 0) < 0.6


def test_yaw_reaches_both_profiles_and_stays_within_the_limit() -> None:
    yaws = {90.0: [], 30.0: []}
    for limit, found in yaws.items():
        # Pitch, of at most 55 degrees, adds to yaw; roll and the place in the picture do not.
        farthest = np.rad2deg(np.arccos(np.cos(np.deg2rad(55)) * np.cos(np.deg2rad(limit))))
        settings = replace(SMALL, max_yaw_deg=limit, negatives=0.0)
        for index in range(250):
            layout = draw_layout(np.random.default_rng(index), settings)
            for head in layout.heads:
                if head.is_back:
                    continue
                direction = head.translation / np.linalg.norm(head.translation)
                # How far the face looks away from the camera, and to which side.
                look = head.rotation @ [0.0, 0.0, 1.0]
                away = np.rad2deg(np.arccos(np.clip(look @ direction, -1, 1)))
                found.append(away)
                assert away <= farthest + 1e-5
    assert max(yaws[90.0]) > 80
    assert np.mean(yaws[30.0]) < np.mean(yaws[90.0])


def test_backs_of_heads_show_no_face() -> None:
    settings = replace(SMALL, negatives=1.0)
    backs = 0
    for index in range(60):
        layout = draw_layout(np.random.default_rng(index), settings)
        assert layout.kind == "negative"
        assert all(head.is_back for head in layout.heads)
        backs += len(layout.heads)
    assert backs > 10
    picture = make_picture(settings, 0, 1)
    assert picture.faces == ()
    assert len(annotation_of(picture, settings, "a.jpg")) == 0


def test_sizes_of_faces_mean_pixels() -> None:
    for index in range(20):
        layout = draw_layout(np.random.default_rng(index), SMALL)
        for head in layout.heads:
            length = layout.focal * sum(SIZE_HW)
            assert length * FACE_HEIGHT / head.translation[2] <= head.pixels + 1e-6


def test_faces_that_do_not_count_are_as_the_settings_say() -> None:
    settings = replace(SMALL, negatives=0.0, crowds=1.0, groups=0.0, pairs=0.0, min_face=14.0)
    annotations = {}
    picture = make_picture(settings, 4, 0)
    for choice in ("unposed", "posed", "left_out"):
        chosen = replace(settings, hidden_faces=choice)
        annotations[choice] = annotation_of(picture, chosen, "a.jpg")
    unposed, posed, left_out = (annotations[c] for c in ("unposed", "posed", "left_out"))
    assert len(unposed) == len(posed) > len(left_out) > 0
    assert all(pose is not None for pose in posed.poses)
    with_pose = [pose is not None for pose in unposed.poses]
    assert sum(with_pose) == len(left_out)
    assert (unposed.has_landmarks == with_pose).all()
    for box, pose, share in zip(unposed.boxes_xyxy, unposed.poses, unposed.visibility, strict=True):
        if pose is not None:
            assert (box[2:] - box[:2]).max() >= 14.0 - 0.01
            assert share is not None
            assert share >= settings.min_visible


def test_a_face_mostly_outside_does_not_count(pictures: list[SyntheticPicture]) -> None:
    (face, *_) = next(picture for picture in pictures if picture.faces).faces
    edge = np.percentile(face.landmarks[:, 0], [20, 50])
    counts = []
    for left in edge:
        moved = replace(face, landmarks=face.landmarks - [left, 0], visibility=0.9)
        picture = replace(pictures[0], faces=(moved,))
        (pose,) = annotation_of(picture, SMALL, "a.jpg").poses
        counts.append(pose is not None)
    assert counts == [True, False]


def test_settings_refuse_what_makes_no_sense() -> None:
    settings = replace(SMALL, pairs=0.1)
    for name, value in (
        ("negatives", 1.5),
        ("pairs", 0.9),
        ("max_yaw_deg", 120.0),
        ("focal_range", (2.0, 1.0)),
        ("hidden_faces", "gone"),
        ("size_hw", (10, 320)),
        ("samples", 0.5),
    ):
        with pytest.raises(InputError, match=name.removesuffix("_hw").removesuffix("_deg")):
            replace(settings, **{name: value})


def test_body_turns_no_farther_than_a_neck_can() -> None:
    for index in range(60):
        for head in draw_layout(np.random.default_rng(index), SMALL).heads:
            cosine = (np.trace(head.body_rotation) - 1) / 2
            assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))) < 70


def test_facing_turns_the_axis_to_the_direction() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        direction = rng.normal(0, 1, 3) + [0, 0, 3]
        turned = layouts.facing(direction) @ [0.0, 0.0, 1.0]
        np.testing.assert_allclose(turned, direction / np.linalg.norm(direction), atol=1e-12)
    np.testing.assert_allclose(rotation_y(0.3) @ [0, 0, 1], [np.sin(0.3), 0, np.cos(0.3)])
