"""Ctrl-C and SIGTERM while a run takes its steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from img2pose.interrupts import StopRequest, stop_on_signals

CAUGHT = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in CAUGHT]


@pytest.fixture(autouse=True)
def handlers_come_back() -> Iterator[None]:
    before = handlers()
    yield
    assert handlers() == before


@pytest.mark.parametrize("number", CAUGHT)
@pytest.mark.parametrize("second", CAUGHT)
def test_the_first_signal_is_noted_and_the_second_interrupts(
    number: signal.Signals, second: signal.Signals
) -> None:
    with stop_on_signals() as request:
        assert not request
        assert request.signal is None
        signal.raise_signal(number)
        assert request
        assert request.signal is number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)


def test_handlers_come_back_after_an_error() -> None:
    before = handlers()
    with pytest.raises(RuntimeError, match="mine"), stop_on_signals():
        assert handlers() != before
        raise RuntimeError("mine")
    assert handlers() == before


def test_a_thread_catches_nothing_and_is_not_refused() -> None:
    requests: list[StopRequest] = []
    before = handlers()

    def train() -> None:
        with stop_on_signals() as request:
            requests.append(request)
            assert handlers() == before
        requests.append(request)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert len(requests) == 2
    assert not requests[0]
