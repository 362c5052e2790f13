from __future__ import annotations

import numpy as np

from img2pose.references import FaceMesh
from img2pose.visualization import face_textures, texture_atlas, textured_meshes
from img2pose.visualization.rendering import SILVER
from sim3dr import rasterize
from tests.visualization.poses import detections_of

SIZE_HW = (240, 320)
FACES = [[0.1, 0.2, 0, -0.8, 0, 6.0], [0, -0.3, 0.1, 0.8, 0.1, 6.5], [0, 0, 0, 0.1, -0.3, 9.0]]


def photograph() -> np.ndarray:
    y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    return np.stack([x * 0.75, y, 255 - x * 0.5], axis=-1).astype(np.uint8)


def test_textured_meshes_look_like_the_photograph() -> None:
    found = detections_of(FACES, SIZE_HW)
    textures = face_textures(photograph(), found, size=256)
    assert textures.faces.tolist() == [0, 1, 2]
    meshes = textured_meshes(found, textures)
    drawn = rasterize(meshes, *SIZE_HW, intrinsics=found.intrinsics)
    covered = drawn.mesh_index >= 0
    difference = np.abs(drawn.image - photograph())[covered].max(axis=-1)
    # Apart from places seen too flatly, which are silver.
    assert covered.sum() > 5000
    assert np.quantile(difference, 0.9) < 3


def test_unseen_texels_are_marked() -> None:
    textures = face_textures(photograph(), detections_of(FACES, SIZE_HW), size=64)
    assert textures.pictures.shape == (3, 64, 64, 3)
    share = textures.seen.mean(axis=(1, 2))
    assert (share > 0.1).all()
    # The third stands behind the two others.
    assert share[2] < 0.5 * share[:2].min()
    assert (textures.pictures[~textures.seen] == SILVER).all()


def test_the_atlas_holds_the_textures_row_by_row() -> None:
    textures = face_textures(photograph(), detections_of(FACES, SIZE_HW), size=32)
    atlas = texture_atlas(textures)
    assert atlas.shape == (64, 64, 4)
    for number, (row, column) in enumerate([(0, 0), (0, 32), (32, 0)]):
        tile = atlas[row : row + 32, column : column + 32]
        np.testing.assert_array_equal(tile[..., :3], textures.pictures[number])
        np.testing.assert_array_equal(tile[..., 3] == 255, textures.seen[number])
    assert (atlas[32:, 32:] == 0).all()
    none = face_textures(photograph(), detections_of([], SIZE_HW), size=32)
    assert texture_atlas(none).shape == (1, 1, 4)
    assert textured_meshes(detections_of([], SIZE_HW), none) == []


def test_a_mesh_of_the_users_brings_its_own_coordinates() -> None:
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    halves = np.array([[0, 1, 2], [0, 2, 3]])
    plate = FaceMesh(corners, halves, np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]]), halves)
    found = detections_of([[0, 0, 0, 0, 0, 4.0]], SIZE_HW)
    textures = face_textures(photograph(), found, plate, size=16)
    assert textures.seen.all()
    # 140 pixels wide about the middle, (160, 120).
    left_to_right = textures.pictures[0, 8, :, 0].astype(float)
    places = 160 + 140 * ((np.arange(16) + 0.5) / 16 - 0.5)
    np.testing.assert_allclose(left_to_right, 0.75 * places, atol=1.5)
