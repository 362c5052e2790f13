"""Precision over recall, as points and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from img2pose.evaluation.wider.scoring import THRESHOLDS, WiderScore
from img2pose.files import replace_when_complete

COLUMNS = ("subset", "scaled_threshold", "score_threshold", "precision", "recall")
_FIGURE_INCHES = (6.4, 4.8)
_DOTS_PER_INCH = 120


def write_curve_points(path: Path, score: WiderScore) -> None:
    """Writes a row for each subset and threshold, with the columns `COLUMNS`."""
    scores = score.threshold_score(THRESHOLDS).tolist()
    with replace_when_complete(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for subset, figures in score.subsets.items():
            points = zip(
                THRESHOLDS.tolist(),
                scores,
                figures.precision.tolist(),
                figures.recall.tolist(),
                strict=True,
            )
            writer.writerows(
                [subset, *(f"{value:.6g}" for value in row)] for row in points
            )


def draw_curves(score: WiderScore, title: str) -> Figure:
    """Draws the curves of all subsets into one plot.

    Args:
        score: What is drawn; thresholds that no prediction passes are left out.
        title: Above the plot.

    Returns:
        A figure with its own canvas; `savefig` writes it.
    """
    figure = Figure(figsize=_FIGURE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for subset, figures in score.subsets.items():
        average_precision = figures.average_precision
        label = "no faces" if average_precision is None else f"AP {average_precision:.5f}"
        shown = (figures.precision > 0) | (figures.recall > 0)
        axes.plot(
            figures.recall[shown],
            figures.precision[shown],
            label=f"{subset}: {label}, {figures.faces} faces",
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(True, alpha=0.3)
    axes.legend(loc="lower left", fontsize=9)
    return figure


def write_curves(path: Path, score: WiderScore, title: str) -> None:
    """Writes `draw_curves` as PNG."""
    figure = draw_curves(score, title)
    with replace_when_complete(path) as part:
        figure.savefig(part, format="png", dpi=_DOTS_PER_INCH)
