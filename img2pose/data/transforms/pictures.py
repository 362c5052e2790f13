"""A picture with its faces, their boxes, and the painting out of faces that cannot be learnt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.references import PoseReferences


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and the faces in it that have a pose.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        poses_in_image: (N, 6) float64 in the camera `image_intrinsics(H, W)`.
    """

    pixels: np.ndarray
    poses_in_image: np.ndarray

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


def projected_points(picture: Picture, references: PoseReferences) -> np.ndarray:
    """(N, 68, 2) float64 pixels: the reference points in the faces' poses."""
    if len(picture.poses_in_image) == 0:
        return np.zeros((0, len(references.points_68), 2))
    camera = image_intrinsics(*picture.size_hw)
    points: np.ndarray = project_points(references.points_68, picture.poses_in_image, camera)
    return points


def face_boxes(picture: Picture, references: PoseReferences) -> np.ndarray:
    """(N, 4) float64 boxes that training matches proposals to: 1.1, 1.1, 0.3, clipped."""
    if len(picture.poses_in_image) == 0:
        return np.zeros((0, 4))
    points = projected_points(picture, references)
    boxes: np.ndarray = boxes_from_points(points, picture.poses_in_image, picture.size_hw)
    return boxes


def _set_boxes(mask: np.ndarray, boxes_xyxy: np.ndarray, value: bool) -> None:
    height, width = mask.shape
    low = np.floor(boxes_xyxy[:, :2]).clip(0, [width, height]).astype(int)
    high = np.ceil(boxes_xyxy[:, 2:]).clip(0, [width, height]).astype(int)
    for (left, top), (right, bottom) in zip(low, high, strict=True):
        mask[top:bottom, left:right] = value


def paint_out(
    pixels: np.ndarray, boxes_xyxy: np.ndarray, spared_boxes_xyxy: np.ndarray
) -> np.ndarray:
    """Blackens boxes: faces that must be learnt neither as faces nor as background.

    Args:
        pixels: (H, W, 3) uint8.
        boxes_xyxy: (N, 4) to blacken.
        spared_boxes_xyxy: (M, 4) of labelled faces, which stay whole.

    Returns:
        A copy, or `pixels` itself where nothing is to be done.
    """
    if len(boxes_xyxy) == 0:
        return pixels
    mask = np.zeros(pixels.shape[:2], dtype=bool)
    _set_boxes(mask, boxes_xyxy, True)
    _set_boxes(mask, spared_boxes_xyxy, False)
    painted = pixels.copy()
    painted[mask] = 0
    return painted
