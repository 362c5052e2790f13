"""Tables, plots and pictures of a head-pose evaluation, for its report and the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from img2pose.evaluation.head_cases import case_caption, draw_case
from img2pose.evaluation.head_judging import JudgedHeads
from img2pose.evaluation.head_plots import draw_angles
from img2pose.evaluation.head_pose import (
    FAILURE_THRESHOLD,
    AngleFigures,
    HeadPoseFigures,
    HeadPoseSummary,
    TranslationFigures,
)
from img2pose.evaluation.head_sets import LeftOutHead, poses_of
from img2pose.evaluation.metrics import cumulative_errors
from img2pose.evaluation.plots import Curve, draw_bars, draw_curves, png_bytes
from img2pose.evaluation.report import Case, Cell, Plot, Section, Table
from img2pose.references import PoseReferences

WORST_CASES = 10
# Twice the threshold of failure: beyond it curves of usable models are flat.
_CURVE_END = 2 * FAILURE_THRESHOLD
_FOUND, _COUNTED = "found faces (as published)", "all faces, missed ones counted"


@dataclass(frozen=True)
class PublishedFigures:
    """What img2pose's authors state, for comparison; degrees and reference units.

    Attributes:
        images: How many pictures they are of, None where that is not stated.
        euler_deg: Angles.
        translation: None where there are none.
    """

    images: int | None
    euler_deg: AngleFigures
    translation: TranslationFigures | None = None


def _rows_of(
    summary: HeadPoseSummary, cells: Callable[[HeadPoseFigures], Sequence[Cell]]
) -> list[list[Cell]]:
    return [
        [name, figures.faces, *cells(figures)]
        for name, figures in ((_FOUND, summary.found_only), (_COUNTED, summary.missed_counted))
    ]


def _angle_cells(angles: AngleFigures | None) -> list[Cell]:
    if angles is None:
        return [None] * 4
    return [angles.yaw, angles.pitch, angles.roll, angles.mean]


def angle_table(summary: HeadPoseSummary, published: PublishedFigures) -> Table:
    """Mean absolute errors of the angles and of the rotation.

    Not wrapped, and also wrapped where that makes a difference.
    """

    def cells(figures: HeadPoseFigures) -> list[Cell]:
        return [
            *_angle_cells(figures.euler_deg),
            figures.rotation_deg_mean,
            figures.rotation_deg_median,
        ]

    def wrapped(figures: HeadPoseFigures) -> list[Cell]:
        return [*_angle_cells(figures.euler_wrapped_deg), None, None]

    rows = _rows_of(summary, cells)
    if summary.faces_wrapped:
        rows += [[f"{row[0]}, wrapped", *row[1:]] for row in _rows_of(summary, wrapped)]
    rows.append(
        ["img2pose, published", published.images, *_angle_cells(published.euler_deg), None, None]
    )
    return Table(
        "Angles (degrees)",
        ("", "faces", "yaw", "pitch", "roll", "mean", "geodesic mean", "geodesic median"),
        rows,
        (None, None, 3, 3, 3, 3, 3, 3),
        f"Wrapping changes {summary.faces_wrapped} of the found faces. The published figures are"
        " those of the whole data set.",
    )


def translation_table(summary: HeadPoseSummary, published: PublishedFigures) -> Table | None:
    """Errors of the translation; None where the set has none to compare with."""
    if summary.missed_counted.translation is None:
        return None

    def values(figures: TranslationFigures | None) -> list[Cell]:
        if figures is None:
            return [None] * 4
        return [figures.x, figures.y, figures.z, figures.mean]

    rows = _rows_of(summary, lambda figures: values(figures.translation))
    rows.append(["img2pose, published", published.images, *values(published.translation)])
    return Table(
        "Translation (units of the reference face)",
        ("", "faces", "x", "y", "z", "mean"),
        rows,
        (None, None, 3, 3, 3, 3),
    )


def landmark_table(summary: HeadPoseSummary) -> Table | None:
    """Landmark errors by both units; None where the set has no landmarks."""
    if summary.missed_counted.landmarks_by_box is None:
        return None
    rows: list[list[Cell]] = []
    for unit, name in (
        ("root of the box's area", "landmarks_by_box"),
        ("outer eye distance", "landmarks_by_eyes"),
    ):

        def cells(figures: HeadPoseFigures, unit: str = unit, name: str = name) -> list[Cell]:
            found = getattr(figures, name)
            if found is None:
                return [unit, None, None, None, None]
            return [unit, found.mean, found.median, found.failure_rate, found.area_under_curve]

        rows += _rows_of(summary, cells)
    return Table(
        "68 landmarks, projected with the pose",
        (
            "",
            "faces",
            "unit",
            "mean",
            "median",
            f"failures above {FAILURE_THRESHOLD}",
            f"area under curve to {FAILURE_THRESHOLD}",
        ),
        rows,
        (None, None, None, 4, 4, 4, 4),
    )


def yaw_band_table(summary: HeadPoseSummary) -> Table:
    """Both ways of counting by absolute true yaw; landmarks where the set has any."""
    has_landmarks = summary.missed_counted.landmarks_by_box is not None
    rows: list[list[Cell]] = []
    for band in summary.yaw_bands:
        for name, figures in ((_FOUND, band.found_only), (_COUNTED, band.missed_counted)):
            row: list[Cell] = [f"{band.from_deg:.0f} to {band.to_deg:.0f}", name, figures.faces]
            row += [*_angle_cells(figures.euler_deg), figures.rotation_deg_mean]
            if has_landmarks:
                landmarks = figures.landmarks_by_box
                row.append(None if landmarks is None else landmarks.mean)
            rows.append(row)
    columns = ["true yaw", "", "faces", "yaw", "pitch", "roll", "mean", "geodesic mean"]
    digits: list[int | None] = [None, None, None, 3, 3, 3, 3, 3]
    if has_landmarks:
        columns.append("landmarks")
        digits.append(4)
    unit = "; landmarks by the root of the box's area" if has_landmarks else ""
    return Table(f"By absolute true yaw (degrees{unit})", columns, rows, digits)


def left_out_table(left_out: Sequence[LeftOutHead], counts: Mapping[str, int]) -> Table:
    """What was not judged, by reason."""
    by_reason: list[tuple[str, int]] = Counter(out.reason for out in left_out).most_common()
    rows = [*by_reason, *((name, count) for name, count in counts.items() if count)]
    return Table(
        "Left out",
        ("why", "how many"),
        [list(row) for row in rows] or [["nothing", 0]],
        note="left_out.csv names the faces and pictures." if left_out else "",
    )


def draw_plots(judged: JudgedHeads) -> dict[str, Plot]:
    """The plots, by the names of their files without suffix."""
    errors, count = judged.errors, len(judged)
    plots: dict[str, Plot] = {}
    by_unit = {
        "root of the box's area": errors.landmarks_by_box,
        "outer eye distance": errors.landmarks_by_eyes,
    }
    curves = [
        Curve(name, *cumulative_errors(values[errors.found], count), steps=True)
        for name, values in by_unit.items()
        if values is not None
    ]
    if curves:
        figure = draw_curves(
            curves,
            x_label="mean distance of the 68 points, over the unit",
            y_label="share of all faces",
            x_range=(0, _CURVE_END),
            y_range=(0, 1.02),
            marks={"failure": FAILURE_THRESHOLD},
        )
        plots["landmark_error_curve"] = Plot("Cumulative landmark error", png_bytes(figure))
    x, y = cumulative_errors(errors.rotation_deg[errors.found], count)
    end = max(10.0, 1.02 * float(x[-1]))
    figure = draw_curves(
        [Curve("", x, y, steps=True)],
        x_label="geodesic rotation error (degrees)",
        y_label="share of all faces",
        x_range=(0, end),
        y_range=(0, 1.02),
    )
    plots["rotation_error_curve"] = Plot("Cumulative rotation error", png_bytes(figure))
    bands = judged.summary.yaw_bands
    figure = draw_bars(
        [f"{band.from_deg:.0f} to {band.to_deg:.0f}" for band in bands],
        {
            name: [
                None if angles is None else getattr(angles, name)
                for angles in (band.found_only.euler_deg for band in bands)
            ]
            for name in ("yaw", "pitch", "roll")
        },
        x_label="absolute true yaw (degrees)",
        y_label="mean absolute error (degrees)",
        counts=[band.found_only.faces for band in bands],
    )
    plots["errors_by_yaw"] = Plot("Angles of the faces found, by true yaw", png_bytes(figure))
    figure = draw_angles(poses_of(judged.truths).euler_deg, judged.euler_deg)
    plots["angles"] = Plot("Predicted over true angles", png_bytes(figure), is_wide=True)
    return plots


def worst_cases(
    judged: JudgedHeads, read: Callable[[str], np.ndarray], references: PoseReferences
) -> list[Case]:
    """The faces with the greatest rotation errors, each as truth and as prediction.

    Args:
        judged: The evaluation.
        read: A picture by its name, (H, W, 3) uint8 RGB.
        references: The reference face of the poses.
    """
    cases = []
    for row in judged.worst(WORST_CASES):
        truth = judged.truths[row]
        name = truth.image if truth.face == 0 else f"{truth.image}, face {truth.face}"
        picture = draw_case(read(truth.image), judged, row, references)
        cases.append(Case(name, picture, case_caption(judged, row)))
    return cases


def report_sections(
    judged: JudgedHeads,
    published: PublishedFigures,
    left_out: Table,
    plots: Sequence[Plot],
    cases: Sequence[Case],
    protocol: Mapping[str, str],
) -> list[Section]:
    """The parts of the report, in order."""
    summary = judged.summary
    tables = [
        angle_table(summary, published),
        translation_table(summary, published),
        landmark_table(summary),
        yaw_band_table(summary),
    ]
    return [
        Section("Figures", tables=[table for table in tables if table is not None]),
        Section("Plots", plots=plots),
        Section(
            "Worst cases",
            (
                "By geodesic rotation error; above the truth, below the prediction. Axes of the"
                " head: red to the side, green toward the chin, blue where it looks."
                + (" Dots are the 68 points." if summary.missed_counted.landmarks_by_box else ""),
            ),
            cases=cases,
        ),
        Section("What was judged", tables=[left_out]),
        Section("Protocol", tables=[Table("", ("what", "how"), [*map(list, protocol.items())])]),
    ]
