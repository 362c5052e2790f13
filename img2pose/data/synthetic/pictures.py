"""One synthetic picture with its labels, decided by seed, number and settings alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from img2pose.data.synthetic.backgrounds import folder_background, made_up_background
from img2pose.data.synthetic.camera import photographed
from img2pose.data.synthetic.clutter import draw_clutter
from img2pose.data.synthetic.figures import make_figure
from img2pose.data.synthetic.head_model import default_head_model
from img2pose.data.synthetic.layout import HeadPlace, Layout, draw_layout
from img2pose.data.synthetic.lighting import draw_illumination
from img2pose.data.synthetic.rendering import (
    PlacedFigure,
    Rendered,
    face_samples,
    render,
    sample_intrinsics,
    visible_points,
)
from img2pose.data.synthetic.settings import SyntheticSettings
from img2pose.geometry import image_intrinsics, matrix_to_rotvec, transform_poses

# Height of a face; a smaller one is drawn with few triangles.
_COARSE_PIXELS = 34.0
# Reference units; a landmark so far behind what is drawn there is still seen.
_POINT_SLACK = 0.07
# Of the pictures, where there is a folder of backgrounds.
_SHARE_OF_FOLDER = 0.75


@dataclass(frozen=True, eq=False)
class SyntheticFace:
    """A face of a synthetic picture.

    Attributes:
        pose: (6,) float64 exact pose in the picture's assumed camera (focal length w + h), see
            `make_picture`.
        landmarks: (68, 2) float64 pixels: the person's own landmarks, as they were drawn.
        visibility: Share of the face's area that is seen, 0..1.
        landmark_visible: (68,) bool: nothing hides the landmark, not even the head itself.
    """

    pose: np.ndarray
    landmarks: np.ndarray
    visibility: float
    landmark_visible: np.ndarray


@dataclass(frozen=True, eq=False)
class SyntheticPicture:
    """A picture and its faces.

    Attributes:
        pixels: (H, W, 3) uint8 RGB before compression.
        quality: Of the JPEG.
        faces: Those that face the camera, hidden ones too.
        kind: Of scene, see `Layout`.
        light: Of light.
        focal: Focal length over w + h.
    """

    pixels: np.ndarray
    quality: int
    faces: tuple[SyntheticFace, ...]
    kind: str
    light: str
    focal: float


def _blurred_by_distance(
    rng: np.random.Generator, picture: np.ndarray, layout: Layout
) -> np.ndarray:
    if not layout.heads or rng.uniform() > 0.35:
        return picture
    largest = max(head.pixels for head in layout.heads)
    sigma = rng.uniform(0.004, 0.03) * largest * picture.shape[1] / 320
    return cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.3))


def make_picture(
    settings: SyntheticSettings,
    seed: int,
    index: int,
    background_files: tuple[Path, ...] = (),
) -> SyntheticPicture:
    """Draws a picture; the same arguments give the same one in any process.

    A pose is that of the rigid reference face: the mean head, which a person's shape and expression
    are displacements of. Where the scene's camera is not the assumed one, the pose is what shows
    the head's centre at the same place, at the same size and from the same side in the assumed
    camera (`transform_poses`); perspective then differs a little.

    Args:
        settings: What pictures are like.
        seed: Of the data set.
        index: The picture's number.
        background_files: Pictures to take backgrounds from; none: all are made up.

    Raises:
        InputError: A background cannot be read.
    """
    rng = np.random.default_rng((seed, index))
    model = default_head_model()
    height, width = settings.size_hw
    layout = draw_layout(rng, settings)
    light = draw_illumination(rng, layout.roll)
    if background_files and rng.uniform() < _SHARE_OF_FOLDER:
        background = folder_background(rng, background_files, height, width)
    else:
        background = made_up_background(rng, height, width)
    background = _blurred_by_distance(rng, background, layout)
    # A background is lit by the same light.
    ambient = light.surroundings.mean(0) + 0.35 * light.colours[0]
    background = background * (ambient * math.exp(rng.normal(0, 0.4))).astype(np.float32)
    scale = settings.samples
    rows, columns = round(height * scale), round(width * scale)
    background = cv2.resize(
        background.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR
    )
    assumed = image_intrinsics(height, width)
    camera = assumed.copy()
    camera[[0, 1], [0, 1]] *= layout.focal
    placed, landmarks = [], []
    for head in layout.heads:
        figure, points = make_figure(
            rng,
            model,
            head.body_rotation,
            settings.wardrobe,
            coarse=head.pixels < _COARSE_PIXELS,
            is_back=head.is_back,
        )
        placed.append(PlacedFigure(figure, head.rotation, head.translation, head.pixels * scale))
        landmarks.append(points)
    placed += draw_clutter(rng, settings, layout)
    scene = render(placed, background, sample_intrinsics(camera, scale), light)
    faces, brightness = _faces(scene, layout, landmarks, camera, assumed)
    pixels, quality = photographed(rng, scene.picture, settings.size_hw, brightness)
    return SyntheticPicture(pixels, quality, faces, layout.kind, light.name, layout.focal)


def _faces(
    scene: Rendered,
    layout: Layout,
    landmarks: list[np.ndarray],
    camera: np.ndarray,
    assumed: np.ndarray,
) -> tuple[tuple[SyntheticFace, ...], float | None]:
    """Labels, and the median brightness of what is seen of the faces; None if nothing is."""
    faces: list[SyntheticFace] = []
    lit: list[np.ndarray] = []
    if scene.assembly is None or scene.buffer is None or not layout.heads:
        return (), None
    index = scene.buffer.triangle_index
    poses = _assumed_poses(layout.heads, camera, assumed)
    for number, head in enumerate(layout.heads):
        if head.is_back:
            continue
        mine = np.flatnonzero(scene.assembly.figure_of_part == number)
        # Skin and eyes come first in a figure.
        visible, whole = face_samples(scene, int(mine[0]), int(mine[1]))
        points = landmarks[number] @ head.rotation.T + head.translation
        seen = visible_points(scene, points, _POINT_SLACK)
        projected = points @ camera.T
        faces.append(
            SyntheticFace(
                poses[number],
                projected[:, :2] / projected[:, 2:],
                min(visible / whole, 1.0) if whole else 0.0,
                seen,
            )
        )
        low, high = (scene.assembly.first_triangle[mine[0] + step] for step in (0, 1))
        of_face = (index >= low) & (index < high)
        if of_face.any():
            lit.append(scene.picture[of_face].mean(axis=1))
    brightness = float(np.median(np.concatenate(lit))) if lit else None
    return tuple(faces), brightness


def _assumed_poses(
    heads: tuple[HeadPlace, ...], camera: np.ndarray, assumed: np.ndarray
) -> np.ndarray:
    """(N, 6) poses in the assumed camera."""
    poses = np.concatenate(
        [
            matrix_to_rotvec(np.stack([head.rotation for head in heads])),
            np.stack([head.translation for head in heads]),
        ],
        axis=1,
    )
    if not math.isclose(camera[0, 0], assumed[0, 0]):
        poses = transform_poses(poses, np.eye(3)[:2], camera, assumed)
    return poses
