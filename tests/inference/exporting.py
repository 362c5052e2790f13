"""An exported small model; exporting takes half a minute, so tests share one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from img2pose.cli.export_onnx import main
from img2pose.models.img2pose import build_model
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

CHECKPOINT = "model.pth"
EXPORTED = "model.onnx"


def write_small_export(folder: Path) -> Path:
    """Makes `model.pth` and, by the command, `model.onnx`; returns the folder."""
    torch.manual_seed(0)
    model = build_model(
        pose_stats=PUBLISHED_STATS, references=PoseReferences.default(), **SMALL_MODEL
    )
    torch.save(pack_model(model), folder / CHECKPOINT)
    flags = ["--checkpoint", str(folder / CHECKPOINT), "--output_path", str(folder / EXPORTED)]
    assert main([*flags, "--score_threshold", "0.1"]) == 0
    return folder


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
