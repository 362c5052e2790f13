"""Textures of faces, taken from their photograph."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.references import FaceMesh
from img2pose.visualization.rendering import SILVER, camera_meshes
from img2pose.visualization.scene import FaceScene
from sim3dr import Mesh, TextureMap, cylindrical_map, extract_texture, filled_texels

_LARGEST_ATLAS = 8192
# Reference units: the middle of the default head, between the nose and its back.
_HEAD_AXIS_XZ = (0.0, 0.39)


@dataclass(frozen=True, eq=False)
class FaceTextures:
    """Textures of a picture's faces, all unwrapped alike.

    Attributes:
        faces: (N,) index of each in the detections.
        pictures: (N, S, S, 3) uint8 RGB, silver where unseen.
        seen: (N, S, S) bool: shown by the photograph, and neither turned away nor hidden.
        texture_map: Where the mesh's corners lie on each.
    """

    faces: np.ndarray
    pictures: np.ndarray
    seen: np.ndarray
    texture_map: TextureMap

    def __len__(self) -> int:
        return len(self.faces)


def face_textures(
    image: np.ndarray,
    detections: FaceDetections,
    mesh: FaceMesh | None = None,
    *,
    size: int = 512,
) -> FaceTextures:
    """Takes each face's texture from the photograph.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Faces in pixels and camera of this image.
        mesh: In the frame of the poses' reference face; without `uvs` it is unwrapped from a
            cylinder. None: the face of `default_mesh`, which fits the default references only.
        size: Side of each texture in pixels, at least 1; less where so many faces would make an
            atlas of more than 8192.
    """
    scene = FaceScene.of(detections, mesh)
    triangles = scene.mesh.triangles
    if scene.mesh.uvs is None or scene.mesh.triangle_uvs is None:
        texture_map = cylindrical_map(scene.mesh.vertices, triangles, _HEAD_AXIS_XZ)
    else:
        texture_map = TextureMap(scene.mesh.uvs, scene.mesh.triangle_uvs)
    side = max(1, min(size, _LARGEST_ATLAS // _columns(len(scene))))
    pictures = np.zeros((len(scene), side, side, 3), dtype=np.uint8)
    seen = np.zeros((len(scene), side, side), dtype=bool)
    texels = filled_texels(texture_map, side)
    for face, vertices in enumerate(scene.vertices):
        pictures[face], seen[face] = extract_texture(
            image, vertices, triangles, texels, scene.intrinsics, scene.depth
        )
    pictures[~seen] = SILVER
    return FaceTextures(scene.faces, pictures, seen, texture_map)


def _columns(count: int) -> int:
    return max(1, int(np.ceil(np.sqrt(count))))


def texture_atlas(textures: FaceTextures) -> np.ndarray:
    """All textures in one picture, row by row in the faces' order; transparent where unseen.

    Args:
        textures: Of one picture; without any, the atlas is a single transparent pixel.

    Returns:
        (rows * S, columns * S, 4) uint8 RGBA.
    """
    count = len(textures)
    if not count:
        return np.zeros((1, 1, 4), dtype=np.uint8)
    columns = _columns(count)
    rows = -(-count // columns)
    size = textures.pictures.shape[1]
    tiles = np.zeros((rows * columns, size, size, 4), dtype=np.uint8)
    tiles[:count, ..., :3] = textures.pictures
    tiles[:count, ..., 3] = 255 * textures.seen
    grid = tiles.reshape(rows, columns, size, size, 4).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid.reshape(rows * size, columns * size, 4))


def textured_meshes(
    detections: FaceDetections, textures: FaceTextures, mesh: FaceMesh | None = None
) -> list[Mesh]:
    """The faces' meshes in the camera frame with places on `texture_atlas`.

    Args:
        detections: Those of `textures`.
        textures: Of `face_textures`.
        mesh: That of `textures`.
    """
    if not len(textures):
        return []
    columns = _columns(len(textures))
    rows = -(-len(textures) // columns)
    texture = texture_atlas(textures)[..., :3].astype(np.float32)
    meshes = []
    # The colours of a textured mesh are the light on it.
    lit = camera_meshes(detections, mesh, color=(255, 255, 255))
    for number, face_mesh in enumerate(lit):
        row, column = divmod(number, columns)
        corner = np.array([column, rows - 1 - row])
        meshes.append(
            replace(
                face_mesh,
                texture=texture,
                texture_coordinates=(textures.texture_map.coordinates + corner) / [columns, rows],
                texture_triangles=textures.texture_map.triangles,
            )
        )
    return meshes
