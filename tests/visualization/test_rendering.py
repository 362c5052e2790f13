from __future__ import annotations

import numpy as np
import pytest

from img2pose.geometry import project_points
from img2pose.references import FaceMesh, PoseReferences, default_mesh
from img2pose.visualization import (
    camera_meshes,
    depth_map,
    draw_dense_points,
    draw_depth,
    draw_overlay,
    draw_pncc,
    draw_wireframe,
)
from img2pose.visualization.rendering import SILVER
from tests.visualization.poses import detections_of, gray

NEAR_FACE, FAR_FACE = [0.1, 0.2, 0, 0, 0, 6.0], [0, 0, 0, 0.2, -0.2, 9.0]
DRAWINGS = [draw_overlay, draw_wireframe, draw_dense_points]
PLATE = FaceMesh(
    np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]),
    np.array([[0, 1, 2], [0, 2, 3]]),
)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_only_the_faces_pixels_change_and_nothing_is_drawn_in_place(draw: object) -> None:
    assert callable(draw)
    image, found = gray(), detections_of([NEAR_FACE, FAR_FACE])
    drawn = draw(image, found)
    assert (image == 128).all()
    covered = np.isfinite(depth_map(found))
    changed = (drawn != image).any(-1)
    assert changed.any()
    # Smoothed edges and dots reach a pixel farther.
    grown = covered.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            grown |= np.roll(covered, step, axis)
    assert not (changed & ~np.roll(grown, 1, 0) & ~grown & ~np.roll(grown, -1, 0)).any()
    for none in (detections_of([]), detections_of([[0, 0, 0, 0, 0, -3.0]])):
        np.testing.assert_array_equal(draw(image, none), image)


@pytest.mark.parametrize("draw", [*DRAWINGS, draw_depth, draw_pncc])
def test_the_order_of_faces_makes_no_difference(draw: object) -> None:
    assert callable(draw)
    pictures = [() if draw in (draw_depth, draw_pncc) else (gray(),)] * 2
    one, other = (
        draw(*picture, detections_of(poses))
        for picture, poses in zip(
            pictures, ([NEAR_FACE, FAR_FACE], [FAR_FACE, NEAR_FACE]), strict=True
        )
    )
    np.testing.assert_array_equal(one, other)


def test_opacity_mixes_mask_and_photograph() -> None:
    found = detections_of([NEAR_FACE])
    solid = draw_overlay(gray(), found).astype(int)
    half = draw_overlay(gray(), found, opacity=0.5).astype(int)
    assert np.abs(half - (solid + 128) / 2).max() <= 1
    np.testing.assert_array_equal(draw_overlay(gray(), found, opacity=0.0), gray())


def test_a_users_camera_moves_and_scales_what_is_drawn() -> None:
    plate = [0, 0, 0, 0, 0, 4.0]
    camera = np.array([[200.0, 0, 100], [0, 120, 50], [0, 0, 1]])
    depth = depth_map(detections_of([plate], intrinsics=camera), PLATE)
    y, x = np.nonzero(np.isfinite(depth))
    # Half a unit at depth 4: 25 pixels to each side, 15 up and down.
    assert (x.min(), x.max(), y.min(), y.max()) == (75, 125, 35, 65)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth[np.isfinite(depth)], 4.0)


def test_depth_between_the_corners_of_a_tilted_plate_is_exact() -> None:
    found = detections_of([[0, 0.9, 0, 0, 0, 2.0]])
    depth = depth_map(found, PLATE)
    y, x = np.nonzero(np.isfinite(depth))
    rays = np.stack([x, y, np.ones_like(x)], axis=1) @ np.linalg.inv(found.intrinsics).T
    # The plate turned about y: its normal is (sin, 0, cos), at distance 2 cos from the camera.
    normal = np.array([np.sin(0.9), 0, np.cos(0.9)])
    np.testing.assert_allclose(depth[y, x], 2 * np.cos(0.9) / (rays @ normal), rtol=1e-6)


def test_pncc_names_the_place_on_the_face_in_any_pose(references: PoseReferences) -> None:
    mesh = default_mesh("face")
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    expected = 255 * (references.points_68[30] - low) / (high - low)
    for pose in (NEAR_FACE, [0.2, -0.5, 0.3, 0.1, 0.1, 5.0]):
        found = detections_of([pose], (480, 640))
        x, y = project_points(references.points_68, found.poses, found.intrinsics)[0, 30]
        code = draw_pncc(found)[round(float(y)), round(float(x))]
        np.testing.assert_allclose(code, expected, atol=6)


def test_each_faces_relief_can_span_the_grays() -> None:
    found = detections_of([NEAR_FACE, [0, 0, 0, 1.2, 0, 12.0]])
    together, apart = draw_depth(found)[..., 0], draw_depth(found, each_face=True)[..., 0]
    far = depth_map(found) > 9
    far &= np.isfinite(depth_map(found))
    assert together[far].max() < 150 and apart[far].max() == 255
    assert ((apart > 0) == (together > 0)).all()


def test_meshes_take_the_photographs_colours_where_they_are_seen() -> None:
    image = gray((240, 320))
    image[:, :, 0] = 200
    found = detections_of([[0, 0, 0, 0, 0, 5.0]], (240, 320))
    (mesh,) = camera_meshes(found, default_mesh(), image)
    assert mesh.colours is not None
    is_back = default_mesh().vertices[:, 2] > 1.0
    assert (mesh.colours[is_back] == SILVER).all()
    nose = default_mesh().vertices[:, 2].argmin()
    assert mesh.colours[nose].tolist() == [200, 128, 128]
    np.testing.assert_allclose(mesh.vertices, default_mesh().vertices + [0, 0, 5.0])
    assert camera_meshes(detections_of([]), None, image) == []


@pytest.mark.parametrize("draw", [draw_wireframe, draw_dense_points])
@pytest.mark.parametrize("depth", [6.0, 18.0, 60.0])
def test_small_faces_do_not_fill_up(draw: object, depth: float) -> None:
    assert callable(draw)
    image, found = gray((360, 480)), detections_of([[0.1, 0.2, 0, 0, 0, depth]], (360, 480))
    covered = np.isfinite(depth_map(found))

    def ink(picture: np.ndarray) -> float:
        """Mean change of the face's pixels, as a share of the strongest anywhere."""
        change = np.abs(picture.astype(float) - 128).max(axis=-1)
        return float(change[covered].mean() / change.max())

    thinned, full = draw(image, found), draw(image, found, spacing=0.0)
    assert 0.02 < ink(thinned) < 0.5
    if depth > 6:
        assert ink(thinned) < 0.75 * ink(full)


def test_large_faces_keep_nearly_all_vertices() -> None:
    image, found = gray((1200, 1600)), detections_of([[0, 0, 0, 0, 0, 3.0]], (1200, 1600))
    lines, all_lines = draw_wireframe(image, found), draw_wireframe(image, found, spacing=0.0)
    assert (lines != image).any(-1).sum() > 0.75 * (all_lines != image).any(-1).sum()


def test_meshes_of_few_triangles_keep_them() -> None:
    for depth in (4.0, 400.0):
        found = detections_of([[0, 0, 0, 0, 0, depth]])
        for draw in (draw_wireframe, draw_dense_points):
            assert (draw(gray(), found, PLATE) != 128).any()


def test_twenty_faces_share_one_picture() -> None:
    rng = np.random.default_rng(0)
    poses = rng.normal(0, 0.3, (20, 6))
    poses[:, 3:] = rng.uniform([-3, -3, 9], [3, 3, 20], (20, 3))
    found = detections_of(poses.tolist())
    covered = np.isfinite(depth_map(found)).sum()
    alone = sum(np.isfinite(depth_map(detections_of([pose]))).sum() for pose in poses.tolist())
    assert 0.3 * alone < covered < alone
