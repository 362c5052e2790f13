"""Which device to run on."""

from __future__ import annotations

import torch

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
