"""What reads a pooled proposal: class scores and the pose of each class."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

POSE_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch_norm": nn.BatchNorm1d,
    "layer_norm": nn.LayerNorm,
}


class ClassPredictor(nn.Module):
    """Class logits: (N, channels) -> (N, num_classes)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of pooled proposals."""
        logits: Tensor = self.cls_score(features)
        return logits


class PosePredictor(nn.Module):
    """Normalised poses in the proposals' cameras: (N, channels) -> (N, num_classes * 6).

    Args:
        channels: Width of the features.
        num_classes: Background included, as in the published model.
        norm: A key of `POSE_NORMS`. Batch norm is as published.
    """

    def __init__(self, channels: int, num_classes: int, norm: str) -> None:
        super().__init__()
        hidden = 256
        self.dof_pred = nn.Sequential(
            nn.Linear(channels, hidden),
            POSE_NORMS[norm](hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes * 6),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Normalised poses of pooled proposals."""
        poses: Tensor = self.dof_pred(features)
        return poses
