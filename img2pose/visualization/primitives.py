"""Lines, dots and letters on pictures, drawn in place; the colours that drawings share.

Pictures are uint8 RGB arrays (H, W, 3) with contiguous memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

RED, GREEN, BLUE = (255, 48, 48), (40, 220, 60), (50, 110, 255)
BOX_COLOR: Color = (255, 214, 10)
LANDMARK_COLOR: Color = (0, 230, 255)
TRUTH_COLOR: Color = GREEN
OUTLINE_COLOR: Color = (0, 0, 0)

# cv2 takes fixed-point coordinates with this many fractional bits.
_FRACTION_BITS = 4
# Far beyond any picture, yet within cv2's integers.
_COORDINATE_LIMIT = 1e6
# Dots of greater radius cover any picture, and cv2 would draw them for minutes.
_LARGEST_RADIUS = 1e4


def line_width(size_hw: Sequence[int]) -> int:
    """Pixels, such that lines look alike in pictures of any size."""
    return max(1, round(math.hypot(*size_hw[:2]) / 350))


def _fixed_point(point: np.ndarray) -> tuple[int, int]:
    limited = np.clip(point, -_COORDINATE_LIMIT, _COORDINATE_LIMIT) * 2**_FRACTION_BITS
    x, y = limited.round().astype(int).tolist()
    return x, y


def draw_line(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, color: Color, width: int
) -> None:
    """Draws an anti-aliased line between two points (2,) in pixels."""
    # cv2 counts from pixel centres, our coordinates from the same: no half-pixel shift.
    ends = _fixed_point(start), _fixed_point(end)
    cv2.line(picture, *ends, color, width, cv2.LINE_AA, _FRACTION_BITS)


def draw_rectangle(picture: np.ndarray, box: np.ndarray, color: Color, width: int) -> None:
    """Draws the outline of a box (4,), left, top, right, bottom, on a dark edge."""
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    for layer_color, layer_width in ((OUTLINE_COLOR, width + 2), (color, width)):
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            draw_line(picture, start, end, layer_color, layer_width)


def draw_dots(picture: np.ndarray, points: np.ndarray, color: Color, radius: float) -> None:
    """Draws discs at points (N, 2) in pixels; those that are not finite are left out."""
    fixed_radius = max(1, round(min(radius, _LARGEST_RADIUS) * 2**_FRACTION_BITS))
    for point in points[np.isfinite(points).all(-1)]:
        center = _fixed_point(point)
        cv2.circle(picture, center, fixed_radius, color, -1, cv2.LINE_AA, _FRACTION_BITS)


@lru_cache(maxsize=256)
def _label_patch(text: str, font_size: int, background: Color) -> np.ndarray:
    font = ImageFont.load_default(size=font_size)
    left, top, right, bottom = font.getbbox(text)
    # A common height for all labels, whatever letters they hold.
    _, tallest, _, lowest = font.getbbox("0Ag")
    margin = max(2, font_size // 5)
    top, bottom = min(top, tallest), max(bottom, lowest)
    size = math.ceil(right - left) + 2 * margin, math.ceil(bottom - top) + 2 * margin
    patch = Image.new("RGB", size, background)
    ImageDraw.Draw(patch).text((margin - left, margin - top), text, (0, 0, 0), font)
    return np.asarray(patch)


def draw_label(
    picture: np.ndarray, text: str, box: np.ndarray, font_size: int, background: Color
) -> None:
    """Above the box's left top corner; where the picture ends there, inside the box."""
    patch = _label_patch(text, font_size, background)
    height, width = picture.shape[:2]
    label_height, label_width = min(patch.shape[0], height), min(patch.shape[1], width)
    x = int(np.clip(round(box[0]), 0, width - label_width))
    y = round(box[1]) - label_height
    y = int(np.clip(y if y >= 0 else round(box[1]), 0, height - label_height))
    picture[y : y + label_height, x : x + label_width] = patch[:label_height, :label_width]


def font_size_for(size_hw: Sequence[int], face_size: float) -> int:
    """Letters' height in pixels that suits a face of so many pixels in a picture of a size."""
    largest = max(12, round(math.hypot(*size_hw[:2]) / 40))
    return int(np.clip(round(face_size / 4), 10, largest))


def fill_polygon(picture: np.ndarray, corners: np.ndarray, color: Color, opacity: float) -> None:
    """Lays a colour over a convex polygon (N, 2) in pixels."""
    height, width = picture.shape[:2]
    low = np.clip(np.floor(corners.min(axis=0)), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, [width, height]).astype(int)
    if (low >= high).any():
        return
    part = picture[low[1] : high[1], low[0] : high[0]]
    filled = part.copy()
    fixed = np.array([_fixed_point(corner - low) for corner in corners], dtype=np.int32)
    cv2.fillConvexPoly(filled, fixed, color, cv2.LINE_AA, _FRACTION_BITS)
    part[:] = (part * (1 - opacity) + filled * opacity).round()
