from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from img2pose.data.annotations import Annotation
from img2pose.data.store import PoseStore
from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.evaluation.evaluators import (
    EVALUATORS,
    LOWEST_SCORE,
    Evaluator,
    LandmarkEvaluator,
)
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.references import PoseReferences

SIZE_HW = (48, 64)
CAMERA = image_intrinsics(*SIZE_HW)
LEFT = np.array([0.1, -0.2, 0.05, -2.0, 0.3, 12.0])
RIGHT = np.array([0.0, 0.4, -0.1, 2.0, -0.5, 14.0])
NOBODY = np.zeros((0, 6))


class FakePictures:
    """Pictures whose first pixel is their number, with faces in the given poses."""

    def __init__(self, poses: Sequence[np.ndarray], references: PoseReferences) -> None:
        self.annotations = []
        for number, truth in enumerate(poses):
            landmarks = project_points(references.points_68, truth.reshape(-1, 6), CAMERA)
            boxes = np.array([[*points.min(0), *points.max(0)] for points in landmarks])
            source = Path(f"{number}.json")
            self.annotations.append(Annotation(f"{number}.png", boxes, tuple(landmarks), source))

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> tuple[Annotation, np.ndarray]:
        return self.annotations[index], np.full((*SIZE_HW, 3), index, dtype=np.uint8)


class FakeDetector:
    """Finds the given faces, by the number in the first pixel; keeps the sizes of its batches."""

    def __init__(
        self, found: Sequence[tuple[np.ndarray, list[float]]], references: PoseReferences
    ) -> None:
        self.found = found
        self.references = references
        self.batches: list[int] = []

    def predict(self, images: Sequence[np.ndarray], batch_size: int = 1) -> list[FaceDetections]:
        assert len(images) == batch_size
        self.batches.append(batch_size)
        return [self.detections(int(image[0, 0, 0])) for image in images]

    def detections(self, index: int) -> FaceDetections:
        poses, scores = self.found[index]
        poses = poses.reshape(-1, 6)
        points = project_points(self.references.points_68, poses, CAMERA)
        boxes = boxes_from_points(points, poses, SIZE_HW)
        return FaceDetections(poses, boxes, np.array(scores), CAMERA, SIZE_HW)


@pytest.fixture
def pictures(references: PoseReferences) -> FakePictures:
    return FakePictures([LEFT, RIGHT, np.array([LEFT, RIGHT]), NOBODY, LEFT], references)


@pytest.fixture
def detector(references: PoseReferences) -> FakeDetector:
    """Equal scores, right and wrong ones: their rank, and so the precision, is by order."""
    turned = LEFT + np.deg2rad([3, 4, 5, 0, 0, 0])
    return FakeDetector(
        [
            (RIGHT, [0.9]),
            (np.array([RIGHT, LEFT]), [0.9, 0.9]),
            (np.array([turned, RIGHT]), [0.6, 0.3]),
            (np.array([LEFT, RIGHT]), [0.6, 0.3]),
            (turned, [0.9]),
        ],
        references,
    )


def in_shares(
    evaluator: Evaluator, detector: Detector, ranks: int, order: Sequence[int]
) -> dict[str, float]:
    """The figures of what ranks judge, each after pickling, gathered in an order of the ranks."""
    gathered = []
    for rank in order:
        share = evaluator.judge(detector, range(rank, len(evaluator), ranks))
        gathered += pickle.loads(pickle.dumps(share))
    return evaluator.summarise(gathered)


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [2, 0, 1], [6, 5, 4, 3, 2, 1, 0]])
def test_shares_of_the_pictures_give_the_figures_of_all_at_once(
    pictures: FakePictures, detector: FakeDetector, order: list[int]
) -> None:
    evaluator = LandmarkEvaluator(pictures)
    at_once = evaluator.summarise(evaluator.judge(detector, range(len(pictures))))
    assert set(at_once) == set(evaluator.higher_is_better)
    assert in_shares(evaluator, detector, len(order), order) == at_once


def test_the_order_of_the_pictures_would_matter_to_the_precision_if_it_were_that_of_the_ranks(
    references: PoseReferences,
) -> None:
    # Guards the test above: with these ties the order of judging shows in the average precision.
    found = [(RIGHT, [0.9]), (RIGHT, [0.9])]
    wrong_first = FakePictures([LEFT, RIGHT], references)
    right_first = FakePictures([RIGHT, LEFT], references)
    precisions = []
    for pictures in (wrong_first, right_first):
        evaluator = LandmarkEvaluator(pictures)
        judged = evaluator.judge(FakeDetector(found, references), range(2))
        precisions.append(evaluator.summarise(judged)["average_precision_at_50"])
    assert precisions == [0.25, 0.5]


def test_a_picture_that_two_ranks_judged_counts_once(
    pictures: FakePictures, detector: FakeDetector
) -> None:
    evaluator = LandmarkEvaluator(pictures)
    judged = evaluator.judge(detector, range(len(pictures)))
    assert evaluator.summarise(judged + judged[:2]) == evaluator.summarise(judged)


def test_figures_of_known_detections(references: PoseReferences) -> None:
    turned = RIGHT.copy()
    turned[:3] *= 1 + np.deg2rad(6) / np.linalg.norm(RIGHT[:3])
    pictures = FakePictures([np.array([LEFT, RIGHT]), LEFT], references)
    found = [(np.array([LEFT, turned]), [0.9, 0.8]), (RIGHT, [0.7])]
    evaluator = LandmarkEvaluator(pictures)
    judged = evaluator.judge(FakeDetector(found, references), range(2))
    figures = evaluator.summarise(judged)
    landmark_errors = figures.pop("landmark_error_mean"), figures.pop("landmark_error_median")
    # Of two faces, the mean is the median.
    assert landmark_errors[0] == pytest.approx(landmark_errors[1])
    assert 0.001 < landmark_errors[0] < 0.1
    assert figures == pytest.approx(
        {
            "recall_at_50": 2 / 3,
            "recall_at_75": 2 / 3,
            "average_precision_at_50": 2 / 3,
            "false_positives_per_picture": 0.5,
            "rotation_error_deg_mean": 3,
            "rotation_error_deg_median": 3,
            "rotation_error_deg_mean_missed_as_90": (0 + 6 + 90) / 3,
        },
        abs=1e-4,
    )


def test_figures_that_are_undefined_are_left_out(references: PoseReferences) -> None:
    empty = LandmarkEvaluator(FakePictures([], references))
    assert empty.summarise(empty.judge(FakeDetector([], references), [])) == {}
    no_face = LandmarkEvaluator(FakePictures([NOBODY], references))
    judged = no_face.judge(FakeDetector([(LEFT, [0.9])], references), [0])
    assert no_face.summarise(judged) == {"false_positives_per_picture": 1}
    missed = LandmarkEvaluator(FakePictures([LEFT], references))
    judged = missed.judge(FakeDetector([(NOBODY, [])], references), [0])
    assert missed.summarise(judged) == {
        "recall_at_50": 0,
        "recall_at_75": 0,
        "average_precision_at_50": 0,
        "false_positives_per_picture": 0,
        "rotation_error_deg_mean_missed_as_90": 90,
    }


def test_the_threshold_parts_recall_from_precision(references: PoseReferences) -> None:
    pictures, found = FakePictures([LEFT], references), [(LEFT, [0.3])]
    for threshold, recall in ((0.5, 0), (0.2, 1)):
        evaluator = LandmarkEvaluator(pictures, threshold)
        figures = evaluator.summarise(evaluator.judge(FakeDetector(found, references), [0]))
        assert (figures["recall_at_50"], figures["average_precision_at_50"]) == (recall, 1)


def test_batches_change_neither_the_figures_nor_what_is_watched(
    pictures: FakePictures, detector: FakeDetector
) -> None:
    seen: dict[int, list[tuple[int, str, int, int]]] = {}
    figures = {}
    for size in (1, 2, 9):
        watched = seen.setdefault(size, [])
        evaluator = LandmarkEvaluator(pictures, batch_size=size)
        detector.batches.clear()
        judged = evaluator.judge(
            detector,
            iter([4, 0, 1]),
            lambda index, annotation, picture, found, watched=watched: watched.append(
                (index, annotation.image_path, int(picture[0, 0, 0]), len(found))
            ),
        )
        assert detector.batches == {1: [1, 1, 1], 2: [2, 1], 9: [3]}[size]
        figures[size] = evaluator.summarise(judged)
    assert figures[1] == figures[2] == figures[9]
    assert (
        seen[1]
        == seen[2]
        == seen[9]
        == [(4, "4.png", 4, 1), (0, "0.png", 0, 1), (1, "1.png", 1, 2)]
    )
    with pytest.raises(ValueError, match="batch_size"):
        LandmarkEvaluator(pictures, batch_size=0)


def test_every_figure_that_may_steer_is_one_of_the_summary(pictures: FakePictures) -> None:
    evaluator = LandmarkEvaluator(pictures)
    summary = evaluator.evaluate([]).summary.to_dict()
    assert set(evaluator.higher_is_better) <= set(summary)
    better = {name for name, higher in evaluator.higher_is_better.items() if higher}
    assert better == {"recall_at_50", "recall_at_75", "average_precision_at_50"}


def test_an_evaluator_by_its_name_judges_a_store(face_dataset: Path, small_model: Img2Pose) -> None:
    path = str(face_dataset / "val.lmdb")
    evaluator = EVALUATORS["landmarks"](PoseStore(path))
    assert (evaluator.name, len(evaluator)) == ("landmarks", 2)
    detector = Detector(small_model, score_threshold=LOWEST_SCORE)
    figures = evaluator.summarise(evaluator.judge(detector, range(2)))
    assert set(figures) <= set(evaluator.higher_is_better)
    assert 0 <= figures["recall_at_50"] <= 1
    assert in_shares(evaluator, detector, 2, [1, 0]) == figures


def test_the_registry_names_evaluators_as_they_name_themselves(face_dataset: Path) -> None:
    path = str(face_dataset / "val.lmdb")
    for key, build in EVALUATORS.items():
        assert build(PoseStore(path)).name == key


def test_a_damaged_picture_is_an_input_error_of_the_rank_that_reads_it(
    references: PoseReferences, detector: FakeDetector
) -> None:
    class Damaged(FakePictures):
        def __getitem__(self, index: int) -> tuple[Annotation, np.ndarray]:
            if index == 1:
                raise InputError("list.lmdb: record 1 is damaged")
            return super().__getitem__(index)

    evaluator = LandmarkEvaluator(Damaged([LEFT] * 4, references))
    assert len(evaluator.judge(detector, range(0, 4, 2))) == 2
    with pytest.raises(InputError, match="record 1"):
        evaluator.judge(detector, range(1, 4, 2))
