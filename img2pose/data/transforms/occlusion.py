"""Things that stand before faces: shapes filled with a colour, noise or a piece of the picture."""

from __future__ import annotations

import cv2
import numpy as np

from img2pose.config import DataConfig
from img2pose.data.transforms.pictures import Picture, face_boxes, paint_out, projected_points
from img2pose.references import PoseReferences

# cv2 takes fixed-point coordinates with this many fractional bits.
_FRACTION_BITS = 4


class Occlusion:
    """Covers parts of faces, and as many other places, as `DataConfig` says.

    Labels stay, as those of faces behind hands and microphones do in data sets; a face of which
    more is hidden than `occlusion_max_hidden` allows is painted out. Without the occluders
    elsewhere a network could learn that whatever stands out of a picture is a face.
    """

    def __init__(self, config: DataConfig, references: PoseReferences) -> None:
        self.config = config
        self.references = references

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """Draws occluders; without faces or with a probability of 0 nothing is drawn."""
        config = self.config
        if config.occlusion_probability == 0 or len(picture.poses_in_image) == 0:
            return picture
        boxes = face_boxes(picture, self.references)
        covered = boxes[rng.random(len(boxes)) < config.occlusion_probability]
        covered = covered[(covered[:, 2:] > covered[:, :2]).all(1)]
        if len(covered) == 0:
            return picture
        size_wh = np.array(picture.size_hw[::-1], dtype=float)
        on_faces = covered[:, :2] + rng.random((len(covered), 2)) * (
            covered[:, 2:] - covered[:, :2]
        )
        elsewhere = rng.random((len(covered), 2)) * size_wh
        sides = np.tile(covered[:, 2:] - covered[:, :2], (2, 1))
        sides *= rng.uniform(*config.occlusion_size, sides.shape)
        pixels = picture.pixels.copy()
        hidden = np.zeros(picture.size_hw, dtype=np.uint8)
        for center, side in zip(np.concatenate([on_faces, elsewhere]), sides, strict=True):
            self._cover(pixels, hidden, center, side, picture, boxes, rng)
        return self._without_hidden_faces(Picture(pixels, picture.poses_in_image), hidden, boxes)

    def _cover(
        self,
        pixels: np.ndarray,
        hidden: np.ndarray,
        center_xy: np.ndarray,
        sides_wh: np.ndarray,
        picture: Picture,
        boxes_xyxy: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Draws one shape into `pixels` and, as ones, into `hidden`."""
        angle_deg, ellipse = rng.uniform(0.0, 180.0), rng.random() < 0.5
        reach = np.hypot(*sides_wh) / 2
        size_wh = picture.size_hw[::-1]
        left, top = np.floor(center_xy - reach).clip(0, size_wh).astype(int)
        right, bottom = np.ceil(center_xy + reach).clip(0, size_wh).astype(int)
        fill = _draw_fill(picture, (left, top, right, bottom), boxes_xyxy, rng)
        if fill.size == 0:
            return
        shape = np.zeros((bottom - top, right - left), dtype=np.uint8)
        # OpenCV counts from the first pixel's centre.
        local = center_xy - [left, top] - 0.5
        if ellipse:
            scaled = (np.concatenate([local, sides_wh / 2]) * 2**_FRACTION_BITS).round()
            x, y, a, b = scaled.astype(int).tolist()
            cv2.ellipse(shape, (x, y), (a, b), angle_deg, 0, 360, 1, -1, shift=_FRACTION_BITS)
        else:
            corners = cv2.boxPoints((local.tolist(), sides_wh.tolist(), angle_deg))
            fixed = (corners * 2**_FRACTION_BITS).round().astype(np.int32)
            cv2.fillConvexPoly(shape, fixed, 1, shift=_FRACTION_BITS)
        inside = shape.astype(bool)
        np.copyto(pixels[top:bottom, left:right], fill, where=inside[..., None])
        hidden[top:bottom, left:right] |= shape

    def _without_hidden_faces(
        self, picture: Picture, hidden: np.ndarray, boxes_xyxy: np.ndarray
    ) -> Picture:
        if self.config.occlusion_max_hidden >= 1:
            return picture
        points = np.floor(projected_points(picture, self.references)).astype(int)
        inside = ((points >= 0) & (points < picture.size_hw[::-1])).all(-1)
        x, y = np.where(inside[..., None], points, 0).transpose(2, 0, 1)
        shares = (hidden[y, x].astype(bool) & inside).mean(1)
        kept = shares <= self.config.occlusion_max_hidden
        pixels = paint_out(picture.pixels, boxes_xyxy[~kept], boxes_xyxy[kept])
        return Picture(pixels, picture.poses_in_image[kept])


def _draw_fill(
    picture: Picture,
    window: tuple[int, int, int, int],
    boxes_xyxy: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(bottom - top, right - left, 3) uint8: a colour, noise or another part of the picture."""
    left, top, right, bottom = window
    height, width = bottom - top, right - left
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    from_xy = np.floor(rng.random(2) * (np.array(picture.size_hw[::-1]) - (width, height) + 1))
    centers = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    shows_face = ((centers >= from_xy) & (centers <= from_xy + (width, height))).all(1).any()
    # A face without a label would be learnt as background.
    if kind == 1 or shows_face:
        color = rng.integers(0, 256, 3, dtype=np.uint8)
        return np.broadcast_to(color, (height, width, 3))
    x, y = from_xy.astype(int).tolist()
    return picture.pixels[y : y + height, x : x + width]
