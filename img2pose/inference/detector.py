"""Faces and their poses in the user's pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from img2pose.detections import FaceDetections
from img2pose.devices import choose_device
from img2pose.geometry import (
    image_intrinsics,
    pose_box_to_image,
    pose_image_to_box,
    undistort_picture,
)
from img2pose.images import IMAGE_TYPES, ImageLike, decoded_image, find_images, image_tensor
from img2pose.inference.batching import read_ahead, run_in_batches
from img2pose.models.detection_settings import DetectionSettings
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model
from img2pose.references import PoseReferences

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}

Cameras: TypeAlias = np.ndarray | Iterable[np.ndarray | None]
"""(3, 3) intrinsics in pixels of all pictures, or for each picture its own or None."""

Lenses: TypeAlias = np.ndarray | Iterable[np.ndarray | None]
"""(K,) coefficients in OpenCV's order of all pictures, or for each picture its own or None."""

# Decoded pictures may be large; one being looked at and two behind it keep the reader busy.
_READ_AHEAD = 2
_BATCHES_AHEAD = 4


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


def _checked_intrinsics(intrinsics: np.ndarray) -> np.ndarray:
    matrix = np.asarray(intrinsics, dtype=np.float64)
    if matrix.shape != (3, 3):
        raise ValueError(f"intrinsics must be (3, 3), not {matrix.shape}")
    focal_lengths = np.diagonal(matrix)[:2]
    if not (np.isfinite(matrix).all() and (focal_lengths > 0).all()):
        raise ValueError(f"intrinsics need positive focal lengths in pixels: {matrix.tolist()}")
    if not np.array_equal(matrix[2], [0, 0, 1]):
        raise ValueError(f"the last row of intrinsics must be 0, 0, 1: {matrix.tolist()}")
    return matrix


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
    return iter(values), True


@dataclass(frozen=True, eq=False)
class _Given:
    """A picture with its camera, as the user gave them."""

    image: ImageLike
    intrinsics: np.ndarray | None
    distortion: np.ndarray | None


def _with_cameras(
    images: Iterable[ImageLike], intrinsics: Cameras | None, distortion: Lenses | None
) -> Iterator[_Given]:
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
            camera = _checked_intrinsics(camera)
        elif lens is not None:
            raise ValueError("distortion: give the intrinsics that belong to it too")
        yield _Given(image, camera, lens)
    end = object()
    for values, are_each in (per_camera, per_lens):
        if are_each and next(values, end) is not end:
            raise ValueError("intrinsics, distortion: given for more pictures than there are")


@dataclass(frozen=True, eq=False)
class _Decoded:
    """A picture read and undistorted."""

    image: np.ndarray | Tensor
    intrinsics: np.ndarray | None


def _decode(given: _Given) -> _Decoded:
    image = decoded_image(given.image)
    if given.distortion is None or given.intrinsics is None:
        return _Decoded(image, given.intrinsics)
    if isinstance(image, Tensor):
        picture = image_tensor(image).permute(1, 2, 0).cpu().numpy()
        undistorted = undistort_picture(picture, given.intrinsics, given.distortion)
        return _Decoded(torch.from_numpy(undistorted).permute(2, 0, 1), given.intrinsics)
    return _Decoded(undistort_picture(image, given.intrinsics, given.distortion), given.intrinsics)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A picture as the model looks at it.

    Attributes:
        tensor: (3, h, w), normalised and resized.
        size_hw: Of the picture before.
        intrinsics: The user's; None: the assumed ones.
    """

    tensor: Tensor
    size_hw: tuple[int, int]
    intrinsics: np.ndarray | None


class Detector:
    """A model and what is wanted of it: pictures in, faces out.

    Several threads may call one detector at the same time.

    Attributes:
        model: Put into evaluation mode when the detector is built.
        settings: Thresholds, limits and box factors; they hold in place of the model's own.
        precision: `float32`; or `bfloat16` or `float16`: the networks run under autocast to it,
            geometry stays in float32.
    """

    def __init__(
        self,
        model: Img2Pose,
        score_threshold: float = 0.5,
        *,
        nms_threshold: float | None = None,
        max_detections: int | None = None,
        bbox_x_factor: float | None = None,
        bbox_y_factor: float | None = None,
        expand_forehead: float | None = None,
        precision: str = "float32",
    ) -> None:
        """See `from_checkpoint`; what is None is as in the model's configuration."""
        # A configuration checks its values.
        config = replace(
            model.config,
            **_model_settings(
                nms_threshold, max_detections, bbox_x_factor, bbox_y_factor, expand_forehead
            ),
        )
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}: {precision!r}")
        self.model = model.eval()
        self.precision = precision
        self.settings = DetectionSettings(
            score_threshold,
            config.nms_threshold,
            config.max_detections,
            (config.box_x_factor, config.box_y_factor, config.box_forehead),
        )
        self.score_threshold = score_threshold

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        device: str | torch.device | None = None,
        score_threshold: float = 0.5,
        *,
        nms_threshold: float | None = None,
        max_detections: int | None = None,
        bbox_x_factor: float | None = None,
        bbox_y_factor: float | None = None,
        expand_forehead: float | None = None,
        precision: str = "float32",
        **overrides: Any,
    ) -> Detector:
        """Loads a model.

        Args:
            path: Checkpoint.
            device: A CUDA GPU where there is one, if None.
            score_threshold: Faces with a greater score are returned.
            nms_threshold: IoU of boxes above which the face with the lower score is dropped; None:
                the checkpoint's (0.5 as published).
            max_detections: Most faces a picture; None: the checkpoint's (1000 as published).
            bbox_x_factor: Width of a face's box over that of its 68 projected points; None: the
                checkpoint's (1.1 as published). Boxes and their suppression change, poses do not.
            bbox_y_factor: The same of the height (1.1).
            expand_forehead: Share of the points' extent that the box is longer on the side of the
                forehead (0.3).
            precision: See the class. Of processors few gain by 16 bits.
            **overrides: `load_model`'s, such as `min_size`, `max_size` and `inference_profile`.

        Raises:
            InputError: The file is missing or no checkpoint, there is no such device, or a value
                is out of range.
            ValueError: There is no such precision.
        """
        chosen = choose_device(None if device is None else str(device))
        overrides |= _model_settings(
            nms_threshold, max_detections, bbox_x_factor, bbox_y_factor, expand_forehead
        )
        model = load_model(path, device=chosen, score_threshold=score_threshold, **overrides)
        return cls(model, score_threshold, precision=precision)

    @property
    def score_threshold(self) -> float:
        """Faces with a greater score are returned; it may be set."""
        return self.settings.score_threshold

    @score_threshold.setter
    def score_threshold(self, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"score_threshold must be between 0 and 1, not {threshold}")
        self.settings = replace(self.settings, score_threshold=threshold)

    @property
    def references(self) -> PoseReferences:
        """The reference face that the poses refer to."""
        references: PoseReferences = self.model.references
        return references

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = next(self.model.parameters()).device
        return device

    # A string or an array is iterable too, but is one picture: the first that fits counts.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        images: Image.Image | np.ndarray | Tensor,
        intrinsics: np.ndarray | None = None,
        batch_size: int = 1,
        *,
        distortion: np.ndarray | None = None,
    ) -> FaceDetections: ...

    # Which of the two a path names, only the disk knows.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        images: str | os.PathLike[str],
        intrinsics: Cameras | None = None,
        batch_size: int = 1,
        *,
        distortion: Lenses | None = None,
    ) -> FaceDetections | Any: ...

    @overload
    def predict(
        self,
        images: Iterable[ImageLike],
        intrinsics: Cameras | None = None,
        batch_size: int = 1,
        *,
        distortion: Lenses | None = None,
    ) -> list[FaceDetections]: ...

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        intrinsics: Cameras | None = None,
        batch_size: int = 1,
        *,
        distortion: Lenses | None = None,
    ) -> FaceDetections | list[FaceDetections]:
        """Finds faces and their poses.

        Args:
            images: One picture or several: paths (read upright), PIL images (taken as they are),
                uint8 RGB arrays (H, W, 3) or float RGB tensors (3, H, W) in 0..1. Several come as
                an iterable, a generator for example, or as the path of a folder: the pictures in
                it, sorted by name.
            intrinsics: (3, 3), pixels; the camera of all the pictures, or an iterable with that of
                each (None for the assumed one). The poses are re-expressed for it. Without it,
                each picture has `image_intrinsics(height, width)`.
            batch_size: Pictures that run together; they are taken from those ahead that have the
                same size once resized. What is found in a picture does not depend on the others.
            distortion: The lens that belongs to the intrinsics: 4, 5, 8, 12 or 14 coefficients in
                OpenCV's order, of all pictures or of each. It is undone before faces are looked
                for. All results are then in the undistorted picture, whose camera are the
                intrinsics; `geometry.distort_points` leads back to the given one, and
                `geometry.undistort_picture` gives the picture itself.

        Returns:
            The faces of the picture, or, of a folder or an iterable, a list with those of each
            picture.

        Raises:
            InputError: A file is missing, damaged or no picture.
            ValueError: An array, tensor, matrix or lens of another shape, type or range, or more
                or fewer of these than pictures.
        """
        if isinstance(images, IMAGE_TYPES) and not _is_folder(images):
            _check_batch_size(batch_size)
            (given,) = _with_cameras([images], intrinsics, distortion)
            return self._run([self._prepare(_decode(given))])[0]
        return list(self.predict_stream(images, intrinsics, batch_size, distortion=distortion))

    def predict_stream(
        self,
        images: ImageLike | Iterable[ImageLike],
        intrinsics: Cameras | None = None,
        batch_size: int = 1,
        *,
        distortion: Lenses | None = None,
        look_ahead: int | None = None,
    ) -> Iterator[FaceDetections]:
        """The same lazily, for more pictures than fit into memory.

        While pictures run, a thread decodes the next ones; only a few are held as they were given.

        Args:
            images: As for `predict`; a single picture is a stream of one.
            intrinsics: As for `predict`.
            batch_size: As for `predict`.
            distortion: As for `predict`.
            look_ahead: Most resized pictures that are held, so that pictures of different sizes
                make full batches; None: four batches' worth.

        Returns:
            An iterator over the faces of each picture, in order. A picture that cannot be read
            ends it with an error once the results of those before it were given.

        Raises:
            InputError: A folder has no pictures.
            ValueError: `batch_size` or `look_ahead` is out of range. The rest of what `predict`
                raises comes while iterating.
        """
        _check_batch_size(batch_size)
        held = _BATCHES_AHEAD * batch_size if look_ahead is None else look_ahead
        if held < batch_size:
            raise ValueError(f"look_ahead must be at least batch_size, not {held}")
        if _is_folder(images):
            images = find_images([images])
        elif isinstance(images, IMAGE_TYPES):
            images = [images]
        given = _with_cameras(images, intrinsics, distortion)
        return run_in_batches(
            map(self._prepare, read_ahead(given, _decode, _READ_AHEAD)),
            self._run,
            kind=lambda prepared: prepared.tensor.shape,
            batch_size=batch_size,
            look_ahead=held,
        )

    def _prepare(self, decoded: _Decoded) -> _Prepared:
        with torch.inference_mode():
            image = image_tensor(decoded.image).to(self.device)
            tensor = self.model.prepare(image)
        return _Prepared(tensor, (image.shape[1], image.shape[2]), decoded.intrinsics)

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = PRECISIONS[self.precision]
        if dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)

    def _run(self, batch: list[_Prepared]) -> list[FaceDetections]:
        with torch.inference_mode(), self._autocast():
            outputs = self.model.detect(
                [picture.tensor for picture in batch],
                [picture.size_hw for picture in batch],
                self.settings,
            )
        return [
            _detections(output, picture) for output, picture in zip(outputs, batch, strict=True)
        ]


def _model_settings(
    nms_threshold: float | None,
    max_detections: int | None,
    bbox_x_factor: float | None,
    bbox_y_factor: float | None,
    expand_forehead: float | None,
) -> dict[str, Any]:
    """Those that are given, by the names of `ModelConfig`."""
    settings = {
        "nms_threshold": nms_threshold,
        "max_detections": max_detections,
        "box_x_factor": bbox_x_factor,
        "box_y_factor": bbox_y_factor,
        "box_forehead": expand_forehead,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _is_folder(images: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(images, str | os.PathLike) and Path(images).is_dir()


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")


def _detections(output: dict[str, Tensor], picture: _Prepared) -> FaceDetections:
    poses, boxes, scores = (
        output[name].cpu().numpy().astype(np.float64) for name in ("dofs", "boxes", "scores")
    )
    assumed = image_intrinsics(*picture.size_hw)
    camera = picture.intrinsics
    if camera is not None:
        poses = poses_for_camera(poses, boxes, assumed, camera)
    return FaceDetections(
        poses, boxes, scores, assumed if camera is None else camera, picture.size_hw
    )
