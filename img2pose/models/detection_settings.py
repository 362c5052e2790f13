"""What becomes of proposals with a score: which count as faces, and how their boxes are made."""

from __future__ import annotations

from dataclasses import dataclass

from img2pose.config import ModelConfig


@dataclass(frozen=True)
class DetectionSettings:
    """Settings of detection that may differ from call to call; the weights know nothing of them.

    Attributes:
        score_threshold: Detections need a score above it.
        nms_threshold: IoU of the boxes above which the lower scored detection goes.
        max_detections: Most detections an image.
        box_factors: Width and height of a face's box over those of the projected 68 points, and
            the share of the extent that is added on the forehead's side.
    """

    score_threshold: float
    nms_threshold: float
    max_detections: int
    box_factors: tuple[float, float, float]

    @classmethod
    def of(cls, config: ModelConfig, score_threshold: float) -> DetectionSettings:
        """Those of a model's configuration, but for the threshold."""
        return cls(
            score_threshold,
            config.nms_threshold,
            config.max_detections,
            (config.box_x_factor, config.box_y_factor, config.box_forehead),
        )
