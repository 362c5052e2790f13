"""Several processes that train or judge one model, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from img2pose.devices import choose_device
from img2pose.errors import InputError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen by one of them; by default it is alone.

    Attributes:
        rank: Which one this is.
        count: How many there are.
        local_rank: Which one this is on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this one writes files and logs."""
        return self.rank == 0

    @property
    def are_several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def sum(self, tensor: Tensor) -> Tensor:
        """Adds up a tensor over all processes, in place; each has to call it."""
        if self.are_several:
            dist.all_reduce(tensor)
        return tensor

    def copy_from_main(self, tensor: Tensor) -> None:
        """Overwrites a tensor with the main process's; each has to call it."""
        if self.are_several:
            dist.broadcast(tensor, src=0)

    def gather(self, value: Value) -> list[Value]:
        """The value of every process, by rank; each has to call it."""
        if not self.are_several:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    @contextmanager
    def one_error(self) -> Iterator[None]:
        """If one process finds bad input all end, and one of them says why; each has to enter.

        Raises:
            InputError: In the first of the processes that found any.
            SystemExit: In the others, with the same exit code.
        """
        error: InputError | None = None
        try:
            yield
        except InputError as found:
            error = found
        if not self.are_several:
            if error is not None:
                raise error
            return
        failed = [rank for rank, has in enumerate(self.gather(error is not None)) if has]
        if failed and self.rank == failed[0] and error is not None:
            raise error
        if failed:
            raise SystemExit(2)

    def device(self, name: str | None) -> torch.device:
        """The device of this process: of several GPUs the one of its local rank.

        Raises:
            InputError: There is no such device.
        """
        if self.are_several and (name == "cuda" or (name is None and torch.cuda.is_available())):
            name = f"cuda:{self.local_rank}"
        device = choose_device(name)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        return device


ALONE = Processes()


@contextmanager
def joined_processes(*, required: bool = False) -> Iterator[Processes]:
    """Joins the processes that torchrun started; without torchrun there is one.

    NCCL carries what is on GPUs, Gloo the rest.

    Args:
        required: The user asked for several processes.

    Raises:
        InputError: They were asked for, but torchrun did not start this.
    """
    if not dist.is_torchelastic_launched():
        if required:
            raise InputError(
                "--distributed: start with torchrun, for example: torchrun --nproc_per_node=2"
                " train.py ..."
            )
        yield ALONE
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo")
    yield Processes(dist.get_rank(), dist.get_world_size(), local_rank)
    # Not after an exception: the others may not come, and waiting for them would hang.
    dist.destroy_process_group()
