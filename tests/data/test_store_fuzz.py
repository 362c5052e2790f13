"""Damaged stores end in an error that names them, never in a dead process or other contents."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from pathlib import Path

import pytest

from tests.data.store_mutations import KINDS, OTHER, REFUSED, SAME, make_seed, outcomes_in_child

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)


def check_mutations(kind: str, numbers: range, folder: Path) -> Counter[str]:
    content = make_seed(kind, folder / "seed.lmdb")
    found = outcomes_in_child(kind, content, [-1, *numbers], folder)
    assert found.pop(-1) == SAME
    # Published stores have no checksums: damage within a value may go unnoticed there.
    allowed = {SAME, REFUSED, OTHER} if kind == "published" else {SAME, REFUSED}
    faults = {number: outcome for number, outcome in found.items() if outcome not in allowed}
    assert faults == {}
    return Counter(found.values())


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_told(kind: str, tmp_path: Path) -> None:
    counts = check_mutations(kind, range(40), tmp_path)
    assert counts[REFUSED] > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_much_damage_is_told(kind: str, tmp_path: Path) -> None:
    counts = check_mutations(kind, range(1000, 3000), tmp_path)
    print(f"\n{kind}: {dict(counts)}")
    assert counts[REFUSED] > 700
