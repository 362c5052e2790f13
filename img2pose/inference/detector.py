"""Faces and their poses in the user's pictures."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from img2pose.detections import FaceDetections
from img2pose.devices import choose_device
from img2pose.images import image_tensor
from img2pose.inference.given_pictures import DecodedPicture
from img2pose.inference.picture_detector import PictureDetector, detections_in, model_settings
from img2pose.models.img2pose import Img2Pose
from img2pose.models.precision import PRECISIONS, autocast_to
from img2pose.models.shipped import shipped_checkpoint
from img2pose.models.weights import load_model
from img2pose.references import PoseReferences


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


class Detector(PictureDetector[_Prepared]):
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
        score_threshold: float | None = None,
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
            **model_settings(
                nms_threshold, max_detections, bbox_x_factor, bbox_y_factor, expand_forehead
            ),
        )
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}: {precision!r}")
        self.model = model.eval()
        self.precision = precision
        self._set_settings(config, score_threshold)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str] | None = None,
        device: str | torch.device | None = None,
        score_threshold: float | None = None,
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
            path: Checkpoint; None: the one that comes with the package (`shipped_checkpoint`).
            device: A CUDA GPU where there is one, if None.
            score_threshold: Faces with a greater score are returned; None: above the checkpoint's
                `face_score_threshold` (0.5 unless it was trained or made with another).
            nms_threshold: IoU of boxes above which the face with the lower score is dropped; None:
                the checkpoint's (0.5 as published).
            max_detections: Most faces a picture; None: the checkpoint's (1000 as published).
            bbox_x_factor: Width of a face's box over that of its 68 projected points; None: the
                checkpoint's (1.1 as published). Boxes and their suppression change; poses do
                not, except where `predict` is given intrinsics: a little, since the way to that
                camera leads through the boxes.
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
        if path is None:
            path = shipped_checkpoint()
        chosen = choose_device(None if device is None else str(device))
        overrides |= model_settings(
            nms_threshold, max_detections, bbox_x_factor, bbox_y_factor, expand_forehead
        )
        if score_threshold is not None:
            overrides["score_threshold"] = score_threshold
        model = load_model(path, device=chosen, **overrides)
        return cls(model, score_threshold, precision=precision)

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

    def _prepare(self, decoded: DecodedPicture) -> _Prepared:
        with torch.inference_mode():
            image = image_tensor(decoded.image).to(self.device)
            tensor = self.model.prepare(image)
        return _Prepared(tensor, (image.shape[1], image.shape[2]), decoded.intrinsics)

    def _kind(self, prepared: _Prepared) -> Hashable:
        return prepared.tensor.shape

    def _run(self, batch: list[_Prepared]) -> list[FaceDetections]:
        with torch.inference_mode(), autocast_to(self.precision, self.device):
            outputs = self.model.detect(
                [picture.tensor for picture in batch],
                [picture.size_hw for picture in batch],
                self.settings,
            )
        return [
            detections_in(
                output["dofs"].cpu().numpy(),
                output["boxes"].cpu().numpy(),
                output["scores"].cpu().numpy(),
                picture.size_hw,
                picture.intrinsics,
            )
            for output, picture in zip(outputs, batch, strict=True)
        ]
