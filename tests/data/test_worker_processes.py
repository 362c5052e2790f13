"""Work shared out over processes."""

from __future__ import annotations

import operator
import os
from contextlib import closing

import pytest

from img2pose.data.worker_processes import map_in_processes
from img2pose.errors import OutputError


@pytest.mark.parametrize(("num_workers", "chunk"), [(0, 1), (2, 3)])
def test_results_come_in_the_items_order(num_workers: int, chunk: int) -> None:
    items = list(range(20))
    with closing(map_in_processes(operator.neg, items, num_workers, chunk)) as results:
        assert list(results) == [-item for item in items]


def test_no_items_need_no_process() -> None:
    assert list(map_in_processes(operator.neg, [], 2)) == []


def test_an_error_of_the_work_comes_back() -> None:
    with (
        pytest.raises(TypeError, match="bad operand"),
        closing(map_in_processes(operator.neg, ["text"], 1)) as results,
    ):
        list(results)


def test_a_killed_process_is_told_in_a_line() -> None:
    with (
        pytest.raises(OutputError, match="fewer --num_workers"),
        closing(map_in_processes(os._exit, [3], 1)) as results,
    ):
        list(results)
