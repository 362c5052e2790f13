"""Requests to stop, which long work answers between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked the work to stop.

    Attributes:
        signal: The signal that asked; None as long as none did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Notes Ctrl-C and SIGTERM while inside; the second one interrupts at once.

    Outside of the main thread signals cannot be caught, and nothing is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    caught = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request._note) for number in caught]
    try:
        yield request
    finally:
        for number, handler in zip(caught, before, strict=True):
            signal.signal(number, handler)
