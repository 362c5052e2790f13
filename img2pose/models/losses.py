"""Losses as sums and counts, and those of the pose head for all positives of a batch at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from img2pose.geometry import box_intrinsics, pose_image_to_box, project_points
from img2pose.models.precision import in_float32


class LossTerm(NamedTuple):
    """A loss before its division, so that batches in several processes add up to one.

    Attributes:
        total: Scalar: the sum, with its gradient.
        counted: Scalar: what it is divided by, counted over all batches that make up a step.
    """

    total: Tensor
    counted: Tensor

    def mean(self) -> Tensor:
        """The loss of this batch alone; 0 where nothing counts."""
        return self.total / self.counted.clamp(min=1)


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The unweighted sum that is trained on."""
    return torch.stack(list(losses.values())).sum()


class PoseLosses(NamedTuple):
    """Scalars: `dof_reg` without unit, `points` in pixels of the resized image."""

    dof_reg: Tensor
    points: Tensor


@in_float32
def pose_losses(
    predicted: Tensor,
    proposals_xyxy: Tensor,
    target_poses_in_image: Tensor,
    intrinsics: Tensor,
    pose_mean: Tensor,
    pose_stddev: Tensor,
    points_5: Tensor,
    min_depth: float | None = None,
) -> PoseLosses:
    """Squared error of the normalised pose and L1 of the projected five points.

    Args:
        predicted: (N, 6) normalised poses in the proposals' cameras.
        proposals_xyxy: (N, 4) pixels of the resized image.
        target_poses_in_image: (N, 6) in the resized image's camera.
        intrinsics: (N, 3, 3) camera of the image each proposal lies in.
        pose_mean: (6,).
        pose_stddev: (6,).
        points_5: (5, 3) reference points.
        min_depth: See `project_points`; None as published.

    Returns:
        `dof_reg`: summed over the six numbers, mean over positives. `points`: mean over
        positives, points, x and y. Both are zero, with a gradient, without positives.

    Source: Albiero et al., CVPR 2021, section 3.3.
    """
    if len(predicted) == 0:
        zero = predicted.sum() * 0
        return PoseLosses(zero, zero)
    with torch.no_grad():
        targets = pose_image_to_box(target_poses_in_image, proposals_xyxy, intrinsics)
        cameras = box_intrinsics(proposals_xyxy)
    dof_reg = (predicted - (targets - pose_mean) / pose_stddev).square().sum(1).mean()
    poses = predicted * pose_stddev + pose_mean
    found, expected = project_points(
        points_5, torch.stack([poses, targets]), cameras, min_depth=min_depth
    )
    return PoseLosses(dof_reg, (found - expected).abs().mean())
