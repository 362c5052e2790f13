"""Several stores as one, and how often their pictures are seen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.config import DataConfig
from img2pose.data.datasets import TrainingDataset
from img2pose.data.sources import JoinedStores, Mixture
from img2pose.data.store import PoseStore
from img2pose.references import PoseReferences

COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=4)
WEIGHTS = st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])


def test_joined_stores_are_numbered_through(face_dataset: Path) -> None:
    first, second = PoseStore(face_dataset / "train.lmdb"), PoseStore(face_dataset / "val.lmdb")
    joined = JoinedStores([first, second])
    assert len(joined) == 6
    images = [joined[index].image_bytes for index in range(6)]
    assert images == [record.image_bytes for record in (*first, *second)]
    assert joined.key(5) == f"{second.path}:1"
    assert joined.where(4) == f"{second.path}: record 0"
    for wrong in (-1, 6):
        with pytest.raises(IndexError):
            joined[wrong]
    assert JoinedStores([first]).key(3) == first.key(3) == "3"


@given(COUNTS, st.data(), st.integers(0, 2**40), st.integers(0, 9))
@settings(deadline=None)
def test_an_epoch_shows_each_part_as_often_as_it_weighs(
    counts: list[int], data: st.DataObject, seed: int, epoch: int
) -> None:
    weights = [data.draw(WEIGHTS) for _ in counts]
    mixture = Mixture(counts, weights)
    seen = mixture.epoch(seed, epoch)
    assert len(seen) == len(set(seen)) == len(mixture)
    assert seen == mixture.epoch(seed, epoch)
    times = Counter(index for index, _ in seen)
    first = 0
    for count, weight in zip(counts, weights, strict=True):
        of_part = [times[index] for index in range(first, first + count)]
        assert sum(of_part) == round(count * weight)
        # As evenly as whole numbers allow.
        assert max(of_part) - min(of_part) <= 1
        first += count
    assert set(times) <= set(range(first))
    for index, number in times.items():
        assert sorted(repeat for i, repeat in seen if i == index) == list(range(number))


def test_another_part_is_seen_in_each_epoch() -> None:
    mixture = Mixture([8], [0.5])
    halves = {frozenset(index for index, _ in mixture.epoch(0, epoch)) for epoch in range(6)}
    assert len(halves) > 3
    assert frozenset(range(8)) == frozenset().union(*halves)


def test_draws_follow_the_weights() -> None:
    mixture = Mixture([10, 20], [3.0, 0.5])
    drawn = np.array(mixture.draw(np.random.default_rng(0), 20_000))
    assert (drawn < 10).mean() == pytest.approx(30 / 40, abs=0.01)
    assert drawn.min() == 0
    assert drawn.max() == 29
    # Within a part all are alike.
    shares = np.bincount(drawn, minlength=30)
    assert shares[:10].min() > 0.9 * shares[:10].mean()
    assert shares[10:].min() > 0.7 * shares[10:].mean()


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [float("nan"), 1.0]])
def test_weights_must_be_positive_and_of_each_part(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="positive weight for each of 2"):
        Mixture([3, 4], weights)


def test_a_picture_that_comes_again_is_drawn_anew(
    face_dataset: Path, references: PoseReferences
) -> None:
    config = DataConfig(rotation_deg=20, brightness=0.3)
    dataset = TrainingDataset(PoseStore(face_dataset / "train.lmdb"), config, references, seed=0)
    first, again = dataset[(0, 1, 0)], dataset[(0, 1, 1)]
    assert first.records == again.records
    assert first.seed != again.seed
    assert not np.array_equal(first.image.numpy(), again.image.numpy())
