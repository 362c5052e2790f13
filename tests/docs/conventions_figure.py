"""`docs/conventions.png`: what the numbers of a pose do to a head.

`python -m tests.docs.conventions_figure` draws it anew.
"""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from img2pose.detections import FaceDetections
from img2pose.geometry import image_intrinsics, pose_to_euler, project_points
from img2pose.visualization import draw_overlay
from tests.docs.pages import ROOT

_SIZE_HW = (300, 300)
_DEPTH = 5.6
_AXES = (("x", "#d62728"), ("y", "#2ca02c"), ("z", "#1f77b4"))
_POSES = (
    ("no turn", (0.0, 0.0, 0.0)),
    ("rx = +0.5: looks down", (0.5, 0.0, 0.0)),
    ("ry = +0.5: looks to the left of the picture", (0.0, 0.5, 0.0)),
    ("rz = +0.5: clockwise in the picture", (0.0, 0.0, 0.5)),
)


def _draw(axes: Axes, title: str, rotvec: tuple[float, float, float]) -> None:
    pose = np.array([[*rotvec, 0.0, 0.1, _DEPTH]])
    camera = image_intrinsics(*_SIZE_HW)
    face = FaceDetections(pose, np.zeros((1, 4)), np.ones(1), camera, _SIZE_HW)
    picture = draw_overlay(np.full((*_SIZE_HW, 3), 236, np.uint8), face)
    axes.imshow(picture)
    ends = project_points(np.array([[0, 0, 0], *(1.2 * np.eye(3))]), pose, camera)[0]
    for (name, color), end in zip(_AXES, ends[1:], strict=True):
        arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 2.2}
        axes.annotate("", xy=end, xytext=ends[0], arrowprops=arrow, annotation_clip=False)
        # Seen from the front, z is hidden behind its own arrow.
        at = end + 0.12 * (end - ends[0]) + ((0, -12) if name == "z" else (0, 0))
        axes.text(*at, name, color=color, fontsize=13, ha="center", va="center")
    pitch, yaw, roll = np.asarray(pose_to_euler(pose))[0] + 0.0
    axes.set_title(f"{title}\npitch {pitch:.1f}, yaw {yaw:.1f}, roll {roll:.1f} deg", fontsize=10)
    axes.set_xlim(0, _SIZE_HW[1])
    axes.set_ylim(_SIZE_HW[0], 0)
    axes.set_xticks([])
    axes.set_yticks([])


def main() -> None:
    """Writes the picture."""
    figure, panels = plt.subplots(1, 4, figsize=(13.2, 4.0), dpi=100, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.12)
    for axes, (title, rotvec) in zip(panels, _POSES, strict=True):
        _draw(axes, title, rotvec)
    panels[0].annotate("pixel (0, 0)", xy=(0, 0), xytext=(12, 26), fontsize=9)
    panels[0].plot([0], [0], "ks", markersize=8, clip_on=False)
    figure.savefig(ROOT / "docs" / "conventions.png")


if __name__ == "__main__":
    main()
