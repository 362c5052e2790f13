"""Plots of a head-pose evaluation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from img2pose.evaluation.head_pose import FAILURE_THRESHOLD, AngleFigures, HeadPoseSummary
from img2pose.evaluation.metrics import cumulative_errors

# Twice the threshold of failure: beyond it curves of usable models are flat.
_CURVE_END = 2 * FAILURE_THRESHOLD
_SIZE_INCHES = (5.6, 3.8)


def _figure(width: float = _SIZE_INCHES[0], height: float = _SIZE_INCHES[1]) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_steps(axes: Axes, errors: np.ndarray, end: float, label: str) -> None:
    steps, shares = cumulative_errors(errors)
    shown = steps <= end
    level = float(shares[shown][-1]) if shown.any() else 0.0
    x, y = np.concatenate([[0], steps[shown], [end]]), np.concatenate([[0], shares[shown], [level]])
    axes.step(x, y, where="post", label=label)


def _finish_curve(axes: Axes, end: float, x_label: str) -> None:
    axes.set(xlim=(0, end), ylim=(0, 1.02), xlabel=x_label, ylabel="share of all faces")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)


def draw_landmark_curves(errors: Mapping[str, np.ndarray]) -> Figure:
    """Cumulative landmark errors with the threshold of failure.

    Args:
        errors: (M,) by what they are divided by; NaN where a face was not found, which keeps the
            curve below 1.
    """
    figure = _figure()
    axes = figure.add_subplot()
    for name, values in errors.items():
        _draw_steps(axes, np.nan_to_num(values, nan=np.inf), _CURVE_END, name)
    axes.axvline(FAILURE_THRESHOLD, color="0.5", linestyle=":", linewidth=1)
    _finish_curve(axes, _CURVE_END, "mean landmark error")
    return figure


def draw_rotation_curve(rotation_deg: np.ndarray) -> Figure:
    """Cumulative geodesic rotation error (M,), NaN where a face was not found."""
    figure = _figure()
    axes = figure.add_subplot()
    end = max(10.0, float(np.nanmax(rotation_deg, initial=0.0)) * 1.02)
    _draw_steps(axes, np.nan_to_num(rotation_deg, nan=np.inf), end, "geodesic rotation error")
    _finish_curve(axes, end, "degrees")
    return figure


def draw_yaw_bands(summary: HeadPoseSummary) -> Figure:
    """Mean absolute errors of the faces found, by true yaw."""
    figure = _figure()
    axes = figure.add_subplot()
    bands = summary.yaw_bands
    nothing = AngleFigures(np.nan, np.nan, np.nan, np.nan)
    names = ("yaw", "pitch", "roll")
    for place, name in enumerate(names):
        heights = [getattr(band.found_only.euler_deg or nothing, name) for band in bands]
        x = np.arange(len(bands)) + 0.26 * (place - 1)
        bars = axes.bar(x, heights, 0.24, label=name)
        labels = ["" if np.isnan(height) else f"{height:.1f}" for height in heights]
        axes.bar_label(bars, labels, fontsize=8, padding=1)
    axes.set_xticks(
        range(len(bands)),
        [
            f"{band.from_deg:.0f} to {band.to_deg:.0f}\n{band.found_only.faces} of"
            f" {band.missed_counted.faces} found"
            for band in bands
        ],
    )
    axes.margins(y=0.15)
    axes.set(xlabel="absolute true yaw (degrees)", ylabel="mean absolute error (degrees)")
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    axes.legend(fontsize=9)
    return figure


def draw_angles(true_deg: np.ndarray, predicted_deg: np.ndarray) -> Figure:
    """Predicted over true angles, a dot a face.

    Args:
        true_deg: (M, 3) pitch, yaw, roll.
        predicted_deg: (M, 3), NaN where a face was not found.
    """
    figure = _figure(width=9.6, height=3.5)
    for place, (name, column) in enumerate((("yaw", 1), ("pitch", 0), ("roll", 2))):
        axes = figure.add_subplot(1, 3, place + 1, aspect="equal")
        true, predicted = true_deg[:, column], predicted_deg[:, column]
        both = np.concatenate([true, predicted[np.isfinite(predicted)]])
        low, high = both.min() - 5, both.max() + 5
        axes.plot([low, high], [low, high], color="0.6", linewidth=1)
        axes.scatter(true, predicted, s=max(3.0, min(25.0, 2000 / len(true))), alpha=0.6)
        axes.set(xlim=(low, high), ylim=(low, high), title=name)
        axes.set(xlabel="true (degrees)", ylabel="predicted (degrees)" if place == 0 else "")
        axes.grid(alpha=0.3)
    return figure
