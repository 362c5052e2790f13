"""Precision over recall, as points and as a picture."""

from __future__ import annotations

from pathlib import Path

from img2pose.evaluation.plots import Curve, draw_curves, png_bytes
from img2pose.evaluation.wider.scoring import THRESHOLDS, WiderScore
from img2pose.files import write_bytes, write_csv

COLUMNS = ("subset", "scaled_threshold", "score_threshold", "precision", "recall")


def write_curve_points(path: Path, score: WiderScore) -> None:
    """Writes a row for each subset and threshold, with the columns `COLUMNS`."""
    scores = score.threshold_score(THRESHOLDS)
    rows = (
        (subset, *(f"{value:.6g}" for value in point))
        for subset, figures in score.subsets.items()
        for point in zip(THRESHOLDS, scores, figures.precision, figures.recall, strict=True)
    )
    write_csv(path, COLUMNS, rows)


def curves_png(score: WiderScore) -> bytes:
    """The curves of all subsets in one plot, as a PNG file.

    Thresholds that no prediction passes are left out.
    """
    curves = []
    for subset, figures in score.subsets.items():
        ap = figures.average_precision
        name = f"{subset}: {'no faces' if ap is None else f'AP {ap:.5f}, {figures.faces} faces'}"
        shown = (figures.precision > 0) | (figures.recall > 0)
        curves.append(Curve(name, figures.recall[shown], figures.precision[shown]))
    return png_bytes(
        draw_curves(
            curves, x_label="recall", y_label="precision", x_range=(0, 1), y_range=(0, 1.02)
        )
    )


def write_curves(path: Path, score: WiderScore) -> None:
    """Writes `curves_png`, whole or not at all."""
    write_bytes(path, curves_png(score))
