"""Small pictures of the reference head: data of our own for tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from img2pose.cli import convert_json_list_to_lmdb, import_annotations
from img2pose.geometry import image_intrinsics, project_points, rotvec_to_matrix
from img2pose.references import PoseReferences, default_mesh
from sim3dr import Mesh, light_meshes, rasterize


def render_head(
    pose: np.ndarray,
    size_hw: tuple[int, int],
    rng: np.random.Generator,
    background: np.ndarray | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the head in a pose before a background, by default a blurred pattern."""
    mesh = default_mesh()
    in_camera = mesh.vertices @ rotvec_to_matrix(pose[:3]).T + pose[3:]
    skin = rng.uniform([150, 100, 80], [250, 200, 180])
    (head,) = light_meshes([Mesh(in_camera, mesh.triangles, skin)])
    if background is None:
        pattern = rng.integers(0, 256, (size_hw[0] // 8, size_hw[1] // 8, 3)).astype(np.uint8)
        background = cv2.resize(pattern, size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    camera = image_intrinsics(*size_hw)
    image = rasterize(head, *size_hw, background, intrinsics=camera).image
    return image.clip(0, 255).astype(np.uint8)


def write_face_photographs(folder: Path, references: PoseReferences, count: int) -> Path:
    """Writes `face_N.jpg` and `face_N.pts` with one head each; returns the folder."""
    rng = np.random.default_rng(3)
    for index in range(count):
        size_hw = (120, 160) if index % 2 else (144, 128)
        depth = rng.uniform(6, 9)
        pose = np.array([*rng.normal(0, 0.25, 3), *rng.uniform(-0.15, 0.15, 2) * depth, depth])
        image = render_head(pose, size_hw, rng)
        cv2.imwrite(str(folder / f"face_{index}.jpg"), image[..., ::-1])
        points = project_points(references.points_68, pose[None], image_intrinsics(*size_hw))[0]
        rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points)
        text = f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n"
        (folder / f"face_{index}.pts").write_text(text)
    return folder


def make_face_dataset(folder: Path, photographs: Path | None = None) -> Path:
    """Makes `train.lmdb` (4 pictures), `val.lmdb` (2) and statistics by the commands.

    Args:
        folder: Where they go.
        photographs: Of `write_face_photographs`; None makes six.
    """
    if photographs is None:
        photographs = folder / "photographs"
        photographs.mkdir(parents=True)
        write_face_photographs(photographs, PoseReferences.default(), count=6)
    lists = folder / "lists"
    arguments = ["pts", "--images_path", str(photographs), "--output_path", str(lists)]
    assert import_annotations.main([*arguments, "--val_count", "2"]) == 0
    for name in ("train", "val"):
        arguments = ["--json_list", str(lists / f"{name}.txt"), "--dest", str(folder)]
        arguments += ["--dataset_path", str(photographs), "--num_workers", "0"]
        arguments += ["--pose_camera", "image", *(["--train"] if name == "train" else [])]
        assert convert_json_list_to_lmdb.main(arguments) == 0
    return folder
