"""Figures of a data set's check: its reprojection errors, and the worst faces."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from img2pose.data.checks.faces import HIGH_ERROR, OUTLIER_ERROR, landmarks_known, reference_points
from img2pose.data.checks.sources import LabelledPicture
from img2pose.geometry import image_intrinsics, project_points
from img2pose.references import PoseReferences
from img2pose.visualization import GREEN, RED, draw_caption, draw_points, fit_into

_BINS = 60
# Worse faces are counted in the last bin.
_LARGEST_ERROR_SHOWN = 0.6
_COLORS = {68: "tab:blue", 5: "tab:orange"}
_CONTEXT = 0.25


def draw_error_histogram(errors: np.ndarray, landmark_counts: np.ndarray) -> Figure:
    """Histograms of reprojection errors, one of each number of landmarks.

    Args:
        errors: (M,) finite.
        landmark_counts: (M,) 5 or 68.

    Returns:
        A figure with its own canvas; `savefig` writes it.
    """
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = [count for count in HIGH_ERROR if (landmark_counts == count).any()]
    limits = [OUTLIER_ERROR[count] for count in shown] or [max(OUTLIER_ERROR.values())]
    last = float(np.clip(errors.max(initial=0), 1.1 * max(limits), _LARGEST_ERROR_SHOWN))
    edges = np.linspace(0, last, _BINS + 1).tolist()
    for count in shown:
        values = errors[landmark_counts == count]
        color = _COLORS[count]
        axes.hist(
            values.clip(max=last),
            edges,
            color=color,
            alpha=0.6,
            label=f"{len(values)} faces with {count} points",
        )
        for limit, style, name in (
            (HIGH_ERROR[count], ":", "high"),
            (OUTLIER_ERROR[count], "--", "outlier"),
        ):
            label = f"{name} above {limit:g} ({(values > limit).sum()} faces)"
            axes.axvline(limit, color=color, linestyle=style, label=label)
    if shown:
        axes.legend(fontsize=8)
        axes.set_yscale("symlog", linthresh=1)
    else:
        axes.text(0.5, 0.5, "no posed faces", ha="center", va="center", transform=axes.transAxes)
    axes.set_xlim(0, last)
    axes.set_xlabel("RMS distance of projected to annotated points / extent of the points")
    axes.set_ylabel("faces")
    axes.grid(True, alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def face_cell(
    picture: LabelledPicture, face: int, references: PoseReferences, caption: str, cell: int
) -> np.ndarray:
    """One face, its annotated points green, those projected with its pose red.

    Args:
        picture: The picture and all its labels.
        face: Which of them.
        references: The reference face of the poses.
        caption: Written into the corner.
        cell: Side of the square in pixels.

    Returns:
        (cell, cell, 3) uint8 RGB.
    """
    height, width = picture.pixels.shape[:2]
    points, pose = picture.landmarks[face], picture.poses_in_image[face]
    shown = [picture.boxes_xyxy[face].reshape(2, 2)]
    projected = np.empty((0, 2))
    if landmarks_known([points])[0]:
        shown.append(points)
        if np.isfinite(pose).all():
            model = reference_points(references, len(points))
            projected = project_points(model, pose[None], image_intrinsics(height, width))[0]
    around = np.concatenate(shown)
    low, high = around.min(0), around.max(0)
    margin = _CONTEXT * (high - low).max()
    left, top = np.floor(low - margin).clip(0, [width - 1, height - 1]).astype(int)
    right, bottom = np.ceil(high + margin).clip([left + 1, top + 1], [width, height]).astype(int)
    crop = picture.pixels[top:bottom, left:right]
    # Dots are drawn on the scaled crop, so that those of small faces stay apart.
    scale = cell / max(crop.shape[:2])
    size = [max(1, round(scale * side)) for side in crop.shape[1::-1]]
    drawing = cv2.resize(
        crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    radius = max(1.5, cell / 160)
    for dots, color in ((points, GREEN), (projected, RED)):
        on_crop = (dots - [left, top] + 0.5) * scale - 0.5
        drawing = draw_points(drawing, on_crop, color, radius)
    return draw_caption(fit_into(drawing, cell), caption, max(10, cell // 24))
