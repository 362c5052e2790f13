"""Changes of pictures that carry their poses along: every crop, turn and mirror is a new camera.

All changes of place are gathered into one similarity and done with one interpolation. Pixel
coordinates are continuous: the first pixel reaches from 0 to 1, a mirrored x is width - x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from img2pose.config import DataConfig
from img2pose.geometry import (
    boxes_from_points,
    image_intrinsics,
    in_plane_rotation,
    mirror_plane,
    mirror_poses,
    project_points,
    transform_poses,
)
from img2pose.references import PoseReferences

# A face with a smaller share of its points in the picture is painted out.
MIN_VISIBLE_POINTS = 0.5


@dataclass(frozen=True)
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


def face_boxes(picture: Picture, references: PoseReferences) -> np.ndarray:
    """(N, 4) float64 boxes that training matches proposals to: 1.1, 1.1, 0.3, clipped."""
    if len(picture.poses_in_image) == 0:
        return np.zeros((0, 4))
    camera = image_intrinsics(*picture.size_hw)
    points = project_points(references.points_68, picture.poses_in_image, camera)
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


def warp_pixels(
    pixels: np.ndarray, similarity: np.ndarray, size_hw: tuple[int, int], border: int = 0
) -> np.ndarray:
    """Draws a picture moved by a similarity, shrunk by area where it gets smaller.

    Args:
        pixels: (H, W, 3) uint8.
        similarity: (2, 3) map of pixel coordinates from `pixels` to the result; may mirror.
        size_hw: Size of the result.
        border: Grey level outside the picture.

    Returns:
        (size_hw, 3) uint8.
    """
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
    return cv2.warpAffine(
        pixels, matrix, size_hw[::-1], flags=cv2.INTER_LINEAR, borderValue=(border,) * 3
    )


@dataclass(frozen=True)
class Tile:
    """A picture and where it goes on a canvas.

    Attributes:
        picture: The picture.
        similarity: (2, 3) map from the (mirrored) picture's pixels to the canvas's.
        window: Left, top, right, bottom on the canvas in whole pixels; nothing is drawn outside.
        mirror: Whether the picture is mirrored first.
        border: Grey level where the window reaches beyond the picture.
    """

    picture: Picture
    similarity: np.ndarray
    window: tuple[int, int, int, int]
    mirror: bool = False
    border: int = 0


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
            tiles: Their windows should not overlap.
            size_hw: The canvas; what tiles leave free is black.
            change_pixels: Applied to the pixels of each window.
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
        poses, windows = self._poses_on_canvas(tiles, size_hw)
        return self._without_cut_faces(Picture(canvas, poses), windows)

    def _poses_on_canvas(
        self, tiles: Sequence[Tile], size_hw: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Poses (N, 6) and windows (N, 4) of all tiles' faces."""
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
        camera = image_intrinsics(*picture.size_hw)
        points = project_points(self.references.points_68, poses, camera)
        low, high = windows[:, None, :2], windows[:, None, 2:]
        inside = ((points >= low) & (points <= high)).all(-1).mean(1)
        boxes = boxes_from_points(points, poses, picture.size_hw)
        boxes[:, :2] = np.maximum(boxes[:, :2], windows[:, :2])
        boxes[:, 2:] = np.minimum(boxes[:, 2:], windows[:, 2:])
        sides = (boxes[:, 2:] - boxes[:, :2]).min(1)
        kept = (inside >= MIN_VISIBLE_POINTS) & (sides >= self.min_face_pixels)
        kept &= poses[:, 5] > 0
        pixels = paint_out(picture.pixels, boxes[~kept & (inside > 0)], boxes[kept])
        return Picture(pixels, poses[kept])


def _centered(matrix: np.ndarray, from_xy: np.ndarray, to_xy: np.ndarray) -> np.ndarray:
    return np.column_stack([matrix, to_xy - matrix @ from_xy])


class Augmentation:
    """Random changes of a whole picture, as `DataConfig` says."""

    def __init__(self, config: DataConfig, references: PoseReferences) -> None:
        self.config = config
        self.composer = Composer(references, config.min_face_pixels)

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """Draws one change; the same state of `rng` gives the same picture."""
        config = self.config
        height, width = picture.size_hw
        mirror = config.random_flip and rng.random() < 0.5
        size_wh = np.array([width, height], dtype=float)
        corner = np.zeros(2)
        if config.random_crop and rng.random() < 0.5:
            cropped = np.maximum(1, np.floor(size_wh * rng.uniform(0.7, 1.0, 2)))
            corner = np.floor(rng.random(2) * (size_wh - cropped + 1))
            size_wh = cropped
        angle_deg = rng.uniform(-config.rotation_deg, config.rotation_deg)
        scale = draw_scale(config.scale_range, rng)
        similarity = _centered(
            in_plane_rotation(angle_deg, scale), corner + size_wh / 2, size_wh / 2
        )
        size_hw = (int(size_wh[1]), int(size_wh[0]))
        untouched = not mirror and size_hw == picture.size_hw and angle_deg == 0 and scale == 1
        if not untouched:
            window = (0, 0, size_hw[1], size_hw[0])
            picture = self.composer.compose([Tile(picture, similarity, window, mirror)], size_hw)
        return replace(picture, pixels=self.change_colours(picture.pixels, rng))

    def change_colours(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Brightness, contrast, grayscale and noise, on (H, W, 3) uint8."""
        config = self.config
        gain = 1.0 + rng.uniform(-config.brightness, config.brightness)
        contrast = 1.0
        if config.contrast_augmentation and rng.random() < 0.5:
            contrast = rng.uniform(0.5, 1.5)
        if gain != 1 or contrast != 1:
            levels = np.arange(256)
            changed = gain * (contrast * levels + (1 - contrast) * pixels.mean())
            pixels = cv2.LUT(pixels, changed.round().clip(0, 255).astype(np.uint8))
        if rng.random() < config.grayscale_probability:
            gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            pixels = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
        if config.noise_augmentation and rng.random() < 0.2:
            pixels = add_noise(pixels, rng)
        return pixels


def draw_scale(scale_range: tuple[float, float], rng: np.random.Generator) -> float:
    """A factor between the two, log-uniform."""
    low, high = scale_range
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def add_noise(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian, salt and pepper or Poisson noise, drawn with equal chance.

    Args:
        pixels: (H, W, 3) uint8.
        rng: Random state.
    """
    kind = rng.integers(3)
    if kind == 0:
        noisy = pixels + rng.normal(0.0, 10.0, pixels.shape)
    elif kind == 1:
        noisy = pixels.copy()
        draws = rng.random(pixels.shape[:2])
        noisy[draws < 0.01] = 0
        noisy[draws > 0.99] = 255
    else:
        noisy = rng.poisson(pixels.astype(np.float64)).astype(np.float64)
    return np.clip(noisy, 0, 255).astype(np.uint8)


class Mosaic:
    """Square canvases of one or more pictures, each cropped around one of its faces."""

    def __init__(self, config: DataConfig, references: PoseReferences) -> None:
        self.config = config
        self.augment = Augmentation(config, references)
        low, high = references.points_68[:, :2].min(0), references.points_68[:, :2].max(0)
        # Side of a square as large as the box of a face that looks into the camera.
        self._face_extent = math.sqrt(np.prod((high - low) * (1.1, 1.4)))

    def draw_side(self, rng: np.random.Generator) -> int:
        """Tiles in a row and in a column.

        A canvas of many tiles teaches many faces at once, so it is drawn less often.
        """
        sides = np.arange(1, self.config.mosaic_max_side + 1)
        return int(rng.choice(sides, p=(1 / sides) / (1 / sides).sum()))

    def __call__(self, pictures: Sequence[Picture], rng: np.random.Generator) -> Picture:
        """Puts pictures on one canvas, row by row.

        Args:
            pictures: A square number of them.
            rng: Random state.
        """
        canvas = self.config.mosaic_canvas
        tiles_a_side = math.isqrt(len(pictures))
        edges = [canvas * index // tiles_a_side for index in range(tiles_a_side + 1)]
        tiles = []
        for index, picture in enumerate(pictures):
            row, column = divmod(index, tiles_a_side)
            window = (edges[column], edges[row], edges[column + 1], edges[row + 1])
            tiles.append(self._tile(picture, window, rng))
        return self.augment.composer.compose(
            tiles, (canvas, canvas), lambda pixels: self.augment.change_colours(pixels, rng)
        )

    def _tile(
        self, picture: Picture, window: tuple[int, int, int, int], rng: np.random.Generator
    ) -> Tile:
        config = self.config
        height, width = picture.size_hw
        left, top, right, bottom = window
        side = min(right - left, bottom - top)
        mirror = bool(config.random_flip and rng.random() < 0.5)
        if len(picture.poses_in_image):
            camera = image_intrinsics(height, width)
            _, _, _, x, y, z = picture.poses_in_image[rng.integers(len(picture.poses_in_image))]
            focus_xy = camera[:2, :2] @ [x / z, y / z] + camera[:2, 2]
            focus_pixels = camera[0, 0] * self._face_extent / z
        else:
            # Without a face any part of the picture will do.
            focus_pixels = min(height, width) / config.mosaic_margin[1]
            focus_xy = rng.random(2) * (width, height)
        if mirror:
            focus_xy[0] = width - focus_xy[0]
        face_share = 1 / draw_scale(config.mosaic_margin, rng)
        scale = draw_scale(config.scale_range, rng) * side * face_share / focus_pixels
        free = max(0.0, 1 - face_share) / 2
        target_xy = np.array([left + right, top + bottom]) / 2 + side * rng.uniform(-free, free, 2)
        angle_deg = rng.uniform(-config.rotation_deg, config.rotation_deg)
        similarity = _centered(in_plane_rotation(angle_deg, scale), focus_xy, target_xy)
        return Tile(picture, similarity, window, mirror, int(rng.integers(256)))
