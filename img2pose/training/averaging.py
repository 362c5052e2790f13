"""A moving average of the weights, which judges better than the weights of the last step."""

from __future__ import annotations

import copy

import torch

from img2pose.models.img2pose import Img2Pose


class WeightAverage:
    """An exponential moving average of a model's weights.

    After step t, counted from 0, the share min(decay, (1 + t) / (10 + t)) of the average is left:
    the random weights of the beginning are soon forgotten.

    Args:
        model: The average begins as a copy of it.
        decay: In 0..1.

    Attributes:
        model: A model with the averaged weights.

    Source: the warm-up is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: Img2Pose, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: Img2Pose, step: int) -> None:
        """Moves the average toward a model after step `step`; norms' statistics are copied."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), share)
        for average, current in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(current)
