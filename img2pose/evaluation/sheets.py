"""Contact sheets of predictions over their truth."""

from __future__ import annotations

import cv2
import numpy as np

from img2pose.data.annotations import Annotation
from img2pose.detections import FaceDetections
from img2pose.evaluation.pictures import PictureSource
from img2pose.inference.detector import Detector
from img2pose.references import PoseReferences
from img2pose.visualization import (
    TRUTH_COLOR,
    contact_sheet,
    draw_boxes,
    draw_faces,
    draw_points,
    fit_into,
)

SHEET_CELL = 480
CASE_CELL = 400


def evenly_spaced(count: int, length: int) -> list[int]:
    """Rising indices from the first to the last of `length` things; all if there are too few."""
    chosen: list[int] = np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()
    return chosen


def prediction_cell(
    picture: np.ndarray,
    annotation: Annotation,
    detections: FaceDetections,
    references: PoseReferences,
    cell: int = SHEET_CELL,
) -> np.ndarray:
    """One picture of a sheet: all given faces with box, score and axes, annotated landmarks green.

    Args:
        picture: (H, W, 3) uint8 RGB.
        annotation: Its faces; landmarks that are not wholly known are left out.
        detections: Faces in pixels and camera of the picture.
        references: The reference face of the poses.
        cell: Side of the square in pixels.

    Returns:
        (cell, cell, 3) uint8 RGB.
    """
    # Dots of 1.2 pixels once the picture is scaled to its cell.
    radius = max(1.0, 1.2 * max(picture.shape[:2]) / cell)
    drawing = draw_faces(picture, detections, references)
    for points, known in zip(annotation.landmarks, annotation.has_landmarks, strict=True):
        if known:
            drawing = draw_points(drawing, points, radius=radius)
    return fit_into(drawing, cell)


def crop_detections(detections: FaceDetections, window: np.ndarray, scale: float) -> FaceDetections:
    """Detections in the pixels and camera of an enlarged part of their picture.

    Args:
        detections: In the whole picture.
        window: (4,) int, left, top, right, bottom of the part in pixels.
        scale: Its enlargement.
    """
    left, top, right, bottom = window.tolist()
    shift = np.array([[scale, 0, -scale * left], [0, scale, -scale * top], [0, 0, 1]])
    corner = np.array([left, top, left, top])
    size_hw = round(scale * (bottom - top)), round(scale * (right - left))
    return FaceDetections(
        detections.poses,
        scale * (detections.boxes - corner),
        detections.scores,
        shift @ detections.intrinsics,
        size_hw,
    )


def window_around(box: np.ndarray, size_hw: tuple[int, int], margin: float = 0.75) -> np.ndarray:
    """(4,) int: a square about a box with a margin of so many of its longer sides, in the picture.

    Args:
        box: (4,) pixels.
        size_hw: Of the picture; where the square would leave it, it is cut.
        margin: On each side.
    """
    centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    reach = max(8.0, side * (0.5 + margin))
    limits = np.array([*size_hw[::-1]])
    low = np.clip(np.floor(centre - reach), 0, limits - 1)
    high = np.clip(np.ceil(centre + reach), low + 1, limits)
    return np.concatenate([low, high]).astype(int)


def face_cell(
    picture: np.ndarray,
    annotation: Annotation,
    detections: FaceDetections,
    references: PoseReferences,
    box: np.ndarray,
    *,
    box_is_truth: bool = True,
    cell: int = CASE_CELL,
) -> np.ndarray:
    """The surroundings of one face, enlarged: what is annotated in green, what is found over it.

    Args:
        picture: (H, W, 3) uint8 RGB.
        annotation: Its faces: landmarks, or the box alone where they are not known.
        detections: Faces in pixels and camera of the picture.
        references: The reference face of the poses.
        box: (4,) pixels, what to show.
        box_is_truth: Draw that box in green too.
        cell: Side of the square in pixels.

    Returns:
        (cell, cell, 3) uint8 RGB.
    """
    height, width = picture.shape[:2]
    window = window_around(np.asarray(box, dtype=np.float64), (height, width))
    left, top, right, bottom = window.tolist()
    corner = np.array([left, top])
    part = picture[top:bottom, left:right]
    # Drawn at its final size, or the lines and letters of a small face would be enlarged too.
    scale = cell / max(part.shape[:2])
    inside = crop_detections(detections, window, scale)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = cv2.resize(part, inside.size_hw[::-1], interpolation=interpolation)
    truth_boxes = annotation.boxes_xyxy[~annotation.has_landmarks]
    if box_is_truth:
        truth_boxes = np.concatenate([truth_boxes, np.reshape(box, (1, 4))])
    drawing = draw_boxes(part, scale * (truth_boxes - np.tile(corner, 2)), TRUTH_COLOR)
    drawing = draw_faces(drawing, inside, references)
    for points, known in zip(annotation.landmarks, annotation.has_landmarks, strict=True):
        if known:
            drawing = draw_points(drawing, scale * (points - corner), radius=1.6)
    return fit_into(drawing, cell)


def prediction_sheet(
    pictures: PictureSource,
    detector: Detector,
    count: int,
    score_threshold: float = 0.5,
    cell: int = SHEET_CELL,
    columns: int = 4,
) -> np.ndarray:
    """Detects faces in evenly spaced pictures and draws them; see `prediction_cell`.

    Args:
        pictures: Annotated pictures.
        detector: Its own score threshold holds too.
        count: Pictures to draw; all if there are not as many.
        score_threshold: Faces with a greater score are drawn.
        cell: Side of each picture's square in pixels.
        columns: Pictures in a row.

    Returns:
        (rows * cell, columns * cell, 3) uint8 RGB; as many columns as are needed for one row.

    Raises:
        InputError: A picture is damaged or missing.
        ValueError: There is nothing to draw, or a size is not positive.
    """
    cells = []
    for index in evenly_spaced(count, len(pictures)):
        annotation, picture = pictures[index]
        detections = detector.predict(picture).above(score_threshold)
        cells.append(prediction_cell(picture, annotation, detections, detector.references, cell))
    return contact_sheet(cells, columns, cell)
