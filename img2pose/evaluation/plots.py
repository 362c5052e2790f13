"""Plots of evaluations and what all plots look like."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_INCHES = (5.6, 3.7)
_DPI = 144
_BAR_WIDTH = 0.8


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a plot.

    Attributes:
        name: In the legend; empty for none.
        x: (P,) positions.
        y: (P,) values.
        steps: Whether each value holds up to the next position, as of a cumulative share.
        dashed: Whether the line is a reference, not a result.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    steps: bool = False
    dashed: bool = False


def label_axes(axes: Axes, *, x_label: str, y_label: str, title: str = "") -> None:
    """Gives a plot its texts, as they stand, and a grid behind what is drawn."""
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.set_xlabel(x_label, fontsize=9, parse_math=False)
    axes.set_ylabel(y_label, fontsize=9, parse_math=False)
    axes.tick_params(labelsize=8)
    axes.grid(True, alpha=0.3)
    axes.set_axisbelow(True)


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _new_axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _add_legend(axes: Axes, names: Sequence[str]) -> None:
    named = [(line, name) for line, name in zip(axes.get_lines(), names, strict=False) if name]
    if not named:
        return
    # Names are set afterwards: a legend leaves out those that begin with "_", and reads "$".
    legend = axes.legend(
        [line for line, _ in named],
        [str(number) for number in range(len(named))],
        fontsize=8,
        framealpha=0.8,
    )
    for text, (_, name) in zip(legend.get_texts(), named, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def draw_curves(
    curves: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Lines in one plot.

    Args:
        curves: Drawn in the palette's order; values that are not finite leave gaps.
        x_label: With its unit.
        y_label: The same.
        x_range: What the horizontal axis shows; None fits it.
        y_range: The same of the vertical axis.
        marks: Vertical lines at these positions, by the text beside them.

    Returns:
        A figure with its own canvas; `png_bytes` gives the file.
    """
    figure, axes = _new_axes()
    palette = color_sequences["tab10"]
    for number, curve in enumerate(curves):
        x, y = np.asarray(curve.x), np.asarray(curve.y)
        if curve.steps and x_range is not None and len(x):
            # The last value holds to the end.
            x, y = np.append(x, max(x_range[1], x[-1])), np.append(y, y[-1])
        axes.plot(
            x,
            y,
            color="0.35" if curve.dashed else palette[number % len(palette)],
            linewidth=1.2 if curve.dashed else 1.6,
            linestyle="--" if curve.dashed else "-",
            drawstyle="steps-post" if curve.steps else "default",
        )
    if not any(np.isfinite(curve.y).any() for curve in curves):
        axes.text(0.5, 0.5, "no values", ha="center", va="center", transform=axes.transAxes)
    _add_legend(axes, [curve.name for curve in curves])
    label_axes(axes, x_label=x_label, y_label=y_label)
    axes.margins(x=0.02)
    if x_range is not None:
        axes.set_xlim(*x_range)
    if y_range is not None:
        axes.set_ylim(*y_range)
    for text, position in (marks or {}).items():
        axes.axvline(position, color="0.5", linewidth=1, linestyle=":")
        axes.annotate(
            text,
            (position, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8,
            color="0.35",
            parse_math=False,
        )
    return figure


def draw_bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    x_label: str,
    y_label: str,
    counts: Sequence[int] | None = None,
) -> Figure:
    """Bars side by side, a group for each label.

    Args:
        labels: Of the groups, as bands of an angle.
        series: Heights in each group, by the name in the legend; None draws no bar.
        x_label: With its unit.
        y_label: The same.
        counts: How many things each group stands for, written under its label.

    Returns:
        A figure with its own canvas.
    """
    figure, axes = _new_axes()
    palette = color_sequences["tab10"]
    places = np.arange(len(labels))
    width = _BAR_WIDTH / max(1, len(series))
    for number, heights in enumerate(series.values()):
        offset = (number - (len(series) - 1) / 2) * width
        values = [np.nan if height is None else height for height in heights]
        bars = axes.bar(places + offset, values, 0.92 * width, color=palette[number % 10])
        texts = ["" if height is None else f"{height:.3g}" for height in heights]
        axes.bar_label(bars, texts, fontsize=7, padding=1)
    shown = (
        [f"{label}\nn={count}" for label, count in zip(labels, counts, strict=True)]
        if counts is not None
        else list(labels)
    )
    label_axes(axes, x_label=x_label, y_label=y_label)
    axes.set_xticks(places, shown, fontsize=8, parse_math=False)
    axes.grid(False, axis="x")
    axes.margins(y=0.12)
    if len(series) > 1:
        handles = [container[0] for container in axes.containers]
        legend = axes.legend(handles, [str(n) for n in range(len(series))], fontsize=8)
        for text, name in zip(legend.get_texts(), series, strict=True):
            text.set_parse_math(False)
            text.set_text(name)
    return figure
