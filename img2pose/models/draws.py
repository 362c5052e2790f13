"""What training draws at random for an image depends on that image's seed, if it has one.

So it does not depend on the other images of the batch, nor on how images are shared out among
processes, and a run that was killed draws the same when it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import torch
from torch import Tensor


class Draw(IntEnum):
    """The draws for one image: each has a stream of its own."""

    SIZE = 0
    ANCHORS = 1
    PROPOSALS = 2


def generator_of(
    target: dict[str, Tensor] | None, draw: Draw, device: torch.device
) -> torch.Generator | None:
    """The generator of one draw.

    Args:
        target: Of the image; `seed`, an int64 scalar on the host, is optional.
        draw: Which of the image's draws.
        device: Where numbers are drawn.

    Returns:
        A generator, or None (torch's own) without a seed.
    """
    if target is None or "seed" not in target:
        return None
    seed = (int(target["seed"]) * len(Draw) + draw) % 2**63
    return torch.Generator(device).manual_seed(seed)


def uniform_keys(targets: Sequence[dict[str, Tensor]], draw: Draw, like: Tensor) -> Tensor:
    """(B, N) numbers in 0..1 for the B images, on the device of `like` (B, N)."""
    device = like.device
    generators = [generator_of(target, draw, device) for target in targets]
    rows = [torch.rand(like.shape[1], generator=g, device=device) for g in generators]
    return torch.stack(rows)
