"""What evaluation may leave out to be faster."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class InferenceProfile:
    """How much of the published work is done in evaluation.

    Attributes:
        proposals_before_nms: Most proposals a level before suppression; None: the model's.
        proposals: Most proposals an image for the heads; None: the model's.
        min_objectness: Proposals that the first stage finds less probable are dropped.
        bfloat16: Convolutions and the class head in bfloat16 where the processor multiplies it
            natively. The pose head runs in float32, on features that passed through bfloat16.
    """

    proposals_before_nms: int | None = None
    proposals: int | None = None
    min_objectness: float = 0.0
    bfloat16: bool = False


PROFILES = {
    "exact": InferenceProfile(),
    "fast": InferenceProfile(
        proposals_before_nms=1000, proposals=300, min_objectness=0.05, bfloat16=True
    ),
}


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, rather than converting it to float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # torch before 2.9 cannot tell.
        features: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return False


def lower_precision(device: torch.device, *, wanted: bool) -> AbstractContextManager[object]:
    """Runs what is inside in bfloat16 if that is wanted and the device gains by it."""
    if wanted and multiplies_bfloat16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
