"""Checkpoints of ours as a face detector that labels photographs with 68 points."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from img2pose.annotators.protocol import FoundFaces
from img2pose.geometry import project_points
from img2pose.inference.detector import Detector


class CheckpointDetector:
    """Faces with the 68 reference points projected with their poses.

    The points lie where the rigid reference face has them: a pose fitted to them is the model's.
    """

    def __init__(
        self,
        *,
        model_path: str | os.PathLike[str],
        score_threshold: float | None = None,
        device: str | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
    ) -> None:
        """Loads the model.

        Args:
            model_path: Checkpoint that `train.py` wrote.
            score_threshold: Faces with a greater score are returned, 0 to 1; None: above the
                checkpoint's `face_score_threshold`.
            device: A CUDA GPU where there is one, if None.
            min_size: Shorter side that pictures are resized to, in pixels; None: the checkpoint's.
            max_size: Longest longer side of these; None: the checkpoint's.

        Raises:
            InputError: The file is no checkpoint, there is no such device, or a size is unusable.
            ValueError: The threshold is out of range.
        """
        if score_threshold is not None:
            if isinstance(score_threshold, bool) or not isinstance(score_threshold, int | float):
                raise ValueError(f"score_threshold must be a number, not {score_threshold!r}")
            if not 0 <= score_threshold <= 1:
                raise ValueError(f"score_threshold must be from 0 to 1, not {score_threshold}")
        sizes = {"min_size": min_size, "max_size": max_size}
        overrides: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
        self._detector = Detector.from_checkpoint(
            model_path, device=device, score_threshold=score_threshold, **overrides
        )

    def __call__(self, image_rgb: np.ndarray, /) -> FoundFaces:
        """Finds the faces of a picture (H, W, 3) uint8."""
        found = self._detector.predict(image_rgb)
        points_68 = self._detector.references.points_68
        points = project_points(points_68, found.poses, found.intrinsics)
        return FoundFaces(found.boxes, found.scores, list(points))
