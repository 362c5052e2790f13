"""What judges a model at the end of an epoch and from the command line alike.

An evaluator judges pictures by their numbers, so that processes may share them, and makes figures
of what all of them found:

    judged = evaluator.judge(detector, range(rank, len(evaluator), ranks))
    figures = evaluator.summarise(gathered_from_all_ranks)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from img2pose.data.annotations import Annotation
from img2pose.data.sources import RecordSource
from img2pose.detections import FaceDetections
from img2pose.evaluation.landmarks import (
    JudgedPicture,
    LandmarkEvaluation,
    judge_pictures,
    summarise,
)
from img2pose.evaluation.pictures import PictureSource, StoredPictures
from img2pose.inference.detector import Detector

# Detectors of evaluations reach down to here; the lower, the longer the tail that counts in the AP.
LOWEST_SCORE = 0.05

PictureWatcher = Callable[[int, Annotation, np.ndarray, FaceDetections], None]


class Evaluator(Protocol):
    """Figures of a model on a fixed set of pictures."""

    @property
    def name(self) -> str:
        """Prefix of its figures."""
        ...

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """Every figure that may steer training, by name without prefix, and its direction."""
        ...

    def __len__(self) -> int:
        """How many pictures there are to judge."""
        ...

    def judge(self, detector: Detector, indices: Iterable[int]) -> list[Any]:
        """Judges some of the pictures; what comes back can be pickled.

        Args:
            detector: Built with a score threshold of `LOWEST_SCORE` or lower.
            indices: Numbers of the pictures, 0 to `len` - 1.

        Raises:
            InputError: A picture is damaged or missing.
        """
        ...

    def summarise(self, judged: Iterable[Any]) -> dict[str, float]:
        """Figures of all that was judged, whatever its order and however it was shared.

        Args:
            judged: What `judge` gave for all pictures together.

        Returns:
            By name, without prefix; figures that are undefined are left out.
        """
        ...


class LandmarkEvaluator:
    """Faces against annotated landmarks (`landmarks.PROTOCOL`).

    `rotation_error_deg_mean`, its median and the landmark errors leave out faces that were not
    found: a training steered by one of them alone is rewarded for finding only the easy faces.
    `rotation_error_deg_mean_missed_as_90` is over all faces. No error counts false positives;
    `average_precision_at_50` does.

    The detector must be built with a score threshold of `LOWEST_SCORE` or lower: all that it gives
    counts in the average precision, and what it keeps to itself is missing there.

    Args:
        pictures: Annotated pictures.
        score_threshold: Detections with a greater score count in all other figures.
        batch_size: Pictures given to the detector at a time. Detections may differ in their last
            digits with it.

    Raises:
        ValueError: `batch_size` is less than 1.
    """

    name = "landmarks"
    higher_is_better: Mapping[str, bool] = MappingProxyType(
        {
            "recall_at_50": True,
            "recall_at_75": True,
            "average_precision_at_50": True,
            "false_positives_per_picture": False,
            "rotation_error_deg_mean": False,
            "rotation_error_deg_median": False,
            "rotation_error_deg_mean_missed_as_90": False,
            "landmark_error_mean": False,
            "landmark_error_median": False,
        }
    )

    def __init__(
        self, pictures: PictureSource, score_threshold: float = 0.5, *, batch_size: int = 1
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.pictures = pictures
        self.score_threshold = score_threshold
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.pictures)

    def judge(
        self, detector: Detector, indices: Iterable[int], watch: PictureWatcher | None = None
    ) -> list[tuple[int, JudgedPicture]]:
        """Judges some of the pictures.

        Args:
            detector: See the class.
            indices: Numbers of the pictures; drawn as they are judged, so a progress bar may wrap
                them.
            watch: Called for each picture with its number, annotation, pixels and detections.

        Returns:
            Each picture's number and what became of its faces.

        Raises:
            InputError: A picture is damaged or missing.
        """
        judged: list[tuple[int, JudgedPicture]] = []
        remaining = iter(indices)
        while batch := list(islice(remaining, self.batch_size)):
            seen = [self.pictures[index] for index in batch]
            found = detector.predict([picture for _, picture in seen], batch_size=len(batch))
            for index, (annotation, picture), detections in zip(batch, seen, found, strict=True):
                if watch is not None:
                    watch(index, annotation, picture, detections)
                (result,) = judge_pictures(
                    [(annotation, detections)],
                    detector.references,
                    score_threshold=self.score_threshold,
                )
                judged.append((index, result))
        return judged

    def evaluate(self, judged: Iterable[tuple[int, JudgedPicture]]) -> LandmarkEvaluation:
        """All results and figures, in the order of the pictures.

        Args:
            judged: What `judge` gave; a picture that is there twice, as in shares filled up to
                equal lengths, counts once.
        """
        by_index = dict(judged)
        return summarise([by_index[index] for index in sorted(by_index)], self.score_threshold)

    def summarise(self, judged: Iterable[tuple[int, JudgedPicture]]) -> dict[str, float]:
        """The figures that may steer training; see `Evaluator.summarise` and `evaluate`."""
        figures = self.evaluate(judged).summary.to_dict()
        return {
            name: value for name in self.higher_is_better if (value := figures[name]) is not None
        }


def _landmark_evaluator(store: RecordSource) -> LandmarkEvaluator:
    return LandmarkEvaluator(StoredPictures(store))


# Stores -> evaluator, by the name that a configuration gives.
EVALUATORS: Mapping[str, Callable[[RecordSource], Evaluator]] = MappingProxyType(
    {"landmarks": _landmark_evaluator}
)
