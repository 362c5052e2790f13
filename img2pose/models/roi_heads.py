"""The second stage: proposals to scored faces with poses, boxes made from the poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import nms

from img2pose.devices import to_device
from img2pose.geometry import (
    boxes_from_points,
    image_intrinsics,
    pose_box_to_image,
    project_points,
)
from img2pose.models.detection_settings import DetectionSettings
from img2pose.models.draws import Draw, uniform_keys
from img2pose.models.losses import LossTerm, pose_losses
from img2pose.models.matching import FOREGROUND, match_boxes, sample_balanced
from img2pose.models.precision import in_float32, lower_precision
from img2pose.references import PoseReferences
from img2pose.types import PoseStats

# Pixels. A thinner proposal has no usable camera; a face outside the picture leaves a clipped box
# without area.
MIN_BOX_SIDE = 1e-2


class FaceCandidates(NamedTuple):
    """Proposals of all images of a batch that passed the score threshold, as faces.

    Attributes:
        boxes: (N, 4) made from the poses, pixels of the resized image.
        scores: (N,).
        poses: (N, 6) in the resized image's camera.
        image_index: (N,) int64.
    """

    boxes: Tensor
    scores: Tensor
    poses: Tensor
    image_index: Tensor


def _sides(boxes: Tensor) -> Tensor:
    return boxes[:, 2:] - boxes[:, :2]


class PoseRoIHeads(RoIHeads):
    """torchvision's RoI heads with a pose in place of box regression.

    In training the pose head sees the positives only; in evaluation only proposals whose score
    passes the threshold. Both heads read one pooling. Everything is done for all images of a
    batch at once; the host waits for the device three times a batch in evaluation (to learn how
    many proposals pass, how many faces are left, and how many of them each image has) and once in
    training (to learn the number of positives).

    Differs: the published code pools and runs the pose head for all proposals. The sampler draws
    from another stream of random numbers. With one positive in a batch, a batch norm in the pose
    head normalises by its running statistics and leaves them; without any, the head runs on no
    rows, so that its gradients are zeros that other processes can add theirs to.
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
        bfloat16: bool,
        **inherited: Any,
    ) -> None:
        super().__init__(bbox_reg_weights=None, **inherited)
        self.class_head = class_head
        self.class_predictor = class_predictor
        self.box_factors = box_factors
        self.min_depth = min_depth
        self.match_published = match_published
        self.bfloat16 = bfloat16
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

    @property
    def settings(self) -> DetectionSettings:
        """Its own, which hold where a call gives no others."""
        return DetectionSettings(
            self.score_thresh, self.nms_thresh, self.detections_per_img, self.box_factors
        )

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
        settings: DetectionSettings | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, LossTerm]]:
        """Scores proposals and finds poses.

        Args:
            features: Pyramid levels by name, of strides 4, 8, 16, 32 and more.
            proposals: (P, 4) an image, pixels of the resized image.
            image_shapes: Height and width of each resized image, without padding.
            targets: For training: `boxes` (N, 4), `labels` (N,), `dofs` (N, 6) in the resized
                images' cameras, and perhaps `seed`.
            settings: For evaluation; None: its own.

        Returns:
            Detections (empty in training) as `boxes`, `scores`, `labels`, `dofs` an image, in the
            resized image; losses (empty in evaluation).
        """
        if not self.training:
            image_index = self._image_index(proposals)
            boxes = torch.cat(proposals)
            pooled = self.pool(features, boxes, image_index)
            with lower_precision(boxes.device, wanted=self.bfloat16):
                logits = self.class_predictor(self.class_head(pooled)).float()
            candidates = self.find_faces(pooled, logits, boxes, image_index, image_shapes, settings)
            return self.choose_faces(candidates, image_shapes, settings), {}
        if targets is None:
            raise ValueError("training needs targets")
        return [], self._losses(features, proposals, image_shapes, targets)

    @in_float32
    def pool(self, features: dict[str, Tensor], boxes: Tensor, image_index: Tensor) -> Tensor:
        """Pools boxes (N, 4) of images (N,): (N, C * bins), in the order that the heads read."""
        pooled: Tensor = self.box_roi_pool(list(features.values())[:4], boxes, image_index)
        return pooled.transpose(1, 2).flatten(1)

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, LossTerm]:
        drawn = [
            self._draw(proposals_in_image.detach(), target)
            for proposals_in_image, target in zip(proposals, targets, strict=True)
        ]
        image_index = self._image_index([boxes for boxes, _, _ in drawn])
        boxes, labels, dofs = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        pooled = self.pool(features, boxes, image_index)
        logits = self.class_predictor(self.class_head(pooled)).float()
        classifier = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        positive = torch.nonzero(labels > 0).squeeze(1)
        losses = pose_losses(
            self._face_poses(pooled[positive], labels[positive]),
            boxes[positive],
            dofs[positive],
            self._cameras(image_shapes, boxes)[image_index[positive]],
            self.pose_mean,
            self.pose_stddev,
            self.points_5,
            self.min_depth,
        )
        positives = boxes.new_tensor(len(positive))
        return {
            "loss_classifier": LossTerm(classifier, (labels >= 0).sum().to(boxes.dtype)),
            "loss_dof_reg": LossTerm(losses.dof_reg * positives, positives),
            "loss_points": LossTerm(losses.points * positives, positives),
        }

    @in_float32
    def _draw(self, proposals: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (K, 4) of an image to learn from, their classes (-1: none), their faces' poses."""
        face_boxes = target["boxes"].to(proposals.dtype)
        boxes = torch.cat([proposals, face_boxes])
        face, match = match_boxes(
            face_boxes,
            boxes,
            foreground_iou=self.proposal_matcher.high_threshold,
            background_iou=self.proposal_matcher.low_threshold,
        )
        sampler = self.fg_bg_sampler
        index, is_drawn = sample_balanced(
            match,
            uniform_keys([target], Draw.PROPOSALS, match[None])[0],
            sampler.batch_size_per_image,
            sampler.positive_fraction,
        )
        face, match = face[index], match[index]
        if len(face_boxes):
            classes, dofs = target["labels"][face], target["dofs"].to(proposals.dtype)[face]
        else:
            classes, dofs = torch.zeros_like(match), boxes.new_zeros(len(index), 6)
        classes = torch.where(match == FOREGROUND, classes, 0)
        return boxes[index], torch.where(is_drawn, classes, -1), dofs

    def _face_poses(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Normalised poses (N, 6) of the classes `labels`."""
        with self._norm_that_fits(len(pooled)):
            regression = self.box_predictor(self.box_head(pooled))
        by_class = regression.float().unflatten(1, (-1, 6))
        poses: Tensor = by_class[torch.arange(len(labels), device=labels.device), labels]
        return poses

    @contextmanager
    def _norm_that_fits(self, count: int) -> Iterator[None]:
        # One face has no variance, none no mean: a batch norm judges by the running statistics.
        norm = self.box_predictor.dof_pred[1]
        training = norm.training
        if count < 2 and isinstance(norm, nn.BatchNorm1d):
            norm.eval()
        try:
            yield
        finally:
            norm.train(training)

    @staticmethod
    def _cameras(image_shapes: list[tuple[int, int]], like: Tensor) -> Tensor:
        """(B, 3, 3), the cameras of the images."""
        matrices = np.stack([image_intrinsics(*shape) for shape in image_shapes])
        return to_device(torch.from_numpy(matrices).to(like.dtype), like.device)

    @staticmethod
    def _image_index(boxes: list[Tensor]) -> Tensor:
        """(P,) int64, the image that each of all images' boxes lies in."""
        return torch.cat(
            [
                torch.full((len(b),), index, device=b.device, dtype=torch.int64)
                for index, b in enumerate(boxes)
            ]
        )

    def find_faces(
        self,
        pooled: Tensor,
        logits: Tensor,
        boxes: Tensor,
        image_index: Tensor,
        image_shapes: list[tuple[int, int]],
        settings: DetectionSettings | None = None,
    ) -> FaceCandidates:
        """Faces with poses, of the proposals whose score passes the threshold.

        Args:
            pooled: (P, C * bins) of `pool`.
            logits: (P, 2) of the class head.
            boxes: (P, 4) the proposals.
            image_index: (P,) the image of each.
            image_shapes: Height and width of each resized image.
            settings: None: its own.
        """
        settings = settings or self.settings
        all_scores = F.softmax(logits, -1)[:, 1]
        usable = (all_scores > settings.score_threshold) & (_sides(boxes) >= MIN_BOX_SIDE).all(1)
        kept = torch.nonzero(usable).squeeze(1)
        regression = self._face_poses(pooled[kept], torch.ones_like(kept))
        image_index = image_index[kept]
        return self.decode(
            regression, all_scores[kept], boxes[kept], image_index, image_shapes, settings
        )

    @in_float32
    def decode(
        self,
        regression: Tensor,
        scores: Tensor,
        boxes: Tensor,
        image_index: Tensor,
        image_shapes: list[tuple[int, int]],
        settings: DetectionSettings | None = None,
    ) -> FaceCandidates:
        """Poses in the images, and boxes made from them.

        Args:
            regression: (N, 6) normalised poses in the proposals' cameras.
            scores: (N,).
            boxes: (N, 4) the proposals.
            image_index: (N,) the image of each.
            image_shapes: Height and width of each resized image.
            settings: None: its own.
        """
        cameras = self._cameras(image_shapes, boxes)[image_index]
        sizes_hw = to_device(torch.tensor(image_shapes, dtype=boxes.dtype), boxes.device)
        factors = (settings or self.settings).box_factors
        poses, face_boxes = self.faces_in_cameras(
            regression, boxes, cameras, sizes_hw[image_index], factors
        )
        return FaceCandidates(face_boxes, scores, poses, image_index)

    def faces_in_cameras(
        self,
        regression: Tensor,
        boxes: Tensor,
        cameras: Tensor,
        sizes_hw: Tensor,
        box_factors: Sequence[float | Tensor],
    ) -> tuple[Tensor, Tensor]:
        """What the pose head says of proposals, in tensors alone: ready to be exported.

        Args:
            regression: (N, 6) normalised poses in the proposals' cameras.
            boxes: (N, 4) the proposals.
            cameras: (3, 3), or (N, 3, 3) of each one's image.
            sizes_hw: (2,), or (N, 2) height and width of each one's image.
            box_factors: Three, see `DetectionSettings`.

        Returns:
            (N, 6) poses in the images' cameras, (N, 4) boxes made from them.
        """
        poses = pose_box_to_image(
            regression * self.pose_stddev + self.pose_mean,
            boxes,
            cameras,
            whole_pixel_centers=self.match_published,
        )
        face_boxes = boxes_from_points(
            project_points(self.points_68, poses, cameras),
            poses,
            sizes_hw,
            *box_factors,
            published_rounding=self.match_published,
        )
        return poses, face_boxes

    def choose_faces(
        self,
        found: FaceCandidates,
        image_shapes: list[tuple[int, int]],
        settings: DetectionSettings | None = None,
    ) -> list[dict[str, Tensor]]:
        """Suppresses doubles; the best faces of each image, best first.

        The published detections keep faces that lie wholly outside the picture.
        """
        settings = settings or self.settings
        boxes = found.boxes.double()
        # Images are laid side by side; in float64 that moves no overlap across the threshold.
        beside = found.image_index * (1.0 + max(max(shape) for shape in image_shapes))
        side_by_side = boxes + beside.to(boxes)[:, None]
        survivors = nms(side_by_side, found.scores.double(), settings.nms_threshold)
        image = found.image_index[survivors]
        count = len(image_shapes)
        if not self.match_published:
            has_area = (_sides(found.boxes[survivors]) >= MIN_BOX_SIDE).all(1)
            image = torch.where(has_area, image, count)
        by_image = survivors[image.argsort(stable=True)]
        sizes = (image[:, None] == torch.arange(count, device=image.device)).sum(0).tolist()
        detections = []
        for chosen in by_image[: sum(sizes)].split(sizes):
            chosen = chosen[: settings.max_detections]
            detections.append(
                {
                    "boxes": found.boxes[chosen],
                    "scores": found.scores[chosen],
                    "labels": torch.ones_like(chosen),
                    "dofs": found.poses[chosen],
                }
            )
        return detections
