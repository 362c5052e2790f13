"""What training draws: changed whole pictures, and mosaics of pictures cropped around faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from img2pose.config import DataConfig
from img2pose.data.transforms.compositing import BLACK, Color, Composer, Tile
from img2pose.data.transforms.draws import draw_log_uniform
from img2pose.data.transforms.occlusion import Occlusion
from img2pose.data.transforms.pictures import Picture
from img2pose.data.transforms.pixel_changes import PixelChanges
from img2pose.geometry import image_intrinsics, in_plane_rotation
from img2pose.references import PoseReferences


def _centered(matrix: np.ndarray, from_xy: np.ndarray, to_xy: np.ndarray) -> np.ndarray:
    return np.column_stack([matrix, to_xy - matrix @ from_xy])


class Augmentation:
    """Random changes of a whole picture, as `DataConfig` says."""

    def __init__(self, config: DataConfig, references: PoseReferences) -> None:
        self.config = config
        self.composer = Composer(references, config.min_face_pixels)
        self.occlude = Occlusion(config, references)
        self.change_pixels = PixelChanges(config)

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """Draws one change; the same state of `rng` gives the same picture."""
        picture = self.occlude(picture, rng)
        tile, size_hw = self.place(picture, rng)
        untouched = not tile.mirror and size_hw == picture.size_hw
        if not untouched or not np.array_equal(tile.similarity, np.eye(2, 3)):
            picture = self.composer.compose([tile], size_hw)
        return replace(picture, pixels=self.change_pixels(picture.pixels, rng))

    def place(self, picture: Picture, rng: np.random.Generator) -> tuple[Tile, tuple[int, int]]:
        """Draws mirroring, crop, turn, scale and zoom-out.

        Returns:
            The picture and where it goes, and the height and width of the canvas.
        """
        config = self.config
        height, width = picture.size_hw
        mirror = bool(config.random_flip and rng.random() < 0.5)
        size_wh = np.array([width, height], dtype=float)
        corner = np.zeros(2)
        if config.random_crop and rng.random() < 0.5:
            cropped = np.maximum(1, np.floor(size_wh * rng.uniform(0.7, 1.0, 2)))
            corner = np.floor(rng.random(2) * (size_wh - cropped + 1))
            size_wh = cropped
        angle_deg = rng.uniform(-config.rotation_deg, config.rotation_deg)
        scale = draw_log_uniform(config.scale_range, rng)
        target_xy, border = size_wh / 2, BLACK
        if config.zoom_out_range != (1.0, 1.0) and rng.random() < 0.5:
            # The canvas keeps its pixels and the picture shrinks: to the camera that is assumed
            # from the canvas's proportions the same as a picture on a larger canvas.
            smaller = 1 / draw_log_uniform(config.zoom_out_range, rng)
            scale *= smaller
            target_xy = size_wh * (smaller / 2 + (1 - smaller) * rng.random(2))
            border = _draw_border(picture, rng)
        similarity = _centered(in_plane_rotation(angle_deg, scale), corner + size_wh / 2, target_xy)
        size_hw = (int(size_wh[1]), int(size_wh[0]))
        window = (0, 0, size_hw[1], size_hw[0])
        return Tile(picture, similarity, window, mirror, border), size_hw


def _draw_border(picture: Picture, rng: np.random.Generator) -> Color:
    """The picture's mean colour or a level of gray, with equal chance."""
    if rng.random() < 0.5:
        red, green, blue, _ = cv2.mean(picture.pixels)
        return round(red), round(green), round(blue)
    return _draw_gray(rng)


def _draw_gray(rng: np.random.Generator) -> Color:
    level = int(rng.integers(256))
    return level, level, level


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
            pictures: A square number of them, at least one.
            rng: The only source of chance.
        """
        canvas = self.config.mosaic_canvas
        tiles_a_side = math.isqrt(len(pictures))
        edges = [canvas * index // tiles_a_side for index in range(tiles_a_side + 1)]
        tiles = []
        for index, picture in enumerate(pictures):
            row, column = divmod(index, tiles_a_side)
            window = (edges[column], edges[row], edges[column + 1], edges[row + 1])
            tiles.append(self.place(self.augment.occlude(picture, rng), window, rng))
        return self.augment.composer.compose(
            tiles, (canvas, canvas), lambda pixels: self.augment.change_pixels(pixels, rng)
        )

    def place(
        self, picture: Picture, window: tuple[int, int, int, int], rng: np.random.Generator
    ) -> Tile:
        """Draws where a picture goes in its window of the canvas: around one of its faces."""
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
        face_share = 1 / draw_log_uniform(config.mosaic_margin, rng)
        scale = draw_log_uniform(config.scale_range, rng) * side * face_share / focus_pixels
        free = max(0.0, 1 - face_share) / 2
        target_xy = np.array([left + right, top + bottom]) / 2 + side * rng.uniform(-free, free, 2)
        angle_deg = rng.uniform(-config.rotation_deg, config.rotation_deg)
        similarity = _centered(in_plane_rotation(angle_deg, scale), focus_xy, target_xy)
        return Tile(picture, similarity, window, mirror, _draw_gray(rng))
