"""Several stores as one, and how often each one's pictures are seen."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Protocol

import numpy as np

from img2pose.data.store import PoseStore, Record

_MOST_PARTS = 1000


class RecordSource(Protocol):
    """Records by number: a store, or several as one."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Record:
        """The record of an image; see `PoseStore`."""
        ...

    def key(self, index: int) -> str:
        """What a record is called."""
        ...

    def where(self, index: int) -> str:
        """A record's store and key, for messages."""
        ...


class JoinedStores:
    """Records of one or more stores, numbered through.

    Args:
        stores: At least one.
    """

    def __init__(self, stores: Sequence[PoseStore]) -> None:
        self.stores = tuple(stores)
        self._ends = np.cumsum([len(store) for store in stores])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Record:
        """The record of an image; see `PoseStore`."""
        store, number = self._locate(index)
        return store[number]

    def key(self, index: int) -> str:
        """What a record is called: its key, after its store's path if there are several."""
        store, number = self._locate(index)
        return store.key(number) if len(self.stores) == 1 else f"{store.path}:{store.key(number)}"

    def where(self, index: int) -> str:
        """A record's store and key, for messages."""
        store, number = self._locate(index)
        return store.where(number)

    def _locate(self, index: int) -> tuple[PoseStore, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"no record {index} of {len(self)}")
        store = int(np.searchsorted(self._ends, index, side="right"))
        return self.stores[store], index - (int(self._ends[store - 1]) if store else 0)


class Mixture:
    """How often the pictures of each part of a numbered whole are seen in an epoch.

    Args:
        counts: Pictures of each part, numbered through in this order.
        weights: How often each part's are seen, in thousandths at the finest: 2 shows each picture
            twice, 0.5 another half of them in each epoch. None: each once.

    Raises:
        ValueError: A weight is not positive, or there is another number of them than of parts.
    """

    def __init__(self, counts: Sequence[int], weights: Sequence[float] | None = None) -> None:
        self.counts = tuple(counts)
        self.weights = tuple(weights) if weights is not None else (1.0,) * len(self.counts)
        if len(self.weights) != len(self.counts) or not all(w > 0 for w in self.weights):
            raise ValueError(f"a positive weight for each of {len(self.counts)} parts expected")
        shares = [Fraction(weight).limit_denominator(_MOST_PARTS) for weight in self.weights]
        common = lcm(*(share.denominator for share in shares))
        # Tickets of a lottery: so many for each picture of a part.
        self._tickets = [int(share * common) for share in shares]
        self._ends = np.cumsum([n * t for n, t in zip(self.counts, self._tickets, strict=True)])

    def __len__(self) -> int:
        """Pictures in an epoch."""
        return sum(round(n * w) for n, w in zip(self.counts, self.weights, strict=True))

    def epoch(self, seed: int, epoch: int) -> list[tuple[int, int]]:
        """The order of an epoch, which depends on (seed, epoch) alone.

        Returns:
            (index, repeat) of each picture; `repeat` counts from 0 how often it came before.
        """
        partly = np.random.default_rng((seed, epoch, 1))
        nothing = np.zeros(0, dtype=np.int64)
        chosen, repeats, first = [nothing], [nothing], 0
        for count, weight in zip(self.counts, self.weights, strict=True):
            wanted = round(count * weight)
            rounds, rest = divmod(wanted, count) if count else (0, 0)
            for repeat in range(rounds):
                chosen.append(np.arange(first, first + count))
                repeats.append(np.full(count, repeat))
            if rest:
                chosen.append(first + partly.permutation(count)[:rest])
                repeats.append(np.full(rest, rounds))
            first += count
        pairs = np.stack([np.concatenate(chosen), np.concatenate(repeats)], axis=1)
        order = np.random.default_rng((seed, epoch)).permutation(len(pairs))
        return [(index, repeat) for index, repeat in pairs[order].tolist()]

    def draw(self, rng: np.random.Generator, count: int) -> list[int]:
        """Indices of pictures drawn at random by their weights, with repetition."""
        tickets = rng.integers(int(self._ends[-1]), size=count)
        parts = np.searchsorted(self._ends, tickets, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        firsts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        numbers = (tickets - starts[parts]) // np.array(self._tickets)[parts]
        indices: list[int] = (firsts[parts] + numbers).tolist()
        return indices
