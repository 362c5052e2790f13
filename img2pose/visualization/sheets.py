"""Pictures side by side, with captions."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from img2pose.visualization.primitives import BOX_COLOR, Color, draw_label

SHEET_COLOR: Color = (32, 32, 32)


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
    draw_label(picture, text, np.zeros(4), font_size, BOX_COLOR)
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
