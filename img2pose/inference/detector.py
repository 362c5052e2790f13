"""Faces and their poses in the user's pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from img2pose.detections import FaceDetections
from img2pose.devices import choose_device
from img2pose.geometry import image_intrinsics, pose_box_to_image, pose_image_to_box
from img2pose.images import ImageLike, image_tensor, is_image
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model
from img2pose.references import PoseReferences


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


def _in_batches(images: Iterable[ImageLike], size: int) -> Iterator[list[ImageLike]]:
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        yield batch


class Detector:
    """A model and a score threshold: pictures in, faces out.

    Attributes:
        model: Put into evaluation mode when the detector is built.
        score_threshold: Faces with a greater score are returned. The model's own threshold
            (`model.config.score_threshold`) holds too.
    """

    def __init__(self, model: Img2Pose, score_threshold: float = 0.5) -> None:
        self.model = model.eval()
        self.score_threshold = score_threshold

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        device: str | torch.device | None = None,
        score_threshold: float = 0.5,
        **overrides: Any,
    ) -> Detector:
        """Loads a model.

        Args:
            path: Checkpoint.
            device: A CUDA GPU where there is one, if None.
            score_threshold: See the class; the model is loaded with the same.
            **overrides: `load_model`'s, such as `min_size` and `max_size`.

        Raises:
            InputError: The file is missing or no checkpoint, or there is no such device.
        """
        chosen = choose_device(None if device is None else str(device))
        # The model spends no pose head on proposals that the detector would drop.
        model = load_model(path, device=chosen, score_threshold=score_threshold, **overrides)
        return cls(model, score_threshold)

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
        self, images: ImageLike, intrinsics: np.ndarray | None = None, batch_size: int = 1
    ) -> FaceDetections: ...

    @overload
    def predict(
        self, images: Iterable[ImageLike], intrinsics: np.ndarray | None = None, batch_size: int = 1
    ) -> list[FaceDetections]: ...

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        intrinsics: np.ndarray | None = None,
        batch_size: int = 1,
    ) -> FaceDetections | list[FaceDetections]:
        """Finds faces and their poses.

        Args:
            images: One picture or several: paths (read upright), PIL images (taken as they are),
                uint8 RGB arrays (H, W, 3) or float RGB tensors (3, H, W) in 0..1.
            intrinsics: (3, 3), pixels; the camera of all the pictures. The poses are re-expressed
                for it. If None, each picture has `image_intrinsics(height, width)`.
            batch_size: Pictures held at a time; those equally large once resized run together.

        Returns:
            The faces of the picture, or a list with those of each picture.

        Raises:
            InputError: A file is missing, damaged or no picture.
            ValueError: An array, tensor or matrix of another shape, type or range.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        camera = None if intrinsics is None else _checked_intrinsics(intrinsics)
        if is_image(images):
            return self._predict_batch([image_tensor(images)], camera)[0]
        return [
            detections
            for batch in _in_batches(images, batch_size)
            for detections in self._predict_batch([image_tensor(image) for image in batch], camera)
        ]

    def _predict_batch(
        self, images: list[Tensor], camera: np.ndarray | None
    ) -> list[FaceDetections]:
        with torch.inference_mode():
            outputs = self.model([image.to(self.device) for image in images])
        return [
            self._detections(output, image, camera)
            for output, image in zip(outputs, images, strict=True)
        ]

    def _detections(
        self, output: dict[str, Tensor], image: Tensor, camera: np.ndarray | None
    ) -> FaceDetections:
        height, width = image.shape[-2:]
        poses, boxes, scores = (
            output[name].cpu().numpy().astype(np.float64) for name in ("dofs", "boxes", "scores")
        )
        assumed = image_intrinsics(height, width)
        if camera is not None:
            poses = poses_for_camera(poses, boxes, assumed, camera)
        found = FaceDetections(
            poses, boxes, scores, assumed if camera is None else camera, (height, width)
        )
        return found.above(self.score_threshold)
