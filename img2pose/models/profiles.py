"""What evaluation may leave out to be faster."""

from __future__ import annotations

from dataclasses import dataclass


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
