"""Which device to run on."""

from __future__ import annotations

import torch
from torch import Tensor

from img2pose.errors import InputError


def choose_device(name: str | None = None) -> torch.device:
    """The device to run on: the named one, else a CUDA GPU where there is one, else the CPU.

    Raises:
        InputError: There is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        # Only using a device tells whether it is there.
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {name}: is not there; use cpu, or leave it out") from error
    return device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Sends a tensor made on the host to where it is needed, without waiting for it to arrive."""
    # The way back to the host must be waited for, or unfinished numbers are read.
    return tensor.to(device, non_blocking=tensor.device.type == "cpu" and device.type == "cuda")
