"""The plot that only head-pose evaluations have; the others are those of `plots`."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from img2pose.evaluation.plots import label_axes

_INCHES = (9.6, 3.6)


def draw_angles(true_deg: np.ndarray, predicted_deg: np.ndarray) -> Figure:
    """Predicted over true angles, a dot a face.

    Args:
        true_deg: (M, 3) pitch, yaw, roll.
        predicted_deg: (M, 3), NaN where a face was not found.
    """
    figure = Figure(figsize=_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, column) in enumerate((("yaw", 1), ("pitch", 0), ("roll", 2))):
        axes = figure.add_subplot(1, 3, place + 1, aspect="equal")
        true, predicted = true_deg[:, column], predicted_deg[:, column]
        both = np.concatenate([true, predicted[np.isfinite(predicted)]])
        low, high = both.min() - 5, both.max() + 5
        axes.plot([low, high], [low, high], color="0.6", linewidth=1)
        axes.scatter(true, predicted, s=np.clip(2000 / len(true), 3, 25), alpha=0.6)
        axes.set(xlim=(low, high), ylim=(low, high))
        y_label = "predicted (degrees)" if place == 0 else ""
        label_axes(axes, title=name, x_label="true (degrees)", y_label=y_label)
    return figure
