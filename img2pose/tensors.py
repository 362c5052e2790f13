"""Tells tensors apart without importing torch, which may not be installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs


def is_tensor(value: object) -> TypeIs[Tensor]:
    """Whether it is a tensor of torch: whoever holds one has imported it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
