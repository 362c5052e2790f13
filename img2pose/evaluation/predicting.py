"""The loop that fills a cache with predictions, for all protocols and any number of processes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from img2pose.distributed import ALONE, Processes
from img2pose.evaluation.pictures import NamedPictures
from img2pose.evaluation.predictions import ModelNotes, Prediction, PredictionCache
from img2pose.inference.batching import read_ahead
from img2pose.inference.detector import Detector

READ_AHEAD = 2
"""Batches of pictures that wait, decoded, while the model is busy with the one before."""

logger = logging.getLogger(__name__)

DetectorCall = Callable[[Sequence[np.ndarray]], Sequence[Prediction]]
"""(H, W, 3) uint8 RGB pictures of any sizes in, a prediction each out, `seconds` unset."""


@dataclass(frozen=True)
class Predictor:
    """A loaded model, ready to predict.

    Attributes:
        detect: Finds faces.
        model: What scoring needs to know.
    """

    detect: DetectorCall
    model: ModelNotes

    @classmethod
    def of(cls, detector: Detector) -> Predictor:
        """The detector's faces as they are, with poses."""

        def detect(pictures: Sequence[np.ndarray]) -> list[Prediction]:
            found = detector.predict(list(pictures), batch_size=len(pictures))
            return [Prediction.from_detections(faces) for faces in found]

        return cls(detect, ModelNotes.of(detector))


def predict_missing(
    load: Callable[[], Predictor],
    pictures: NamedPictures,
    cache: PredictionCache,
    *,
    batch_size: int = 1,
    processes: Processes = ALONE,
) -> ModelNotes:
    """Predicts what the cache lacks; if it lacks nothing, no model is loaded.

    What was predicted before a stop, by a signal or by a picture that cannot be read, is kept. A
    bar on stderr shows the progress and pictures a second, of several processes the first one's.

    Args:
        load: Loads the model, if this process has anything to predict.
        pictures: Named as in the cache.
        cache: Opened by all processes; in the end it holds every picture in each of them.
        batch_size: Pictures given to the detector at a time. The time of each is its share.
        processes: Each has to call this and takes a share of what is missing.

    Returns:
        Notes on the model that predicted, as the cache has them.

    Raises:
        InputError: A picture is damaged or missing, or the model cannot be loaded.
        OutputError: The disk is full, for example.
        ValueError: `batch_size` is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    numbers = {name: index for index, name in enumerate(pictures.names)}
    # The first process's list, since the others may have opened the cache later.
    missing, has_notes = processes.gather((cache.missing(numbers), cache.model is not None))[0]
    with processes.one_error():
        share = missing[processes.rank :: processes.count]
        if share or (processes.is_main and not has_notes):
            predictor = load()
            cache.note_model(predictor.model)
            _predict(
                predictor,
                pictures,
                [numbers[name] for name in share],
                cache,
                batch_size,
                # Several bars would overwrite each other.
                show_progress=processes.is_main,
            )
    if processes.are_several:
        # Nobody reads before everybody has written, nor goes on before everybody has read.
        notes = processes.gather(cache.model)[0]
        with processes.one_error():
            cache.reload()
        cache.model = cache.model or notes
    if cache.model is None:
        raise RuntimeError(f"{cache.folder}: no notes on the model after predicting")
    return cache.model


def batches_read_ahead(
    pictures: NamedPictures, batches: Iterable[Sequence[int]]
) -> Generator[tuple[Sequence[int], list[np.ndarray]], None, None]:
    """Batches with their pictures, which a thread reads while those before are looked at.

    At most `READ_AHEAD` batches wait; closing the iterator ends the thread.

    Args:
        pictures: Numbered.
        batches: Numbers of pictures; drawn as they are read.

    Yields:
        A batch, and its pictures as (H, W, 3) uint8 RGB.

    Raises:
        InputError: A picture is damaged or missing; at its batch's turn, not before.
    """

    def read(batch: Sequence[int]) -> tuple[Sequence[int], list[np.ndarray]]:
        return batch, [pictures.picture(index) for index in batch]

    return read_ahead(batches, read, READ_AHEAD)


def _predict(
    predictor: Predictor,
    pictures: NamedPictures,
    indices: Sequence[int],
    cache: PredictionCache,
    batch_size: int,
    *,
    show_progress: bool,
) -> None:
    starts = range(0, len(indices), batch_size)
    batches = [indices[start : start + batch_size] for start in starts]
    start = time.perf_counter()
    with (
        tqdm(
            total=len(indices),
            desc="predicting",
            unit="image",
            disable=None if show_progress else True,
            file=sys.stderr,
        ) as progress,
        closing(batches_read_ahead(pictures, batches)) as batches_seen,
    ):
        for batch, seen in batches_seen:
            began = time.perf_counter()
            found = predictor.detect(seen)
            seconds = (time.perf_counter() - began) / len(batch)
            for index, prediction in zip(batch, found, strict=True):
                cache.add(pictures.names[index], prediction, seconds)
            progress.update(len(batch))
    if indices:
        rate = len(indices) / (time.perf_counter() - start)
        logger.info("predicted %d pictures, %.2f a second", len(indices), rate)
