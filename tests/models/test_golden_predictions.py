"""Detections of the published code, with made weights that travel in the published file layout.

The weights are defined in the golden folder's README. `test_weights.py` reads other layouts.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from img2pose.images import image_tensor
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model
from img2pose.references import PoseReferences
from tests.settings import PUBLISHED_STATS

SHORTER_SIDE = 400


def made_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """One entry of the state dict, made from its name."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        values = 0.1 * rng.standard_normal(shape)
    elif name.endswith(".bias"):
        values = 0.05 * rng.standard_normal(shape)
    elif len(shape) == 1:
        values = rng.uniform(0.4, 0.8, shape)
    else:
        values = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def name_of_2021(name: str) -> str:
    for part in ("inner", "layer"):
        for level in range(4):
            name = name.replace(f"{part}_blocks.{level}.0.", f"{part}_blocks.{level}.")
    return name


@pytest.fixture(scope="module")
def model(
    shared: Path, original_references: PoseReferences, tmp_path_factory: pytest.TempPathFactory
) -> Img2Pose:
    """The model behind the golden detections, read from a file like the published ones."""
    lines = (shared / "golden" / "state_dict_keys.txt").read_text().splitlines()
    state = {}
    for line in lines:
        name, shape = line.split(" ", 1)
        sides = tuple(int(side) for side in shape.strip("()").split(",") if side.strip())
        state["module." + name_of_2021(name)] = made_weight(name, sides)
    path = tmp_path_factory.mktemp("weights") / "published.pth"
    torch.save({"fpn_model": state}, path)
    try:
        return load_model(
            path,
            pose_stats=PUBLISHED_STATS,
            references=original_references,
            min_size=SHORTER_SIDE,
            max_size=1400,
        )
    finally:
        path.unlink()


def test_settings_are_the_published_ones(model: Img2Pose) -> None:
    assert model.config.match_published
    assert model.config.score_threshold == 0.05
    assert not model.training


@pytest.mark.parametrize("case", [0, 1])
def test_detections_are_the_published_codes(model: Img2Pose, shared: Path, case: int) -> None:
    golden = np.load(shared / "golden" / "predictions.npz")
    image = image_tensor(shared / "data" / str(golden["images"][case]))
    with torch.inference_mode():
        found = {name: value.numpy() for name, value in model([image])[0].items()}
    scores, poses, boxes = (golden[f"{case}_{name}"] for name in ("scores", "dofs", "boxes"))
    pixel = min(image.shape[1:]) / SHORTER_SIDE  # of the resized image, in the given one's
    agrees = np.abs(scores[:, None] - found["scores"]) <= 1e-4
    off = np.abs(poses[:, None] - found["dofs"]) / (np.abs(poses[:, None]) + 0.01)
    agrees &= (off <= 2e-3).all(-1)
    agrees &= (np.abs(boxes[:, None] - found["boxes"]) <= pixel).all(-1)
    # Each of the one to at most one of the other.
    pairs = linear_sum_assignment(agrees, maximize=True)
    matched = agrees[pairs].sum()
    assert matched >= 0.99 * len(scores)
    assert matched >= 0.99 * len(found["scores"])
