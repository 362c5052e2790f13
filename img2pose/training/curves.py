"""Curves of training runs: `metrics.jsonl` in, a figure out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from img2pose.errors import InputError
from img2pose.evaluation.plots import label_axes
from img2pose.training.logging import METRICS_FILE, read_metrics

XAxis = Literal["step", "epoch"]
# The losses and rates of these two are drawn in one panel; others have panels of their own.
_TRAIN, _VALIDATION = "train", "validation"
# Without noise: a mean would only smear their steps.
_NEVER_SMOOTHED = ("learning_rate", "memory_mib")
# Raw values outside these percentiles do not stretch the vertical axis.
_FRAMED_PERCENTILES = (1, 99)
_MAX_PANELS = 100
_MAX_COLUMNS = 4
_PANEL_INCHES = (4.4, 3.0)
_MIN_WIDTH_INCHES = 6.4
_LEGEND_ROW_INCHES = 0.25
_LEGEND_LETTER_INCHES = 0.085
_LONGEST_NAME = 60
_STYLE: dict[str, dict[str, Any]] = {
    "raw": {"linewidth": 0.8, "alpha": 0.25},
    "train": {"linewidth": 1.6},
    "validation": {"linewidth": 1.2, "linestyle": "--", "marker": "o", "markersize": 5},
    "evaluator": {"linewidth": 1.4, "marker": "o", "markersize": 5},
}


@dataclass(frozen=True)
class Series:
    """One value over a run.

    Attributes:
        steps: (P,) optimizer steps done.
        epochs: (P,) epochs done.
        values: (P,), NaN where the value was not finite.
    """

    steps: NDArray[np.float64]
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]

    def along(self, x: XAxis) -> NDArray[np.float64]:
        """(P,) positions on the axis."""
        return self.steps if x == "step" else self.epochs


@dataclass(frozen=True)
class RunCurves:
    """What a run logged.

    Attributes:
        folder: The run's, absolute.
        series: By group and name, in the order of the file.
    """

    folder: Path
    series: dict[tuple[str, str], Series]


def read_run(path: Path, max_step: int | None = None) -> RunCurves:
    """Reads a run.

    Args:
        path: The run's folder, or its `metrics.jsonl`.
        max_step: Last step that counts.

    Raises:
        InputError: There is no such run, its file is damaged, or it has no points (yet).
    """
    file = path / METRICS_FILE if path.is_dir() else path
    if not file.exists():
        if file is path:
            raise InputError(f"{path}: no such folder; give the folder of a training run")
        raise InputError(f"{path}: holds no {METRICS_FILE}; give the folder of a training run")
    points: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for line in read_metrics(file):
        if max_step is None or line.step <= max_step:
            for name, value in line.values.items():
                # Infinities have no place on an axis either.
                shown = value if math.isfinite(value) else math.nan
                points.setdefault((line.group, name), []).append((line.step, line.epoch, shown))
    if not points:
        limit = "" if max_step is None else f" up to step {max_step}"
        raise InputError(f"{file}: no points{limit}; wait until the run has logged some")
    return RunCurves(
        file.resolve().parent,
        {key: Series(*np.array(rows, dtype=np.float64).T) for key, rows in points.items()},
    )


@dataclass(frozen=True)
class Panel:
    """One plot: a value of training and validation, or of an evaluator.

    Attributes:
        name: The value's.
        evaluator: Its group, or None for training and validation.
    """

    name: str
    evaluator: str | None

    @property
    def title(self) -> str:
        """`name`, or `evaluator/name`."""
        return self.name if self.evaluator is None else f"{self.evaluator}/{self.name}"


def choose_panels(runs: Sequence[RunCurves], fields: Sequence[str] | None = None) -> list[Panel]:
    """The panels of a figure.

    Args:
        runs: What was read.
        fields: Titles of panels, or names alone, which then stand for the values of that name in
            all groups; None for everything.

    Returns:
        In the order of `fields`, or as found, evaluators last.

    Raises:
        InputError: No run has such a field, or there are too many panels.
    """
    found: dict[Panel, None] = {}
    for run in runs:
        for group, name in run.series:
            found[Panel(name, None if group in (_TRAIN, _VALIDATION) else group)] = None
    panels = sorted(found, key=lambda panel: panel.evaluator is not None)
    if fields is not None:
        chosen: dict[Panel, None] = {}
        for field in fields:
            matching = [panel for panel in panels if field in (panel.title, panel.name)]
            if not matching:
                known = ", ".join(panel.title for panel in panels)
                raise InputError(f"--fields {field}: not in the metrics; there are {known}")
            chosen.update(dict.fromkeys(matching))
        panels = list(chosen)
    if len(panels) > _MAX_PANELS:
        raise InputError(f"{len(panels)} panels, more than {_MAX_PANELS}; choose with --fields")
    return panels


def running_mean(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Means over the `count` points around each one, fewer at the ends.

    Centred, so that a falling curve is not drawn late, and so too high, beside validation.

    Args:
        values: (P,), NaN where there is none; these do not count.
        count: At least 1.

    Returns:
        (P,), NaN where no point of the window has a value.
    """
    points = len(values)
    # A window of twice the points covers all of them from each.
    window = np.ones(min(count, 2 * points))
    middle = slice(len(window) // 2, len(window) // 2 + points)
    known = np.isfinite(values)
    sums = np.convolve(np.where(known, values, 0.0), window)[middle]
    counts = np.convolve(known.astype(np.float64), window)[middle]
    means = np.full(points, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0.5)
    return means


def run_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parents as tell them apart.

    Args:
        folders: Absolute, all different.
    """
    longest = max(len(folder.parts) for folder in folders)
    for depth in range(1, longest + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return [
        name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :] for name in names
    ]


def _y_label(name: str) -> str:
    words = name.split("_")
    if words[0] == "loss":
        return "loss"
    if name == "images_per_second":
        return "images / s"
    for word, unit in (("deg", "degrees"), ("mib", "MiB"), ("share", "share (0 to 1)")):
        if word in words:
            return unit
    return " ".join(words)


def _draw_series(
    axes: Axes, series: Series, group: str, name: str, *, color: Any, x: XAxis, smooth: int
) -> NDArray[np.float64]:
    """Draws one line and returns the values that the vertical axis should show."""
    positions, values = series.along(x), series.values
    if group != _TRAIN:
        style = _STYLE["validation" if group == _VALIDATION else "evaluator"]
        # Validation lies over the training lines of every run.
        axes.plot(positions, values, color=color, zorder=3, **style)
        return values
    if not _is_smoothed(name, smooth):
        axes.plot(positions, values, color=color, zorder=2, **_STYLE["train"])
        return values
    means = running_mean(values, smooth)
    axes.plot(positions, values, color=color, zorder=1, **_STYLE["raw"])
    axes.plot(positions, means, color=color, zorder=2, **_STYLE["train"])
    known = values[np.isfinite(values)]
    return np.append(means, np.percentile(known, _FRAMED_PERCENTILES) if known.size else [])


def _is_smoothed(name: str, smooth: int) -> bool:
    return smooth > 1 and name not in _NEVER_SMOOTHED


def _spans_a_decade(values: NDArray[np.float64]) -> bool:
    positive = values[values > 0]
    return positive.size > 0 and bool(positive.max() > 10 * positive.min())


def _draw_panel(
    axes: Axes,
    panel: Panel,
    runs: Sequence[RunCurves],
    colors: Sequence[Any],
    *,
    x: XAxis,
    smooth: int,
) -> None:
    groups = (_TRAIN, _VALIDATION) if panel.evaluator is None else (panel.evaluator,)
    shown = [np.empty(0)]
    for run, color in zip(runs, colors, strict=True):
        for group in groups:
            series = run.series.get((group, panel.name))
            if series is not None:
                shown.append(
                    _draw_series(axes, series, group, panel.name, color=color, x=x, smooth=smooth)
                )
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    if values.size == 0:
        axes.text(0.5, 0.5, "no finite values", ha="center", va="center", transform=axes.transAxes)
    elif panel.name == "learning_rate" and _spans_a_decade(values):
        axes.set_yscale("log")
    elif np.ptp(values) > 0:
        margin = 0.05 * np.ptp(values)
        axes.set_ylim(values.min() - margin, values.max() + margin)
    label_axes(axes, title=panel.title, x_label=x, y_label=_y_label(panel.name))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=x == "step"))


def _legend_entries(
    runs: Sequence[RunCurves], panels: Sequence[Panel], colors: Sequence[Any], smooth: int
) -> list[tuple[Line2D, str]]:
    names = run_names([run.folder for run in runs])
    entries = [
        (Line2D([], [], color=color, linewidth=3), name)
        for color, name in zip(colors, names, strict=True)
    ]
    shared = {panel.name for panel in panels if panel.evaluator is None}
    drawn = {key for run in runs for key in run.series if key[1] in shared}
    styles: list[tuple[str, str]] = []
    if any(group == _TRAIN for group, _ in drawn):
        smoothed = any(g == _TRAIN and _is_smoothed(n, smooth) for g, n in drawn)
        styles.append(("train", f"train, mean of {smooth} points" if smoothed else "train"))
        if smoothed:
            styles.append(("raw", "train, as logged"))
    if any(group == _VALIDATION for group, _ in drawn):
        styles.append(("validation", "validation"))
    grey = [(Line2D([], [], color="0.3", **_STYLE[style]), text) for style, text in styles]
    return entries + grey


def draw_runs(
    runs: Sequence[RunCurves],
    *,
    fields: Sequence[str] | None = None,
    x: XAxis = "step",
    smooth: int = 1,
) -> Figure:
    """Draws a grid of panels, each run in its colour.

    Training is a solid line, the running mean, with the raw values pale behind it; rare raw values
    far off may leave the panel. Validation is a dashed line with markers in the same panel; an
    evaluator's figures have panels of their own. All panels have the same horizontal axis.

    Args:
        runs: One or more, of different folders.
        fields: See `choose_panels`.
        x: What the horizontal axis counts.
        smooth: Logged points that a mean of the training's line is over; 1 for none.

    Returns:
        A figure with its own canvas; `savefig` writes it.

    Raises:
        InputError: See `choose_panels`.
    """
    panels = choose_panels(runs, fields)
    palette = color_sequences["tab10" if len(runs) <= 10 else "tab20"]
    colors = [palette[index % len(palette)] for index in range(len(runs))]
    columns = min(_MAX_COLUMNS, math.ceil(math.sqrt(len(panels))))
    rows = math.ceil(len(panels) / columns)
    width = max(_MIN_WIDTH_INCHES, columns * _PANEL_INCHES[0])
    entries = _legend_entries(runs, panels, colors, smooth)
    widest = max(len(text) for _, text in entries) + 5
    legend_columns = max(1, min(len(entries), int(width / (_LEGEND_LETTER_INCHES * widest))))
    legend_rows = math.ceil(len(entries) / legend_columns)
    height = rows * _PANEL_INCHES[1] + legend_rows * _LEGEND_ROW_INCHES
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Axes | None = None
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1, sharex=axes)
        _draw_panel(axes, panel, runs, colors, x=x, smooth=smooth)
    legend = figure.legend(
        [line for line, _ in entries],
        [str(index) for index in range(len(entries))],
        loc="outside upper center",
        ncols=legend_columns,
        fontsize=9,
        frameon=False,
    )
    # Set afterwards: a legend leaves out labels that begin with "_", and reads "$" as mathematics.
    for text, (_, name) in zip(legend.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
    return figure
