"""Reading ahead, and batches of one kind whose results keep the order of the items."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2pose.inference.batching import read_ahead, run_in_batches


@given(
    kinds=st.lists(st.integers(0, 3), max_size=40),
    batch_size=st.integers(1, 5),
    batches_ahead=st.integers(1, 4),
)
def test_results_keep_the_order_and_batches_are_of_one_kind_and_bounded(
    kinds: list[int], batch_size: int, batches_ahead: int
) -> None:
    drawn = 0
    batches: list[list[int]] = []

    def items() -> Iterator[int]:
        nonlocal drawn
        for index in range(len(kinds)):
            drawn += 1
            yield index

    def run(batch: list[int]) -> list[int]:
        batches.append(batch)
        return [-item for item in batch]

    results = run_in_batches(
        items(),
        run,
        kind=lambda item: kinds[item],
        batch_size=batch_size,
        look_ahead=batches_ahead * batch_size,
    )
    for count, result in enumerate(results):
        assert result == -count
        assert drawn - count <= batches_ahead * batch_size
    assert sorted(item for batch in batches for item in batch) == list(range(len(kinds)))
    for batch in batches:
        assert len({kinds[item] for item in batch}) == 1
        assert len(batch) <= batch_size


def test_kinds_that_take_turns_still_make_full_batches() -> None:
    batches: list[list[int]] = []

    def run(batch: list[int]) -> list[int]:
        batches.append(batch)
        return batch

    results = run_in_batches(
        range(24), run, kind=lambda item: item % 3, batch_size=4, look_ahead=12
    )
    assert list(results) == list(range(24))
    assert all(len(batch) == 4 for batch in batches)


def test_what_comes_before_a_failure_is_given_first() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("six")

    results = run_in_batches(
        items(), lambda batch: batch, kind=lambda _: 0, batch_size=4, look_ahead=8
    )
    given = []
    with pytest.raises(ValueError, match="six"):
        for result in results:
            given.append(result)
    assert given == list(range(5))


def test_reading_ahead_is_bounded_ordered_and_in_one_other_thread() -> None:
    read: list[int] = []
    threads = set()

    def slow_read(item: int) -> int:
        read.append(item)
        threads.add(threading.get_ident())
        return item * item

    results = read_ahead(range(20), slow_read, 2)
    for index, result in enumerate(results):
        assert result == index * index
        time.sleep(0.002)
        assert len(read) <= index + 1 + 2
    assert read == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("fails_in", ["read", "items"])
def test_a_failure_comes_in_its_place(fails_in: str) -> None:
    def items() -> Iterator[int]:
        yield from range(4)
        if fails_in == "items":
            raise OSError("no more")
        yield from range(4, 9)

    def read(item: int) -> int:
        if item == 4:
            raise OSError("no more")
        return item

    taken = []
    with pytest.raises(OSError, match="no more"):
        for result in read_ahead(items(), read, 3):
            taken.append(result)
    assert taken == [0, 1, 2, 3]


def test_a_reader_that_is_left_ends_its_thread() -> None:
    before = threading.active_count()
    results = read_ahead(range(100), lambda item: item, 2)
    assert next(results) == 0
    assert threading.active_count() == before + 1
    del results
    assert threading.active_count() == before
