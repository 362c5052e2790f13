"""How many pictures a second find their faces, and whether memory stays flat over many of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Protocol

import numpy as np
import torch

from img2pose.detections import FaceDetections
from img2pose.evaluation.timing import median_times_ms, peak_resident_mib, start_peak_memory
from img2pose.images import ImageLike


class FindsFaces(Protocol):
    """What can be measured: `Detector`, and whatever else is called as it is."""

    def predict(self, images: Iterable[ImageLike], *, batch_size: int) -> Sequence[FaceDetections]:
        """The faces of each picture."""


@dataclass(frozen=True)
class InferenceRate:
    """One line of the table.

    Attributes:
        engine: What ran the model.
        batch_size: Pictures given to it at a time.
        images_per_second: From decoded pictures to faces; the median over the passes.
        faces: Found in all pictures together: rates compare at equal faces.
    """

    engine: str
    batch_size: int
    images_per_second: float
    faces: int


def measure_inference(
    detectors: Mapping[str, FindsFaces],
    pictures: Sequence[np.ndarray],
    batch_sizes: Sequence[int],
    repeats: int,
    device: torch.device | None = None,
) -> list[InferenceRate]:
    """Predicts pictures over and over; engines and batch sizes take turns.

    Args:
        detectors: By the engine's name.
        pictures: (H, W, 3) uint8 RGB each; equally large ones make full batches.
        batch_sizes: Pictures at a time; fewer pictures than that are given several times.
        repeats: Passes that count, after one that does not.
        device: Waited for before and after each pass; None: the CPU.
    """
    cases: dict[tuple[str, int], partial[Sequence[FaceDetections]]] = {}
    counts: dict[tuple[str, int], int] = {}
    for engine, detector in detectors.items():
        for batch_size in batch_sizes:
            count = max(len(pictures), batch_size)
            count -= count % batch_size
            given = list(islice(cycle(pictures), count))
            counts[engine, batch_size] = count
            cases[engine, batch_size] = partial(detector.predict, given, batch_size=batch_size)
    faces = {
        engine: sum(map(len, detector.predict(pictures, batch_size=1)))
        for engine, detector in detectors.items()
    }
    # The names of median_times_ms are text.
    times = median_times_ms(
        {f"{engine} {batch_size}": case for (engine, batch_size), case in cases.items()},
        repeats,
        device or torch.device("cpu"),
    )
    return [
        InferenceRate(
            engine, batch_size, 1e3 * count / times[f"{engine} {batch_size}"], faces[engine]
        )
        for (engine, batch_size), count in counts.items()
    ]


@dataclass(frozen=True)
class MemoryOverImages:
    """Peak resident memory of the process while pictures went through a detector.

    Attributes:
        images: How many pictures.
        first_images: How many of them the first figure is of.
        first_peak_mib: The peak over the first ones.
        peak_mib: The peak over all.
    """

    images: int
    first_images: int
    first_peak_mib: float
    peak_mib: float

    @property
    def growth(self) -> float:
        """By which share the peak rose after the first pictures: 0 is flat."""
        return self.peak_mib / self.first_peak_mib - 1


def measure_memory(
    detector: FindsFaces,
    pictures: Sequence[ImageLike],
    *,
    batch_size: int,
    images: int,
    first_images: int,
) -> MemoryOverImages | None:
    """Gives pictures to a detector, one after the other from a generator, and looks at memory.

    Args:
        detector: What is measured.
        pictures: Given over and over; files are read anew each time.
        batch_size: Pictures at a time.
        images: How many go through.
        first_images: How many may fill caches and the allocator's pools.

    Returns:
        The peaks; None where the system does not keep them (it does on Linux).
    """
    if not start_peak_memory():
        return None
    first_peak: list[float | None] = []

    def given() -> Iterator[ImageLike]:
        for index, picture in enumerate(islice(cycle(pictures), images)):
            if index == first_images:
                first_peak.append(peak_resident_mib())
            yield picture

    detector.predict(given(), batch_size=batch_size)
    peak = peak_resident_mib()
    if not first_peak or first_peak[0] is None or peak is None:
        return None
    return MemoryOverImages(images, first_images, first_peak[0], peak)
