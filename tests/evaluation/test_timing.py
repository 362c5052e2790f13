from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import torch

from img2pose.evaluation.timing import (
    count_flops,
    matrix_peak_gflops,
    median_times_ms,
    peak_memory_mib,
)

CPU = torch.device("cpu")


def test_cases_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def slow_once() -> None:
        order.append("b")
        time.sleep(0.2 if order.count("b") == 1 else 0.01)

    times = median_times_ms({"a": lambda: order.append("a"), "b": slow_once}, 3, CPU)
    assert order == ["a", "b"] * 4
    assert times["a"] < times["b"]
    # The median of three runs of 10 ms, not the first of 200.
    assert 10 <= times["b"] < 200


def test_flops_of_a_matrix_product_are_twice_its_multiply_adds() -> None:
    a, b = torch.rand(8, 16), torch.rand(16, 32)
    assert count_flops(lambda: a @ b) == 2 * 8 * 16 * 32


def test_a_machine_multiplies_matrices() -> None:
    assert matrix_peak_gflops(CPU, repeats=1) > 0.1


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as Linux keeps it")
def test_peak_memory_is_what_is_taken_on_the_way() -> None:
    found = peak_memory_mib(lambda: np.ones(64 * 2**20, dtype=np.uint8).sum(), CPU)
    assert found is not None
    assert 60 < found < 90
