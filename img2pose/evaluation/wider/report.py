"""The report of a WIDER evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from img2pose.evaluation.report import Case, Plot, Section, Table
from img2pose.evaluation.wider.curves import curves_png
from img2pose.evaluation.wider.figures import coverage
from img2pose.evaluation.wider.ground_truth import WiderTruth
from img2pose.evaluation.wider.scoring import (
    ImageOutcome,
    Outcomes,
    WiderScore,
    corners_of,
    outcomes_by_image,
)
from img2pose.visualization import BOX_COLOR, GREEN, RED, draw_boxes, fit_into

WORST_CASES = 10
HARDEST = "hard"
PUBLISHED = {"easy": 0.908, "medium": 0.899, "hard": 0.847}
"""Average precisions that img2pose's authors state for the whole validation set."""

_CASE_PIXELS = 960


def precision_table(score: WiderScore) -> Table:
    """Average precision of each subset."""
    rows = [
        [subset, found.average_precision, PUBLISHED[subset], found.faces]
        for subset, found in score.subsets.items()
    ]
    return Table(
        "Average precision",
        ("faces", "this model", "img2pose, published (all images)", "faces to find"),
        rows,
        (None, 5, 3, None),
        coverage(score),
    )


def outcome_table(outcomes: Outcomes) -> Table:
    """Faces found, missed and made up, at the threshold of the outcomes."""
    found, missed, wrong = (
        sum(int(getattr(image, name).sum()) for image in outcomes.images)
        for name in ("found", "missed", "false_positives")
    )
    return Table(
        f"At a score of {outcomes.threshold:.4g}, where F1 is best",
        ("found", "missed", "false positives", "recall", "precision"),
        [[found, missed, wrong, _share(found, found + missed), _share(found, found + wrong)]],
        (None, None, None, 4, 4),
        f"Of the {HARDEST} faces, which are all that count in any subset.",
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def draw_outcome(
    picture: np.ndarray, faces_xywh: np.ndarray, predictions: np.ndarray, outcome: ImageOutcome
) -> np.ndarray:
    """Found faces green, missed ones red (both as annotated), false positives yellow.

    Args:
        picture: (H, W, 3) uint8 RGB.
        faces_xywh: (N, 4) annotated.
        predictions: (P, 5).
        outcome: Of the image.
    """
    drawing = picture
    for boxes, color in (
        (predictions[outcome.false_positives], BOX_COLOR),
        (faces_xywh[outcome.found], GREEN),
        (faces_xywh[outcome.missed], RED),
    ):
        drawing = draw_boxes(drawing, corners_of(boxes), color)
    return drawing


def worst_cases(
    outcomes: Outcomes,
    predictions: Mapping[str, np.ndarray],
    truth: WiderTruth,
    read: Callable[[str], np.ndarray | None],
) -> list[Case]:
    """The images with the most missed faces and false positives, worst first.

    Args:
        outcomes: What happened in all images.
        predictions: (P, 5) by image.
        truth: The images.
        read: A picture by its name, (H, W, 3) uint8 RGB; None where it is missing, which is then
            left out.
    """
    cases: list[Case] = []
    for index in outcomes.worst(len(truth)):
        if len(cases) == WORST_CASES:
            break
        name, outcome = truth.names[index], outcomes.images[index]
        picture = read(name)
        if picture is None:
            continue
        found = predictions.get(name, np.empty((0, 5)))
        drawing = draw_outcome(picture, truth.boxes_xywh[index], found, outcome)
        caption = (
            f"{int(outcome.missed.sum())} missed, {int(outcome.false_positives.sum())} false"
            f" positives, {int(outcome.found.sum())} found"
        )
        cases.append(Case(name, fit_into(drawing, _CASE_PIXELS), caption))
    return cases


def score_sections(
    score: WiderScore,
    predictions: Mapping[str, np.ndarray],
    truth: WiderTruth,
    read: Callable[[str], np.ndarray | None],
) -> list[Section]:
    """What a report says of a score: figures, curves, worst cases."""
    outcomes = outcomes_by_image(predictions, truth, score, HARDEST)
    cases = worst_cases(outcomes, predictions, truth, read)
    return [
        Section("Figures", tables=[precision_table(score), outcome_table(outcomes)]),
        Section("Curves", plots=[Plot("Precision over recall", curves_png(score))]),
        Section(
            "Worst images",
            (
                f"By missed {HARDEST} faces and false positives together, at a score of"
                f" {outcomes.threshold:.4g}: found faces green, missed ones red, false positives"
                " yellow.",
            ),
            cases=cases,
        ),
    ]
