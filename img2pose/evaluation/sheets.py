"""Contact sheets of predictions over their truth."""

from __future__ import annotations

import numpy as np

from img2pose.data.annotations import Annotation
from img2pose.evaluation.pictures import PictureSource
from img2pose.inference.detector import Detector
from img2pose.references import PoseReferences
from img2pose.types import FaceDetections
from img2pose.visualization import contact_sheet, draw_faces, draw_points, fit_into

SHEET_CELL = 480


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
