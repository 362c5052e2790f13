"""What the loader hands out fits together: new poses project where the pixels went.

`img2pose.data.transforms` says which changes are exact and bounds those that are not.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.config import DataConfig
from img2pose.data.transforms import Augmentation, Composer, Mosaic, Picture, Tile, projected_points
from img2pose.data.transforms.compositing import MIN_VISIBLE_POINTS
from img2pose.geometry import (
    MIRROR_ORDER_68,
    image_intrinsics,
    matrix_to_rotvec,
    project_points,
    rotvec_to_matrix,
)
from img2pose.references import PoseReferences

REFERENCES = PoseReferences.default()
COMPOSER = Composer(REFERENCES, min_face_pixels=0)
APPROXIMATION = 0.4
DOT_SIGMA = 1.5

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)
even_sides = st.integers(90, 250).map(lambda side: 2 * side)
any_sides = st.integers(180, 500)


def rotation(angle: float, axis: int) -> np.ndarray:
    return rotvec_to_matrix(np.eye(3)[axis] * angle)  # type: ignore[no-any-return]


@st.composite
def faces(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    """A rotation vector, where the face is and how large, as shares of the picture."""
    yaw, pitch, roll = (draw(st.floats(-most, most)) for most in (1.5, 0.7, 0.8))
    turned = rotation(yaw, 1) @ rotation(pitch, 0) @ rotation(roll, 2)
    place = np.array([draw(st.floats(0.1, 0.9)), draw(st.floats(0.1, 0.9))])
    return matrix_to_rotvec(turned), place, draw(st.floats(0.03, 0.5))


def picture_of(face: tuple[np.ndarray, np.ndarray, float], height: int, width: int) -> Picture:
    rotvec, place, share = face
    camera = image_intrinsics(height, width)
    # A frontal face is 1.5 reference units wide.
    depth = camera[0, 0] * 1.5 / (share * min(height, width))
    xy = (place * (width, height) - camera[:2, 2]) / camera[0, 0] * depth
    return Picture(
        np.zeros((height, width, 3), dtype=np.uint8), np.concatenate([rotvec, xy, [depth]])[None]
    )


class Change:
    """A drawn placement: warped old points against the projections of the new poses."""

    def __init__(self, picture: Picture, tile: Tile, size_hw: tuple[int, int]) -> None:
        poses, _ = COMPOSER.poses_on_canvas([tile], size_hw)
        old, camera = picture.poses_in_image, image_intrinsics(*size_hw)
        points = projected_points(picture, REFERENCES)
        if tile.mirror:
            points = points[:, MIRROR_ORDER_68]
        self.warped = warp_points(points, tile)
        self.projected = project_points(REFERENCES.points_68, poses, camera)
        self.errors = np.linalg.norm(self.projected - self.warped, axis=-1)
        old_camera = image_intrinsics(*picture.size_hw)
        turned = tile.similarity[:, :2]
        scale = float(np.sqrt(np.linalg.det(turned)))
        origin = old[:, 3:5] / old[:, 5:] * (-1 if tile.mirror else 1, 1)
        self.shift = np.linalg.norm(poses[:, 3:5] / poses[:, 5:] - origin @ turned.T / scale)
        self.zoom = scale * old_camera[0, 0] / camera[0, 0]
        self.size = float(np.ptp(self.warped, axis=1).max())
        old_size = float(np.ptp(points, axis=1).max())
        perspective = max(old_size / old_camera[0, 0], self.size / camera[0, 0])
        self.bound = APPROXIMATION * (self.shift + abs(self.zoom - 1) * perspective) * self.size
        inside = (self.warped >= 0) & (self.warped <= size_hw[::-1])
        # Other faces are painted out.
        self.is_kept = inside.all(-1).mean() >= MIN_VISIBLE_POINTS
        old_origin = project_points(np.zeros((1, 3)), old, old_camera)
        new_origin = project_points(np.zeros((1, 3)), poses, camera)
        self.origin_error = np.abs(new_origin - warp_points(old_origin, tile)).max()


def warp_points(points: np.ndarray, tile: Tile) -> np.ndarray:
    if tile.mirror:
        points = [tile.picture.size_hw[1], 0] + points * [-1, 1]
    return points @ tile.similarity[:, :2].T + tile.similarity[:, 2]


def drawn(picture: Picture, seed: int, **data: object) -> Change:
    augment = Augmentation(DataConfig(**data), REFERENCES)
    tile, size_hw = augment.place(picture, np.random.default_rng(seed))
    return Change(picture, tile, size_hw)


@quick
@given(faces(), even_sides, even_sides, st.floats(1, 180), seeds)
def test_turning_about_the_principal_point_is_exact(
    face: tuple[np.ndarray, np.ndarray, float], height: int, width: int, angle: float, seed: int
) -> None:
    change = drawn(picture_of(face, height, width), seed, rotation_deg=angle)
    assert change.errors.max() < 1e-6


@quick
@given(faces(), any_sides, any_sides, seeds)
def test_mirroring_is_exact_for_the_symmetric_reference_face(
    face: tuple[np.ndarray, np.ndarray, float], height: int, width: int, seed: int
) -> None:
    change = drawn(picture_of(face, height, width), seed, random_flip=True)
    # The principal point of an odd width moves by a pixel.
    assert change.errors.max() < (0.1 if width % 2 else 1e-3)


@quick
@given(faces(), any_sides, any_sides, seeds)
def test_turning_and_mirroring_odd_sizes_is_exact_to_a_quarter_of_a_pixel(
    face: tuple[np.ndarray, np.ndarray, float], height: int, width: int, seed: int
) -> None:
    picture = picture_of(face, height | 1, width | 1)
    change = drawn(picture, seed, random_flip=True, rotation_deg=180)
    assert change.errors.max() < 0.25


@quick
@given(faces(), even_sides, even_sides, st.sampled_from([0.5, 1.5, 2.0, 3.0]))
def test_resizing_the_whole_picture_is_exact(
    face: tuple[np.ndarray, np.ndarray, float], height: int, width: int, scale: float
) -> None:
    picture = picture_of(face, 2 * height, 2 * width)
    size_hw = (round(2 * height * scale), round(2 * width * scale))
    tile = Tile(picture, np.eye(2, 3) * scale, (0, 0, size_hw[1], size_hw[0]))
    assert Change(picture, tile, size_hw).errors.max() < 1e-6


APPROXIMATE = {
    "crop": {"random_crop": True},
    "scale": {"scale_range": (0.5, 2.0)},
    "zoom_out": {"zoom_out_range": (1.0, 4.0)},
    "everything": {
        "random_crop": True,
        "random_flip": True,
        "rotation_deg": 45,
        "scale_range": (0.5, 1.5),
        "zoom_out_range": (1.0, 3.0),
    },
}


@pytest.mark.parametrize("data", APPROXIMATE.values(), ids=APPROXIMATE)
@quick
@given(face=faces(), height=any_sides, width=any_sides, seed=seeds)
def test_crop_scale_and_zoom_out_keep_the_origin_and_are_bounded(
    data: dict[str, object],
    face: tuple[np.ndarray, np.ndarray, float],
    height: int,
    width: int,
    seed: int,
) -> None:
    change = drawn(picture_of(face, height, width), seed, **data)
    assert change.origin_error < 1e-6
    assert not change.is_kept or change.errors.max() <= change.bound + 0.1


def test_the_bound_is_near_what_happens() -> None:
    """A face at the corner of what is left of a picture, seen in profile."""
    face = (np.array([0, 1.2, 0]), np.array([0.65, 0.65]), 0.1)
    picture = picture_of(face, 400, 600)
    change = Change(picture, Tile(picture, np.eye(2, 3), (0, 0, 420, 280)), (280, 420))
    assert 0.5 * change.bound < change.errors.max() < change.bound
    # What that is as a share of the face.
    assert 0.03 < change.errors.max() / change.size < 0.08


@quick
@given(faces(), any_sides, any_sides, st.integers(1, 3), seeds)
def test_mosaics_keep_the_origin_and_are_bounded(
    face: tuple[np.ndarray, np.ndarray, float], height: int, width: int, side: int, seed: int
) -> None:
    picture = picture_of(face, height, width)
    config = DataConfig(random_flip=True, rotation_deg=30, mosaic_canvas=320)
    window = (320 // side * (side - 1), 0, 320, 320 // side)
    tile = Mosaic(config, REFERENCES).place(picture, window, np.random.default_rng(seed))
    change = Change(picture, tile, (320, 320))
    assert change.origin_error < 1e-6
    assert not change.is_kept or change.errors.max() <= change.bound + 0.1


def draw_dots(pixels: np.ndarray, places_xy: np.ndarray) -> None:
    """White dots about continuous places: the first pixel's centre is at 0.5."""
    x, y = np.arange(pixels.shape[1]) + 0.5, np.arange(pixels.shape[0]) + 0.5
    light = np.zeros(pixels.shape[:2])
    for place_x, place_y in places_xy:
        across = np.exp(-((x - place_x) ** 2) / (2 * DOT_SIGMA**2))
        light += np.exp(-((y - place_y) ** 2) / (2 * DOT_SIGMA**2))[:, None] * across
    pixels[:] = (255 * light).clip(0, 255)[..., None].round()


def centroids(pixels: np.ndarray, near_xy: np.ndarray, reach: int) -> np.ndarray:
    """Where the light within `reach` pixels of places is; NaN where that leaves the picture."""
    found = np.full(near_xy.shape, np.nan)
    for index, (x, y) in enumerate(np.floor(near_xy).astype(int)):
        if reach <= x < pixels.shape[1] - reach and reach <= y < pixels.shape[0] - reach:
            part = pixels[y - reach : y + reach + 1, x - reach : x + reach + 1, 0].astype(float)
            offsets = np.arange(-reach, reach + 1) + 0.5
            found[index, 0] = x + part.sum(0) @ offsets / part.sum()
            found[index, 1] = y + part.sum(1) @ offsets / part.sum()
    return found


def grid(height: int, width: int, step: int = 40) -> np.ndarray:
    x, y = np.meshgrid(np.arange(step / 2, width, step), np.arange(step / 2, height, step))
    return np.column_stack([x.ravel(), y.ravel()]) + 0.3


GEOMETRIES = {
    "mirror": {"random_flip": True},
    "crop": {"random_crop": True},
    "rotation": {"rotation_deg": 180},
    "scale": {"scale_range": (0.5, 2.0)},
    "zoom_out": {"zoom_out_range": (1.0, 2.5)},
    "everything": APPROXIMATE["everything"],
}


@pytest.mark.parametrize("data", GEOMETRIES.values(), ids=GEOMETRIES)
def test_pixels_go_where_the_similarity_says(data: dict[str, object]) -> None:
    height, width = 241, 330
    dots = grid(height, width)
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    draw_dots(pixels, dots)
    picture = Picture(pixels, np.zeros((0, 6)))
    augment = Augmentation(DataConfig(**data), REFERENCES)
    compared = 0
    for seed in range(12):
        tile, size_hw = augment.place(picture, np.random.default_rng(seed))
        tile = Tile(picture, tile.similarity, tile.window, tile.mirror)
        changed = augment.composer.compose([tile], size_hw)
        warped = warp_points(dots, tile)
        scale = np.sqrt(np.linalg.det(tile.similarity[:, :2]))
        found = centroids(changed.pixels, warped, int(min(14, 15 * scale)))
        errors = np.linalg.norm(found - warped, axis=1)
        errors = errors[np.isfinite(errors)]
        compared += len(errors)
        assert errors.size == 0 or errors.max() < 0.25
    assert compared > 100


def test_pixels_of_mosaics_go_where_their_similarity_says() -> None:
    face = (np.array([0.1, 0.2, 0.1]), np.array([0.4, 0.6]), 0.3)
    picture = picture_of(face, 300, 400)
    dots = grid(300, 400)
    draw_dots(picture.pixels, dots)
    config = DataConfig(random_flip=True, rotation_deg=40, mosaic_margin=(1.5, 2.5))
    mosaic = Mosaic(config, REFERENCES)
    compared = 0
    for seed in range(12):
        window = (160, 0, 320, 160)
        tile = mosaic.place(picture, window, np.random.default_rng(seed))
        tile = Tile(picture, tile.similarity, tile.window, tile.mirror)
        canvas = mosaic.augment.composer.compose([tile], (320, 320))
        warped = warp_points(dots, tile) - window[:2]
        found = centroids(canvas.pixels[:160, 160:], warped, 10)
        errors = np.linalg.norm(found - warped, axis=1)
        errors = errors[np.isfinite(errors)]
        compared += len(errors)
        assert errors.max() < 0.25
        assert not canvas.pixels[160:].any()
        assert not canvas.pixels[:, :160].any()
    assert compared > 40


def test_dots_on_a_face_lie_under_its_new_points_whatever_is_drawn() -> None:
    """The whole way, pixel changes that could move something included."""
    data = {
        **APPROXIMATE["everything"],
        "blur_sigma": 1.0,
        "motion_blur_length": 3.0,
        "low_resolution_scale": 0.6,
        "jpeg_quality_min": 60,
        "degradation_probability": 0.7,
    }
    augment = Augmentation(DataConfig(**data), REFERENCES)
    # Jaw ends, chin, and two points of the brows: dots that stay apart.
    chosen = np.array([0, 8, 16, 19, 24])
    compared = 0
    for seed in range(40):
        place = 0.3 + 0.4 * np.random.default_rng(seed).random(2)
        picture = picture_of((np.array([0.1, -0.2, 0.1]), place, 0.35), 360, 480)
        draw_dots(picture.pixels, projected_points(picture, REFERENCES)[0, chosen])
        changed = augment(picture, np.random.default_rng(seed))
        # A canvas that was filled with a light gray would move the dots' centres.
        if len(changed.poses_in_image) == 0 or changed.pixels[[0, -1]].any():
            continue
        points = projected_points(changed, REFERENCES)[0]
        size = np.ptp(points, axis=0).max()
        # Mirrored draws show the left dot under the right point.
        for place_xy in points[chosen]:
            found = centroids(changed.pixels, place_xy[None], int(min(14, size / 8)))
            if np.isfinite(found).all():
                compared += 1
                assert np.linalg.norm(found - place_xy) < 0.5 + 0.06 * size
    assert compared > 50
