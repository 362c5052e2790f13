"""Drawing on pictures: boxes, scores, pose axes, landmarks, contact sheets.

Pictures are uint8 RGB arrays (H, W, 3). Nothing is drawn in place. Lines and letters grow with the
picture, so that a drawing is legible at any resolution once it is scaled to a screen.
"""

from img2pose.visualization.faces import draw_boxes, draw_faces, draw_points
from img2pose.visualization.primitives import (
    BLUE,
    BOX_COLOR,
    GREEN,
    LANDMARK_COLOR,
    OUTLINE_COLOR,
    RED,
    TRUTH_COLOR,
    Color,
)
from img2pose.visualization.sheets import SHEET_COLOR, contact_sheet, draw_caption, fit_into

__all__ = [
    "BLUE",
    "BOX_COLOR",
    "GREEN",
    "LANDMARK_COLOR",
    "OUTLINE_COLOR",
    "RED",
    "SHEET_COLOR",
    "TRUTH_COLOR",
    "Color",
    "contact_sheet",
    "draw_boxes",
    "draw_caption",
    "draw_faces",
    "draw_points",
    "fit_into",
]
