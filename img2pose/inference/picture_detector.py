"""What every detector shares: pictures of any origin in, read ahead and in batches, faces out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar, overload

import numpy as np
from PIL import Image

from img2pose.config import ModelConfig
from img2pose.detections import FaceDetections
from img2pose.geometry import image_intrinsics
from img2pose.images import ImageLike, find_images, is_image
from img2pose.inference.batching import read_ahead, run_in_batches
from img2pose.inference.given_pictures import (
    Cameras,
    DecodedPicture,
    Lenses,
    decode,
    poses_for_camera,
    with_cameras,
)
from img2pose.models.detection_settings import DetectionSettings

if TYPE_CHECKING:
    from torch import Tensor

# Decoded pictures may be large; one being looked at and two behind it keep the reader busy.
_READ_AHEAD = 2
_BATCHES_AHEAD = 4

Prepared = TypeVar("Prepared")


class PictureDetector(ABC, Generic[Prepared]):
    """Pictures in, faces out; how they are found is the subclass's.

    Several threads may call one detector at the same time.

    Attributes:
        settings: What counts as a face.
    """

    settings: DetectionSettings

    @abstractmethod
    def _prepare(self, decoded: DecodedPicture) -> Prepared:
        """A picture as the model looks at it."""

    @abstractmethod
    def _kind(self, prepared: Prepared) -> Hashable:
        """Pictures of one kind may run together."""

    @abstractmethod
    def _run(self, batch: list[Prepared]) -> list[FaceDetections]:
        """The faces of each picture of one kind."""

    def _set_settings(self, config: ModelConfig, score_threshold: float | None) -> None:
        """Takes the settings of a configuration; without a threshold that for faces."""
        threshold = config.face_score_threshold if score_threshold is None else score_threshold
        self.settings = DetectionSettings.of(config, threshold)
        # The setter checks it.
        self.score_threshold = threshold

    @property
    def score_threshold(self) -> float:
        """Faces with a greater score are returned; it may be set."""
        return self.settings.score_threshold

    @score_threshold.setter
    def score_threshold(self, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"score_threshold must be between 0 and 1, not {threshold}")
        self.settings = replace(self.settings, score_threshold=threshold)

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
        if is_image(images) and not _is_folder(images):
            _check_batch_size(batch_size)
            (given,) = with_cameras([images], intrinsics, distortion)
            return self._run([self._prepare(decode(given))])[0]
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
        elif is_image(images):
            images = [images]
        given = with_cameras(images, intrinsics, distortion)
        return run_in_batches(
            map(self._prepare, read_ahead(given, decode, _READ_AHEAD)),
            self._run,
            kind=self._kind,
            batch_size=batch_size,
            look_ahead=held,
        )


def model_settings(
    nms_threshold: float | None,
    max_detections: int | None,
    bbox_x_factor: float | None,
    bbox_y_factor: float | None,
    expand_forehead: float | None,
) -> dict[str, Any]:
    """Those of a detector's settings that are given, by the names of `ModelConfig`."""
    settings = {
        "nms_threshold": nms_threshold,
        "max_detections": max_detections,
        "box_x_factor": bbox_x_factor,
        "box_y_factor": bbox_y_factor,
        "box_forehead": expand_forehead,
    }
    return {name: value for name, value in settings.items() if value is not None}


def detections_in(
    poses: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    size_hw: tuple[int, int],
    intrinsics: np.ndarray | None,
) -> FaceDetections:
    """What a model found, in the camera that took the picture.

    Args:
        poses: (N, 6) in the camera assumed for the picture.
        boxes: (N, 4) pixels.
        scores: (N,).
        size_hw: Of the picture.
        intrinsics: (3, 3) of the camera that took it; None: the assumed one.
    """
    poses, boxes, scores = (np.asarray(a, dtype=np.float64) for a in (poses, boxes, scores))
    camera = image_intrinsics(*size_hw)
    if intrinsics is not None:
        poses = poses_for_camera(poses, boxes, camera, intrinsics)
        camera = intrinsics
    return FaceDetections(poses, boxes, scores, camera, size_hw)


def _is_folder(images: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(images, str | os.PathLike) and Path(images).is_dir()


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
