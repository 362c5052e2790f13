"""Crops of faces that stand upright and equally large, for recognition and reconstruction networks.

Every crop carries the matrix that leads from pixels of the picture to pixels of the crop, and back.
Pixel centres have whole coordinates in both, as in OpenCV.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import ArrayLike

from img2pose.geometry import image_intrinsics, project_points, rotvec_to_matrix
from img2pose.geometry.lens import LONGEST_SIDE
from img2pose.references import PoseReferences

TEMPLATE_SIZE = 112
"""Side in pixels of the square that the templates' points lie in."""

# Eye, eye, nose tip, mouth corner, mouth corner, each pair beginning on the picture's left.
FIVE_VIEWS: Mapping[str, np.ndarray] = MappingProxyType(
    {
        "left profile": np.array(
            [
                (51.642, 50.115),
                (57.617, 49.990),
                (35.740, 69.007),
                (51.157, 89.050),
                (57.025, 89.702),
            ]
        ),
        "left": np.array(
            [
                (45.031, 50.118),
                (65.568, 50.872),
                (39.677, 68.111),
                (45.177, 86.190),
                (64.246, 86.758),
            ]
        ),
        "frontal": np.array(
            [
                (39.730, 51.138),
                (72.270, 51.138),
                (56.000, 68.493),
                (42.463, 87.010),
                (69.537, 87.010),
            ]
        ),
        "right": np.array(
            [
                (46.845, 50.872),
                (67.382, 50.118),
                (72.737, 68.111),
                (48.167, 86.758),
                (67.236, 86.190),
            ]
        ),
        "right profile": np.array(
            [
                (54.796, 49.990),
                (60.771, 50.115),
                (76.673, 69.007),
                (55.388, 89.702),
                (61.257, 89.050),
            ]
        ),
    }
)
"""InsightFace's five templates in a square of 112 pixels, by the direction a face looks in."""

ARCFACE: Mapping[str, np.ndarray] = MappingProxyType(
    {
        "arcface": np.array(
            [
                (38.2946, 51.6963),
                (73.5318, 51.5014),
                (56.0252, 71.7366),
                (41.5493, 92.3655),
                (70.7299, 92.2041),
            ]
        )
    }
)
"""The one template that ArcFace models are usually trained with, in a square of 112 pixels."""

TEMPLATES: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType(
    {"five": FIVE_VIEWS, "arcface": ARCFACE}
)


@dataclass(frozen=True)
class CropPreset:
    """The crop that a network takes: laid on templates, or an upright square.

    Attributes:
        size: Side of the crop in pixels.
        templates: Name in `TEMPLATES`; None for an upright square.
        scale: Of an upright square, its side over the mean of the 68 points' width and height.
    """

    size: int
    templates: str | None = None
    scale: float | None = None


CROP_PRESETS: Mapping[str, CropPreset] = MappingProxyType(
    {
        # Its loader of test pictures (`bbox2point` for 68 points) takes the mean extent times 1.1
        # for a box, and the square 1.25 times that.
        "deca": CropPreset(size=224, scale=1.1 * 1.25),
        # No square: its identity network is ArcFace, fed by InsightFace's `norm_crop` at 112.
        "mica": CropPreset(size=TEMPLATE_SIZE, templates="arcface"),
    }
)


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A face cut out of a picture.

    Attributes:
        image: (size, size, 3) uint8 RGB; black where the picture ends.
        image_to_crop: (3, 3) float64, homogeneous pixel coordinates of the picture to the crop's.
        crop_to_image: (3, 3) float64, its inverse.
        template: Name of the template the face was laid on; None for a box crop.
    """

    image: np.ndarray
    image_to_crop: np.ndarray
    template: str | None = None
    crop_to_image: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop_to_image", np.linalg.inv(self.image_to_crop))

    def points_in_crop(self, points_in_image: ArrayLike) -> np.ndarray:
        """Points of the picture (..., 2), in pixels, where they are in the crop (..., 2)."""
        return _transformed(self.image_to_crop, points_in_image)

    def points_in_image(self, points_in_crop: ArrayLike) -> np.ndarray:
        """Points of the crop (..., 2), in pixels, where they are in the picture (..., 2)."""
        return _transformed(self.crop_to_image, points_in_crop)


def _transformed(matrix: np.ndarray, points: ArrayLike) -> np.ndarray:
    moved: np.ndarray = np.asarray(points, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]
    return moved


def similarity_transforms(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Turn, scale and shift that lay points on targets with the least squared distance.

    Args:
        points: (..., P, 2), not all in one place.
        targets: (..., P, 2), broadcast against the points.

    Returns:
        (..., 3, 3) float64; never a reflection.

    Source: the closed form in two dimensions, with points as complex numbers: the factor a of
        a z + b is the regression coefficient of the centred targets on the centred points.
    """
    z = np.asarray(points, np.float64) @ np.array([1, 1j])
    w = np.asarray(targets, np.float64) @ np.array([1, 1j])
    z_mean, w_mean = z.mean(-1), w.mean(-1)
    centred = z - z_mean[..., None]
    factor = (centred.conj() * (w - w_mean[..., None])).sum(-1) / (np.abs(centred) ** 2).sum(-1)
    shift = w_mean - factor * z_mean
    matrices = np.zeros((*factor.shape, 3, 3))
    matrices[..., 0, 0] = matrices[..., 1, 1] = factor.real
    matrices[..., 1, 0], matrices[..., 0, 1] = factor.imag, -factor.imag
    matrices[..., 0, 2], matrices[..., 1, 2] = shift.real, shift.imag
    matrices[..., 2, 2] = 1.0
    return matrices


def choose_templates(
    points: np.ndarray, templates: Mapping[str, np.ndarray]
) -> tuple[list[str], np.ndarray]:
    """For each face the template that a similarity brings it nearest to.

    Args:
        points: (N, P, 2) pixels of the picture.
        templates: By name (P, 2), pixels of the crop; of equally near ones the first is taken.

    Returns:
        N names, and (N, 3, 3) transforms from the picture to the crop. Nearest is what leaves the
        smallest sum of distances, not of their squares.
    """
    names = list(templates)
    targets = np.stack([templates[name] for name in names])
    transforms = similarity_transforms(points[:, None], targets)
    laid = points[:, None] @ transforms[..., :2, :2].mT + transforms[..., None, :2, 2]
    distances = np.linalg.norm(laid - targets, axis=-1).sum(-1)
    best = distances.argmin(1) if len(points) else np.zeros(0, dtype=np.int64)
    return [names[i] for i in best], transforms[np.arange(len(points)), best]


def can_be_cut_out(poses: ArrayLike, references: PoseReferences | None = None) -> np.ndarray:
    """Whether all points of faces are before the camera, without which there is no crop of them.

    Args:
        poses: (N, 6).
        references: The reference face of the poses; None: the default one.

    Returns:
        (N,) bool.
    """
    face = PoseReferences.default() if references is None else references
    points = np.concatenate([face.points_5, face.points_68])
    return _are_before_camera(np.asarray(poses, np.float64), points)


def _are_before_camera(poses: np.ndarray, points: np.ndarray) -> np.ndarray:
    depths = points @ rotvec_to_matrix(poses[:, :3])[:, 2, :, None] + poses[:, 5, None, None]
    are: np.ndarray = np.isfinite(poses).all(-1) & (depths > 0).all((1, 2))
    return are


def _checked_image(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"image must be uint8 RGB (H, W, 3), not {image.dtype} {image.shape}")
    return np.ascontiguousarray(image)


def _checked_size(size: int) -> None:
    if not 1 <= size <= LONGEST_SIDE:
        raise ValueError(f"size must be between 1 and {LONGEST_SIDE} pixels, not {size}")


def _projected(
    image: np.ndarray, poses: ArrayLike, points: np.ndarray, intrinsics: np.ndarray | None
) -> np.ndarray:
    camera = image_intrinsics(*image.shape[:2]) if intrinsics is None else intrinsics
    given = np.asarray(poses, np.float64)
    if given.ndim != 2 or given.shape[1] != 6:
        raise ValueError(f"poses must have shape (N, 6), not {given.shape}")
    behind = ~_are_before_camera(given, points)
    if behind.any():
        raise ValueError(
            f"pose {int(behind.argmax())}: must be finite and have the face before the camera"
        )
    projected: np.ndarray = project_points(points, given, np.asarray(camera, np.float64))
    return projected


def _cut_out(image: np.ndarray, image_to_crop: np.ndarray, size: int) -> np.ndarray:
    # A picture beyond OpenCV's 16-bit coordinates is reduced to the part that the crop shows.
    corners = np.array([[0, 0], [size - 1, 0], [size - 1, size - 1], [0, size - 1]])
    seen = _transformed(np.linalg.inv(image_to_crop), corners)
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(seen.min(0)).astype(int) - 1, 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(seen.max(0)).astype(int) + 2, 1, (width, height))
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    moved = image_to_crop @ np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    if (step := -(-max(part.shape[:2]) // LONGEST_SIDE)) > 1:
        # Every so many pixels: the crop has far fewer anyway.
        part = np.ascontiguousarray(part[::step, ::step])
        moved = moved @ np.diag([step, step, 1.0])
    return cv2.warpAffine(part, moved[:2], (size, size), flags=cv2.INTER_LINEAR)


def align_faces(
    image: np.ndarray,
    poses: ArrayLike,
    size: int = TEMPLATE_SIZE,
    *,
    intrinsics: np.ndarray | None = None,
    references: PoseReferences | None = None,
    templates: str | Mapping[str, np.ndarray] = "five",
) -> list[FaceCrop]:
    """Lays each face on the template it fits best, by turn, scale and shift.

    Args:
        image: (H, W, 3) uint8 RGB.
        poses: (N, 6) in the camera of the picture.
        size: Side of the crops in pixels; 112 and 224 are what recognition networks take.
        intrinsics: (3, 3) of the poses; None: `image_intrinsics` of the picture.
        references: The reference face of the poses; None: the default one.
        templates: `five` (profile, half and frontal views, as published), `arcface` (one for all
            views), or templates of your own: by name the places (5, 2) of eye, eye, nose tip, mouth
            corner and mouth corner in a square of 112 pixels.

    Returns:
        A crop for each pose, in their order.

    Raises:
        ValueError: A shape, type, size or name is wrong, or a face is not in front of the camera.
    """
    picture = _checked_image(image)
    _checked_size(size)
    if isinstance(templates, str):
        if templates not in TEMPLATES:
            raise ValueError(f"templates must be one of {sorted(TEMPLATES)}: {templates!r}")
        chosen: Mapping[str, np.ndarray] = TEMPLATES[templates]
    else:
        chosen = checked_templates(templates)
    face = PoseReferences.default() if references is None else references
    points = _projected(picture, poses, face.points_5, intrinsics)
    scaled = {name: target * (size / TEMPLATE_SIZE) for name, target in chosen.items()}
    names, transforms = choose_templates(points, scaled)
    return [
        FaceCrop(_cut_out(picture, transform, size), transform, name)
        for name, transform in zip(names, transforms, strict=True)
    ]


def checked_templates(templates: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Templates by name, five points (5, 2) float64 each.

    Raises:
        ValueError: There are none, or one has other points or none that are finite.
    """
    if not templates:
        raise ValueError("templates: give at least one")
    checked = {name: np.asarray(points, np.float64) for name, points in templates.items()}
    for name, points in checked.items():
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise ValueError(
                f"template {name!r}: five finite points (5, 2) expected, not {points.shape}"
            )
    return checked


def crop_faces(
    image: np.ndarray,
    poses: ArrayLike,
    size: int = 224,
    *,
    scale: float = 1.375,
    intrinsics: np.ndarray | None = None,
    references: PoseReferences | None = None,
) -> list[FaceCrop]:
    """Cuts out an upright square around each face's 68 projected points; nothing is turned.

    Args:
        image: (H, W, 3) uint8 RGB.
        poses: (N, 6) in the camera of the picture.
        size: Side of the crops in pixels.
        scale: Side of the square over the mean of the points' width and height, about the centre
            of their bounds. The default is DECA's (see `CROP_PRESETS`).
        intrinsics: (3, 3) of the poses; None: `image_intrinsics` of the picture.
        references: The reference face of the poses; None: the default one.

    Returns:
        A crop for each pose, in their order.

    Raises:
        ValueError: A shape, type or size is wrong, or a face is not in front of the camera.
    """
    picture = _checked_image(image)
    _checked_size(size)
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be positive, not {scale}")
    face = PoseReferences.default() if references is None else references
    points = _projected(picture, poses, face.points_68, intrinsics)
    low, high = points.min(1), points.max(1)
    sides = (high - low).mean(-1) * scale
    factors = (size - 1) / sides if size > 1 else 1 / sides
    transforms = np.zeros((len(points), 3, 3))
    transforms[:, 0, 0] = transforms[:, 1, 1] = factors
    transforms[:, :2, 2] = (size - 1) / 2 - factors[:, None] * (low + high) / 2
    transforms[:, 2, 2] = 1
    return [FaceCrop(_cut_out(picture, t, size), t) for t in transforms]
