"""Drawing on pictures: boxes, scores, pose axes, landmarks, contact sheets.

Pictures are uint8 RGB arrays (H, W, 3). Nothing is drawn in place. Lines and letters grow with the
picture, so that a drawing is legible at any resolution once it is scaled to a screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from img2pose.geometry import project_points
from img2pose.references import PoseReferences
from img2pose.types import FaceDetections

Color = tuple[int, int, int]

RED, GREEN, BLUE = (255, 48, 48), (40, 220, 60), (50, 110, 255)
BOX_COLOR: Color = (255, 214, 10)
LANDMARK_COLOR: Color = (0, 230, 255)
TRUTH_COLOR: Color = GREEN
OUTLINE_COLOR: Color = (0, 0, 0)
SHEET_COLOR: Color = (32, 32, 32)

# cv2 takes fixed-point coordinates with this many fractional bits.
_FRACTION_BITS = 4
# Far beyond any picture, yet within cv2's integers.
_COORDINATE_LIMIT = 1e6
# Reference units; what lies nearer to the camera's plane is not drawn.
_MIN_DEPTH = 1e-3


def _line_width(size_hw: Sequence[int]) -> int:
    return max(1, round(math.hypot(*size_hw[:2]) / 350))


def _fixed_point(point: np.ndarray) -> tuple[int, int]:
    limited = np.clip(point, -_COORDINATE_LIMIT, _COORDINATE_LIMIT) * 2**_FRACTION_BITS
    x, y = limited.round().astype(int).tolist()
    return x, y


def _draw_line(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, color: Color, width: int
) -> None:
    # cv2 counts from pixel centres, our coordinates from the same: no half-pixel shift.
    ends = _fixed_point(start), _fixed_point(end)
    cv2.line(picture, *ends, color, width, cv2.LINE_AA, _FRACTION_BITS)


def _draw_box(picture: np.ndarray, box: np.ndarray, color: Color, width: int) -> None:
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    for layer_color, layer_width in ((OUTLINE_COLOR, width + 2), (color, width)):
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            _draw_line(picture, start, end, layer_color, layer_width)


def _draw_dots(picture: np.ndarray, points: np.ndarray, color: Color, radius: float) -> None:
    fixed_radius = max(1, round(radius * 2**_FRACTION_BITS))
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


def _draw_label(
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


def _draw_axes(
    picture: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray, length: float, width: int
) -> None:
    ends_in_face = length * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, -1]], np.float64)
    origin, *tips = project_points(ends_in_face, pose[None], intrinsics)[0]
    if not np.isfinite([origin, *tips]).all():
        return
    # The axis that points at the viewer lies over the others.
    for tip, color in zip(tips, (RED, GREEN, BLUE), strict=True):
        _draw_line(picture, origin, tip, OUTLINE_COLOR, width + 2)
        _draw_line(picture, origin, tip, color, width)
        _draw_dots(picture, tip[None], color, 1.2 * width)


def _is_drawable(detections: FaceDetections, length: float) -> np.ndarray:
    in_front: np.ndarray = detections.poses[:, 5] > length + _MIN_DEPTH
    in_front &= np.isfinite(detections.poses).all(-1) & np.isfinite(detections.boxes).all(-1)
    return in_front


def draw_faces(
    image: np.ndarray,
    detections: FaceDetections,
    references: PoseReferences,
    *,
    axes: bool = True,
    boxes: bool = True,
    scores: bool = True,
    landmarks: bool = False,
) -> np.ndarray:
    """Draws faces, the farther ones first, so that nearer ones lie over them.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Faces in pixels and camera of this image.
        references: The reference face of the poses.
        axes: The face's own axes from its origin (in the middle of the head), each half as long as
            the face is wide: x red, toward the picture's right in a frontal face; y green, toward
            the chin; -z blue, out of the face toward where it looks (+z points into the head).
        boxes: The faces' boxes.
        scores: Each score, with two digits, over its box.
        landmarks: The 68 reference points projected with the pose.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    length = float(np.ptp(references.points_68[:, 0])) / 2
    width = _line_width(picture.shape)
    drawable = _is_drawable(detections, length)
    for face in np.argsort(-detections.poses[:, 5], kind="stable"):
        pose, box = detections.poses[face], detections.boxes[face]
        if not drawable[face]:
            continue
        face_size = float((box[2:] - box[:2]).mean())
        # Lines thinner than a thirtieth of the face leave small faces visible.
        face_width = max(1, min(width, round(face_size / 30)))
        if boxes:
            _draw_box(picture, box, BOX_COLOR, face_width)
        if landmarks:
            points = project_points(references.points_68, pose[None], detections.intrinsics)[0]
            _draw_dots(picture, points, LANDMARK_COLOR, max(1.0, 0.008 * face_size))
        if axes:
            _draw_axes(picture, pose, detections.intrinsics, length, face_width)
        if scores:
            font_size = _font_size(picture.shape, face_size)
            _draw_label(picture, f"{detections.scores[face]:.2f}", box, font_size, BOX_COLOR)
    return picture


def draw_boxes(image: np.ndarray, boxes_xyxy: np.ndarray, color: Color = BOX_COLOR) -> np.ndarray:
    """Draws boxes.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: (N, 4) pixels; those that are not finite are left out.
        color: RGB.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    width = _line_width(picture.shape)
    for box in boxes_xyxy[np.isfinite(boxes_xyxy).all(-1)]:
        face_size = float((box[2:] - box[:2]).mean())
        _draw_box(picture, box, color, max(1, min(width, round(face_size / 30))))
    return picture


def draw_caption(image: np.ndarray, text: str, font_size: int = 16) -> np.ndarray:
    """Writes one line into the picture's left top corner.

    Args:
        image: (H, W, 3) uint8 RGB.
        text: Cut off where the picture ends.
        font_size: Pixels.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    _draw_label(picture, text, np.zeros(4), font_size, BOX_COLOR)
    return picture


def _font_size(size_hw: Sequence[int], face_size: float) -> int:
    largest = max(12, round(math.hypot(*size_hw[:2]) / 40))
    return int(np.clip(round(face_size / 4), 10, largest))


def draw_points(
    image: np.ndarray,
    points: np.ndarray,
    color: Color = TRUTH_COLOR,
    radius: float | None = None,
) -> np.ndarray:
    """Draws dots.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (..., 2) pixels; those that are not finite are left out.
        color: RGB.
        radius: Pixels; by default it grows with the extent of the points, such as a face's.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    flat = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    flat = flat[np.isfinite(flat).all(-1)]
    if len(flat):
        extent = float(np.ptp(flat, axis=0).max())
        _draw_dots(picture, flat, color, max(1.0, 0.008 * extent) if radius is None else radius)
    return picture


def fit_into(image: np.ndarray, cell: int) -> np.ndarray:
    """The picture scaled into a square and centred on dark gray.

    Args:
        image: (H, W, 3) uint8 RGB.
        cell: Side of the square in pixels.

    Returns:
        (cell, cell, 3) uint8.
    """
    height, width = image.shape[:2]
    scale = cell / max(height, width)
    new_width, new_height = max(1, round(scale * width)), max(1, round(scale * height))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image, (new_width, new_height), interpolation=interpolation)
    square = np.full((cell, cell, 3), SHEET_COLOR, dtype=np.uint8)
    x, y = (cell - new_width) // 2, (cell - new_height) // 2
    square[y : y + new_height, x : x + new_width] = scaled
    return square


def contact_sheet(images: Iterable[np.ndarray], columns: int = 4, cell: int = 480) -> np.ndarray:
    """Pictures side by side, row by row.

    Args:
        images: (H, W, 3) uint8 RGB each, at least one.
        columns: Pictures in a row.
        cell: Side of the square that each is scaled into, pixels.

    Returns:
        (rows * cell, columns * cell, 3) uint8; as many columns as are needed for a single row.

    Raises:
        ValueError: There are no pictures, or a size is not positive.
    """
    if columns < 1 or cell < 1:
        raise ValueError(f"columns and cell must be positive: {columns}, {cell}")
    cells = [fit_into(image, cell) for image in images]
    if not cells:
        raise ValueError("a contact sheet needs at least one picture")
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    blank = np.full((cell, cell, 3), SHEET_COLOR, dtype=np.uint8)
    cells += [blank] * (rows * columns - len(cells))
    grid = [np.concatenate(cells[row * columns :][:columns], axis=1) for row in range(rows)]
    return np.concatenate(grid, axis=0)
