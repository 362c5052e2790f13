"""The first ten losses of a training run: the figures that tests hold later changes to.

`python -m tests.golden.training_losses` writes them anew, after a change that is meant to move
them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from img2pose.config import OptimConfig
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.models.img2pose import build_model
from img2pose.models.losses import total_loss
from img2pose.references import PoseReferences
from img2pose.training.optimizer import build_optimizer
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

FIGURES = Path(__file__).with_suffix(".txt")
NAMES = ("loss_classifier", "loss_dof_reg", "loss_points", "loss_objectness", "loss_rpn_box_reg")
_STEPS = 10
_SIZE_HW = (64, 80)
# Every anchor becomes a proposal and every proposal is drawn. A choice among them by scores that
# are nearly equal would turn rounding, which differs between processors, into other losses.
_ALL = 10_000
_MODEL = {
    **SMALL_MODEL,
    "min_size": 64,
    "rpn_pre_nms_train": _ALL,
    "rpn_post_nms_train": _ALL,
    "rpn_nms_threshold": 1.0,
    "proposals_per_image": _ALL,
    "positive_fraction": 1.0,
}


def first_losses() -> np.ndarray:
    """(10, 5) the losses `NAMES` of ten steps on two made-up pictures of one and two faces.

    With one thread: two add up in another order, by which one decision falls otherwise in the
    seventh step.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _first_losses()
    finally:
        torch.set_num_threads(threads)


def _first_losses() -> np.ndarray:
    torch.manual_seed(0)
    references = PoseReferences.default()
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **_MODEL).train()
    optimizer = build_optimizer(model, OptimConfig())
    random = np.random.default_rng(0)
    pictures, targets = [], []
    for poses in (
        [[0.1, 0.2, 0.0, 0.0, 0.3, 8.0]],
        [[0, -0.3, 0.1, 3, 1, 12], [0, 0, 0, -2, 0, 9]],
    ):
        array = np.array(poses, dtype=np.float32)
        points = project_points(references.points_68, array, image_intrinsics(*_SIZE_HW))
        boxes = boxes_from_points(points, array, _SIZE_HW)
        picture = random.random((3, *_SIZE_HW), dtype=np.float32)
        for left, top, right, bottom in boxes.round().astype(int):
            picture[:, top:bottom, left:right] *= 0.5
        pictures.append(torch.from_numpy(picture))
        targets.append(
            {
                "boxes": torch.from_numpy(boxes).float(),
                "labels": torch.ones(len(array), dtype=torch.int64),
                "dofs": torch.from_numpy(array),
            }
        )
    rows = []
    for _ in range(_STEPS):
        losses = model(pictures, targets)
        rows.append([float(losses[name].detach()) for name in NAMES])
        optimizer.zero_grad()
        total_loss(losses).backward()
        optimizer.step()
    return np.array(rows)


if __name__ == "__main__":
    np.savetxt(FIGURES, first_losses(), fmt="%.6f", header=" ".join(NAMES))
