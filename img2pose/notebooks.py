"""Shows pictures, tables and plots in a notebook, each as one small output.

Pictures become JPEGs of modest size, so that a notebook with its outputs stays a small file; text
for those who do not see them goes with them. Needs IPython, which every notebook brings.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from img2pose.detections import FaceDetections
from img2pose.evaluation.report import Case, Cell, Plot, Table
from img2pose.references import FaceMesh, PoseReferences, default_mesh
from img2pose.visualization import draw_caption, draw_faces, draw_overlay

_JPEG_QUALITY = 80
# Pixels of white between pictures.
_GAP = 6
_BACKGROUND = (214, 218, 224)
_HEAD_COLOR = (226, 196, 172)


def show_pictures(
    pictures: Iterable[np.ndarray],
    captions: Sequence[str] | None = None,
    *,
    alt: str = "",
    columns: int = 4,
    height: int = 220,
) -> None:
    """Shows pictures in rows of equal height.

    Args:
        pictures: (H, W, 3) uint8 RGB each, at least one.
        captions: A line for each, written into its corner.
        alt: What they show, for those who do not see them.
        columns: Pictures in a row.
        height: That each is scaled to, pixels.

    Raises:
        ValueError: There are no pictures, or another number of captions.
    """
    scaled = [_scaled(picture, height) for picture in pictures]
    if not scaled:
        raise ValueError("no pictures to show")
    if captions is not None:
        scaled = [
            draw_caption(picture, caption, font_size=max(11, height // 16))
            for picture, caption in zip(scaled, captions, strict=True)
        ]
    rows = [_joined(scaled[start : start + columns], 1) for start in range(0, len(scaled), columns)]
    _show_jpeg(_joined(rows, 0), alt)


def _scaled(picture: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _joined(pictures: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Below each other (axis 0) or side by side (1), on white, with white between them."""
    across = max(picture.shape[1 - axis] for picture in pictures)
    padded = []
    for number, picture in enumerate(pictures):
        missing = [(0, 0), (0, 0), (0, 0)]
        missing[1 - axis] = (0, across - picture.shape[1 - axis])
        missing[axis] = (_GAP if number else 0, 0)
        padded.append(np.pad(picture, missing, constant_values=255))
    return np.concatenate(padded, axis=axis)


def show_picture(picture: np.ndarray, *, alt: str = "", longest_side: int = 640) -> None:
    """Shows one picture.

    Args:
        picture: (H, W, 3) uint8 RGB.
        alt: What it shows, for those who do not see it.
        longest_side: Larger ones are reduced to it, pixels.
    """
    reduced = Image.fromarray(picture)
    reduced.thumbnail((longest_side, longest_side))
    _show_jpeg(np.asarray(reduced), alt)


def _show_jpeg(picture: np.ndarray, alt: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=_JPEG_QUALITY)
    _display_image(buffer.getvalue(), "jpeg", alt)


def _display_image(content: bytes, kind: str, alt: str, width: int | None = None) -> None:
    from IPython import display

    display.display(display.Image(data=content, format=kind, alt=alt, width=width))


def show_table(table: Table) -> None:
    """Shows a table of an evaluation."""
    from IPython import display

    display.display(display.Markdown(table.markdown()))


def show_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    digits: Sequence[int | None] | None = None,
    title: str = "",
) -> None:
    """Shows rows as a table; see `Table`."""
    show_table(Table(title, columns, list(rows), digits))


def show_plot(plot: Plot) -> None:
    """Shows a plot of an evaluation."""
    _display_image(plot.png, "png", plot.title, width=900 if plot.is_wide else 520)


def show_cases(cases: Sequence[Case], *, columns: int = 5, height: int = 400) -> None:
    """Shows cases of an evaluation with their captions below; for the rest see `show_pictures`."""
    pictures, titles = [case.picture for case in cases], [case.title for case in cases]
    show_pictures(pictures, alt="; ".join(titles), columns=columns, height=height)
    show_rows(("case", "what is the matter"), [(case.title, case.caption) for case in cases])


def draw_heads(
    poses: np.ndarray,
    size_hw: tuple[int, int] = (240, 240),
    intrinsics: np.ndarray | None = None,
    *,
    background: np.ndarray | None = None,
    mesh: FaceMesh | None = None,
    axes: bool = True,
) -> np.ndarray:
    """Draws the reference head in given poses, with its axes.

    Args:
        poses: (6,) or (N, 6) in the camera of the picture.
        size_hw: Height and width of the picture in pixels; that of `background` counts.
        intrinsics: (3, 3); None: `image_intrinsics` of the size.
        background: (H, W, 3) uint8 RGB; None: plain gray.
        mesh: In the reference frame; None: the whole head.
        axes: See `draw_faces`.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if background is None:
        background = np.full((*size_hw, 3), _BACKGROUND, dtype=np.uint8)
    size_hw = (background.shape[0], background.shape[1])
    faces = FaceDetections.from_poses(np.reshape(poses, (-1, 6)), size_hw, intrinsics)
    head = default_mesh("head") if mesh is None else mesh
    drawn = draw_overlay(background, faces, head, color=_HEAD_COLOR)
    if not axes:
        return drawn
    return draw_faces(drawn, faces, PoseReferences.default(), boxes=False, scores=False)
