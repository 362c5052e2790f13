"""Pictures as users give them: with the camera that took them, its lens, or neither."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from img2pose.geometry import pose_box_to_image, pose_image_to_box, undistort_picture
from img2pose.geometry.camera import checked_intrinsics
from img2pose.images import ImageLike, decoded_image, image_tensor
from img2pose.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor

Cameras: TypeAlias = np.ndarray | Iterable[np.ndarray | None]
"""(3, 3) intrinsics in pixels of all pictures, or for each picture its own or None."""

Lenses: TypeAlias = np.ndarray | Iterable[np.ndarray | None]
"""(K,) coefficients in OpenCV's order of all pictures, or for each picture its own or None."""


def poses_for_camera(
    poses: np.ndarray, boxes: np.ndarray, assumed: np.ndarray, given: np.ndarray
) -> np.ndarray:
    """Poses seen by an assumed camera, re-expressed for the camera that took the picture.

    Args:
        poses: (N, 6) in the assumed camera.
        boxes: (N, 4) the faces' boxes in pixels of the picture.
        assumed: (3, 3) intrinsics.
        given: (3, 3) intrinsics.

    Returns:
        (N, 6) in the given camera.
    """
    # The way leads through the boxes' cameras, which a box without an area does not have.
    boxes = np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)], axis=1)
    poses_in_box = pose_image_to_box(poses, boxes, assumed)
    result: np.ndarray = pose_box_to_image(poses_in_box, boxes, given)
    return result


def _each(values: Any, ndim: int) -> tuple[Iterator[Any], bool]:
    """What belongs to each picture, and whether there are as many as pictures."""
    if values is None:
        return repeat(None), False
    is_sequence = isinstance(values, list | tuple)
    if isinstance(values, np.ndarray) or (is_sequence and not any(v is None for v in values)):
        try:
            shape = np.shape(values)
        except ValueError:  # of different lengths
            return iter(values), True
        # OpenCV's calibration gives a row or a column of coefficients.
        if len(shape) == ndim or (ndim == 1 and len(shape) == 2 and 1 in shape):
            return repeat(np.asarray(values)), False
    is_number = isinstance(values, np.ndarray) and values.ndim == 0
    if is_number or not isinstance(values, Iterable):
        raise ValueError(f"intrinsics, distortion: arrays, or one of each picture, not {values!r}")
    return iter(values), True


@dataclass(frozen=True, eq=False)
class GivenPicture:
    """A picture with its camera, as the user gave them."""

    image: ImageLike
    intrinsics: np.ndarray | None
    distortion: np.ndarray | None


def with_cameras(
    images: Iterable[ImageLike], intrinsics: Cameras | None, distortion: Lenses | None
) -> Iterator[GivenPicture]:
    """Puts each picture together with its camera and lens.

    Args:
        images: Pictures.
        intrinsics: Of all of them, or of each.
        distortion: The same for their lenses.

    Raises:
        ValueError: A matrix is no camera, a lens lacks its camera, or there are more or fewer of
            them than pictures.
    """
    cameras, _ = per_camera = _each(intrinsics, 2)
    lenses, _ = per_lens = _each(distortion, 1)
    for number, image in enumerate(images):
        try:
            camera, lens = next(cameras), next(lenses)
        except StopIteration:
            raise ValueError(
                f"intrinsics, distortion: given for {number} pictures, but there are more"
            ) from None
        if camera is not None:
            camera = checked_intrinsics(camera)
        elif lens is not None:
            raise ValueError("distortion: give the intrinsics that belong to it too")
        yield GivenPicture(image, camera, lens)
    end = object()
    for values, are_each in (per_camera, per_lens):
        if are_each and next(values, end) is not end:
            raise ValueError("intrinsics, distortion: given for more pictures than there are")


@dataclass(frozen=True, eq=False)
class DecodedPicture:
    """A picture read and undistorted.

    Attributes:
        image: (H, W, 3) uint8 RGB, or as it was given.
        intrinsics: The user's; None: the assumed ones.
    """

    image: np.ndarray | Tensor
    intrinsics: np.ndarray | None


def decode(given: GivenPicture) -> DecodedPicture:
    """Reads a picture and undoes the distortion of its lens.

    Raises:
        InputError: A file is missing, damaged or no picture.
        ValueError: A picture or lens of another shape or type.
    """
    image = decoded_image(given.image)
    if given.distortion is None or given.intrinsics is None:
        return DecodedPicture(image, given.intrinsics)
    if is_tensor(image):
        import torch

        picture = image_tensor(image).permute(1, 2, 0).cpu().numpy()
        undistorted = undistort_picture(picture, given.intrinsics, given.distortion)
        return DecodedPicture(torch.from_numpy(undistorted).permute(2, 0, 1), given.intrinsics)
    undistorted = undistort_picture(image, given.intrinsics, given.distortion)
    return DecodedPicture(undistorted, given.intrinsics)
