"""The second stage: proposals to scored faces with poses, boxes made from the poses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import batched_nms, remove_small_boxes

from img2pose.geometry import (
    boxes_from_points,
    image_intrinsics,
    pose_box_to_image,
    project_points,
)
from img2pose.models.losses import pose_losses
from img2pose.references import PoseReferences
from img2pose.types import PoseStats

# Pixels; a face outside the picture leaves a clipped box without area.
MIN_BOX_SIDE = 1e-2


class PoseRoIHeads(RoIHeads):
    """torchvision's RoI heads with a pose in place of box regression.

    Sampling and matching are inherited. In training the pose head sees the positives only; in
    evaluation only proposals whose score passes the threshold. Both heads read one pooling.

    Differs: the published code pools and runs the pose head for all proposals.
    """

    def __init__(
        self,
        *,
        class_head: nn.Module,
        class_predictor: nn.Module,
        pose_stats: PoseStats,
        references: PoseReferences,
        box_factors: tuple[float, float, float],
        min_depth: float | None,
        match_published: bool,
        **inherited: Any,
    ) -> None:
        super().__init__(bbox_reg_weights=None, **inherited)
        self.class_head = class_head
        self.class_predictor = class_predictor
        self.box_factors = box_factors
        self.min_depth = min_depth
        self.match_published = match_published
        constants = {
            "pose_mean": pose_stats.mean,
            "pose_stddev": pose_stats.stddev,
            "points_68": references.points_68,
            "points_5": references.points_5,
        }
        for name, value in constants.items():
            tensor = torch.tensor(value, dtype=torch.float32)
            # Not in the state dict, whose layout is the published one.
            self.register_buffer(name, tensor, persistent=False)

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Scores proposals and finds poses.

        Args:
            features: Pyramid levels by name.
            proposals: (P, 4) an image, pixels of the resized image.
            image_shapes: Height and width of each resized image, without padding.
            targets: For training: `boxes` (N, 4), `labels` (N,), `dofs` (N, 6) in the resized
                images' cameras.

        Returns:
            Detections (empty in training) as `boxes`, `scores`, `labels`, `dofs` an image, in the
            resized image; losses (empty in evaluation).
        """
        if not self.training:
            pooled = self.box_roi_pool(features, proposals, image_shapes)
            logits = self.class_predictor(self.class_head(pooled))
            return self._detect(pooled, logits, proposals, image_shapes), {}
        if targets is None:
            raise ValueError("training needs targets")
        proposals, matched, labels, _ = self.select_training_samples(proposals, targets)
        pooled = self.box_roi_pool(features, proposals, image_shapes)
        logits = self.class_predictor(self.class_head(pooled))
        all_labels = torch.cat(labels)
        positive = torch.nonzero(all_labels > 0).squeeze(1)
        matched_poses = torch.cat(
            [
                # An image without faces has no positives either: any row will do.
                (t["dofs"] if len(t["dofs"]) else t["dofs"].new_zeros(1, 6))[indices]
                for t, indices in zip(targets, matched, strict=True)
            ]
        )
        losses = pose_losses(
            self._face_poses(pooled[positive], all_labels[positive]),
            torch.cat(proposals)[positive],
            matched_poses[positive].to(pooled.dtype),
            self._cameras(proposals, image_shapes)[positive],
            self.pose_mean,
            self.pose_stddev,
            self.points_5,
            self.min_depth,
        )
        return [], {
            "loss_classifier": F.cross_entropy(logits, all_labels),
            "loss_dof_reg": losses.dof_reg,
            "loss_points": losses.points,
        }

    def _face_poses(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Normalised poses (N, 6) of the classes `labels`; an empty batch makes no statistics."""
        if len(pooled) == 0:
            return pooled.flatten(1)[:, :6]
        with self._norm_that_fits(len(pooled)):
            regression = self.box_predictor(self.box_head(pooled)).reshape(len(pooled), -1, 6)
        poses: Tensor = regression[torch.arange(len(labels), device=labels.device), labels]
        return poses

    @contextmanager
    def _norm_that_fits(self, count: int) -> Iterator[None]:
        # One face has no variance: a batch norm judges it by the running statistics.
        norm = self.box_predictor.dof_pred[1]
        training = norm.training
        if count == 1 and isinstance(norm, nn.BatchNorm1d):
            norm.eval()
        try:
            yield
        finally:
            norm.train(training)

    def _cameras(self, proposals: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """(P, 3, 3), the camera of the image that each of all images' proposals lies in."""
        like = proposals[0]
        cameras = torch.stack(
            [
                torch.as_tensor(image_intrinsics(*shape), dtype=like.dtype, device=like.device)
                for shape in image_shapes
            ]
        )
        return cameras[self._image_index(proposals)]

    @staticmethod
    def _image_index(proposals: list[Tensor]) -> Tensor:
        return torch.cat(
            [
                torch.full((len(p),), index, device=p.device, dtype=torch.int64)
                for index, p in enumerate(proposals)
            ]
        )

    def _detect(
        self,
        pooled: Tensor,
        logits: Tensor,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        all_scores = F.softmax(logits, -1)[:, 1]
        kept = torch.nonzero(all_scores > self.score_thresh).squeeze(1)
        scores = all_scores[kept]
        image_index = self._image_index(proposals)[kept]
        boxes_xyxy = torch.cat(proposals)[kept]
        cameras = self._cameras(proposals, image_shapes)[kept]
        labels = torch.ones_like(image_index)
        regression = self._face_poses(pooled[kept], labels)
        poses_in_box = regression * self.pose_stddev + self.pose_mean
        poses = pose_box_to_image(
            poses_in_box, boxes_xyxy, cameras, whole_pixel_centers=self.match_published
        )
        points = project_points(self.points_68, poses, cameras)
        sizes_hw = torch.tensor(image_shapes, dtype=points.dtype, device=points.device)
        face_boxes = boxes_from_points(
            points,
            poses,
            sizes_hw[image_index],
            *self.box_factors,
            published_rounding=self.match_published,
        )
        with_area = remove_small_boxes(face_boxes, MIN_BOX_SIDE)
        survivors = with_area[
            batched_nms(
                face_boxes[with_area],
                scores[with_area],
                image_index[with_area],
                self.nms_thresh,
            )
        ]
        detections = []
        for index in range(len(image_shapes)):
            chosen = survivors[image_index[survivors] == index][: self.detections_per_img]
            detections.append(
                {
                    "boxes": face_boxes[chosen],
                    "scores": scores[chosen],
                    "labels": labels[chosen],
                    "dofs": poses[chosen],
                }
            )
        return detections
