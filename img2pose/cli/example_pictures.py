"""Pictures of the reference head, for commands that need some and were given none."""

from __future__ import annotations

import numpy as np

from img2pose.geometry import image_intrinsics, rotvec_to_matrix
from img2pose.references import default_mesh
from sim3dr import Mesh, light_meshes, rasterize

SIZES_HW = ((240, 320), (333, 500), (640, 427), (97, 61), (180, 1300))


def draw_example_pictures(sizes_hw: tuple[tuple[int, int], ...] = SIZES_HW) -> list[np.ndarray]:
    """Heads before noise: (H, W, 3) uint8 RGB of each size, always the same."""
    rng = np.random.default_rng(0)
    return [_picture(size_hw, rng) for size_hw in sizes_hw]


def _picture(size_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    mesh = default_mesh()
    height, width = size_hw
    heads = []
    for column in (-0.22, 0.22):
        depth = rng.uniform(7, 14)
        # Shares of the picture's sides, seen by a focal length of their sum.
        place = np.array([column * width, rng.uniform(-0.1, 0.1) * height, height + width])
        rotation = rotvec_to_matrix(rng.normal(0, 0.3, 3))
        skin = rng.uniform([150, 100, 80], [250, 200, 180])
        in_camera = mesh.vertices @ rotation.T + depth * place / (height + width)
        heads.append(Mesh(in_camera, mesh.triangles, skin))
    background = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    drawn = rasterize(
        light_meshes(heads), height, width, background, intrinsics=image_intrinsics(*size_hw)
    )
    picture: np.ndarray = drawn.image.clip(0, 255).astype(np.uint8)
    return picture
