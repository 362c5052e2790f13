"""Pictures drawn onto a canvas, with their poses in its camera.

All changes of place are gathered into one similarity and done with one interpolation. Pixel
coordinates are continuous: the first pixel reaches from 0 to 1, a mirrored x is width - x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from img2pose.data.transforms.pictures import Picture, paint_out, projected_points
from img2pose.geometry import (
    boxes_from_points,
    image_intrinsics,
    mirror_plane,
    mirror_poses,
    transform_poses,
)
from img2pose.references import PoseReferences

# A face with a smaller share of its points in its window is painted out.
MIN_VISIBLE_POINTS = 0.5

Color: TypeAlias = tuple[int, int, int]
BLACK: Color = (0, 0, 0)


def warp_pixels(
    pixels: np.ndarray, similarity: np.ndarray, size_hw: tuple[int, int], border: Color = BLACK
) -> np.ndarray:
    """Draws a picture moved by a similarity, shrunk by area where it gets smaller.

    Args:
        pixels: (H, W, 3) uint8.
        similarity: (2, 3) map of pixel coordinates from `pixels` to the result; may mirror.
        size_hw: Size of the result.
        border: Colour outside the picture.

    Returns:
        (size_hw, 3) uint8.
    """
    if _moves_whole_pixels(similarity):
        return _move_whole_pixels(pixels, similarity, size_hw, border)
    scale = math.sqrt(abs(np.linalg.det(similarity[:, :2])))
    if scale < 0.9:
        height, width = pixels.shape[:2]
        small_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, small_wh, interpolation=cv2.INTER_AREA)
        shrunk = np.array([small_wh[0] / width, small_wh[1] / height])
        similarity = np.column_stack([similarity[:, :2] / shrunk, similarity[:, 2]])
    # OpenCV counts from the first pixel's centre.
    half = np.full(2, 0.5)
    offset = similarity[:, 2] + similarity[:, :2] @ half - half
    matrix = np.column_stack([similarity[:, :2], offset])
    return cv2.warpAffine(pixels, matrix, size_hw[::-1], flags=cv2.INTER_LINEAR, borderValue=border)


def _moves_whole_pixels(similarity: np.ndarray) -> bool:
    """Whether a picture is only shifted, mirrored or cut: the published augmentation."""
    kept_or_mirrored = np.array_equal(np.abs(similarity[:, :2]), np.eye(2))
    whole = np.array_equal(similarity[:, 2], np.floor(similarity[:, 2]))
    return kept_or_mirrored and whole and similarity[1, 1] == 1


def _move_whole_pixels(
    pixels: np.ndarray, similarity: np.ndarray, size_hw: tuple[int, int], border: Color
) -> np.ndarray:
    """What `warp_pixels` gives, without an interpolation."""
    height, width = pixels.shape[:2]
    x, y = similarity[:, 2].astype(int).tolist()
    if similarity[0, 0] < 0:
        pixels = pixels[:, ::-1]
        x -= width
    left, right = min(max(x, 0), size_hw[1]), min(max(x + width, 0), size_hw[1])
    top, bottom = min(max(y, 0), size_hw[0]), min(max(y + height, 0), size_hw[0])
    moved = np.empty((*size_hw, 3), dtype=np.uint8)
    if (left, top, right, bottom) != (0, 0, size_hw[1], size_hw[0]):
        moved[:] = border
    moved[top:bottom, left:right] = pixels[top - y : bottom - y, left - x : right - x]
    return moved


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture and where it goes on a canvas.

    Attributes:
        picture: The picture.
        similarity: (2, 3) map from the (mirrored) picture's pixels to the canvas's.
        window: Left, top, right, bottom on the canvas in whole pixels; nothing is drawn outside.
        mirror: Whether the picture is mirrored first.
        border: Colour where the window reaches beyond the picture.
    """

    picture: Picture
    similarity: np.ndarray
    window: tuple[int, int, int, int]
    mirror: bool = False
    border: Color = BLACK


class Composer:
    """Draws pictures onto a canvas and re-expresses their poses in its camera."""

    def __init__(self, references: PoseReferences, min_face_pixels: float) -> None:
        self.references = references
        self.min_face_pixels = min_face_pixels
        self._mirror_normal, self._mirror_offset = mirror_plane(references.points_68)

    def compose(
        self,
        tiles: Sequence[Tile],
        size_hw: tuple[int, int],
        change_pixels: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels,
    ) -> Picture:
        """One picture from tiles, drawn in their order.

        Faces that lie less than half in their window, or are too small, are painted out.

        Args:
            tiles: At least one; their windows should not overlap.
            size_hw: Height and width of the canvas in pixels; what tiles leave free is black.
            change_pixels: Applied to the pixels (H, W, 3) uint8 of each window.
        """
        canvas = np.zeros((*size_hw, 3), dtype=np.uint8)
        for tile in tiles:
            left, top, right, bottom = tile.window
            map_xy = tile.similarity - [[0, 0, left], [0, 0, top]]
            if tile.mirror:
                width = tile.picture.size_hw[1]
                map_xy = map_xy @ np.array([[-1.0, 0, width], [0, 1.0, 0], [0, 0, 1.0]])
            drawn = warp_pixels(
                tile.picture.pixels, map_xy, (bottom - top, right - left), tile.border
            )
            canvas[top:bottom, left:right] = change_pixels(drawn)
        poses, windows = self.poses_on_canvas(tiles, size_hw)
        return self._without_cut_faces(Picture(canvas, poses), windows)

    def poses_on_canvas(
        self, tiles: Sequence[Tile], size_hw: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Poses (N, 6) on the canvas and windows (N, 4) of all tiles' faces, cut or not."""
        counts = [len(tile.picture.poses_in_image) for tile in tiles]
        poses = np.concatenate([tile.picture.poses_in_image for tile in tiles])
        windows = np.repeat([tile.window for tile in tiles], counts, axis=0)
        if len(poses) == 0:
            return poses, windows
        cameras = np.stack([image_intrinsics(*tile.picture.size_hw) for tile in tiles])
        mirrored = np.array([tile.mirror for tile in tiles])
        widths = np.array([tile.picture.size_hw[1] for tile in tiles])
        cameras[mirrored, 0, 2] = (widths - cameras[:, 0, 2])[mirrored]
        face_mirrored = np.repeat(mirrored, counts)
        if face_mirrored.any():
            poses[face_mirrored] = mirror_poses(
                poses[face_mirrored], self._mirror_normal, self._mirror_offset
            )
        similarities = np.repeat([tile.similarity for tile in tiles], counts, axis=0)
        cameras = np.repeat(cameras, counts, axis=0)
        return transform_poses(poses, similarities, cameras, image_intrinsics(*size_hw)), windows

    def _without_cut_faces(self, picture: Picture, windows: np.ndarray) -> Picture:
        poses = picture.poses_in_image
        if len(poses) == 0:
            return picture
        points = projected_points(picture, self.references)
        low, high = windows[:, None, :2], windows[:, None, 2:]
        inside = ((points >= low) & (points <= high)).all(-1).mean(1)
        in_front = poses[:, 5] > 0
        large = np.ptp(points, axis=1).min(1) >= self.min_face_pixels
        # A box holds its face's points: the boxes of whole faces need not be made.
        if ((inside == 1) & in_front & large).all():
            return picture
        boxes = boxes_from_points(points, poses, picture.size_hw)
        boxes[:, :2] = np.maximum(boxes[:, :2], windows[:, :2])
        boxes[:, 2:] = np.minimum(boxes[:, 2:], windows[:, 2:])
        sides = (boxes[:, 2:] - boxes[:, :2]).min(1)
        kept = (inside >= MIN_VISIBLE_POINTS) & (sides >= self.min_face_pixels) & in_front
        pixels = paint_out(picture.pixels, boxes[~kept & (inside > 0)], boxes[kept])
        return Picture(pixels, poses[kept])
