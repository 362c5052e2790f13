"""The first stage: proposals from the pyramid."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import (
    RegionProposalNetwork,
    concat_box_prediction_layers,
)
from torchvision.ops import nms

from img2pose.devices import to_device
from img2pose.models.draws import Draw, uniform_keys
from img2pose.models.losses import LossTerm
from img2pose.models.matching import BACKGROUND, FOREGROUND, match_boxes, sample_balanced
from img2pose.models.precision import in_float32, lower_precision


def suppress_side_by_side(
    boxes: Tensor, scores: Tensor, levels: Tensor, threshold: float
) -> Tensor:
    """`batched_nms` in one call, whatever the number of boxes: the host waits once.

    Each level's boxes are moved beside those of the level before; no coordinate may be negative.
    """
    if len(boxes) == 0:
        return levels
    beside = levels.to(boxes) * (1 + boxes.max())
    kept: Tensor = nms(boxes + beside[:, None], scores, threshold)
    return kept


def suppress_within_levels(
    boxes: Tensor, scores: Tensor, levels: Tensor, threshold: float, most: int
) -> Tensor:
    """Non-maximum suppression within each pyramid level, the best over all levels kept.

    Suppression is greedy from the best box down, so what is kept of the best M boxes does not
    depend on the others: on a CPU no more are looked at than it takes to find `most`.

    Args:
        boxes: (N, 4).
        scores: (N,).
        levels: (N,) int64.
        threshold: Boxes that overlap a better one of their level more are dropped.
        most: Number to keep.

    Returns:
        Indices (at most `most`,), best first: what `batched_nms(...)[:most]` gives, up to ties.
    """
    if boxes.device.type != "cpu":
        return suppress_side_by_side(boxes, scores, levels, threshold)[:most]
    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for following in torch.split(order, 2 * most):
        # What is kept stays so, and suppresses what comes after it.
        candidates = torch.cat([kept, following])
        is_kept = torch.zeros(len(candidates), dtype=torch.bool)
        for level in torch.unique(levels[candidates]).tolist():
            ranks = torch.nonzero(levels[candidates] == level).squeeze(1)
            in_level = candidates[ranks]
            is_kept[ranks[nms(boxes[in_level], scores[in_level], threshold)]] = True
        kept = candidates[is_kept]
        if len(kept) >= most:
            break
    return kept[:most]


class ProposalNetwork(RegionProposalNetwork):
    """torchvision's region proposal network, the same numbers for less work.

    Only the anchors that survive the choice of the best on each level are decoded, and
    suppression stops when enough proposals are found. In training, matching and sampling have
    fixed shapes, and only sampled anchors get targets.

    Differs: an anchor is the best of a face only if it touches it. The sampler draws from another
    stream of random numbers.

    Args:
        bfloat16: See `InferenceProfile`.
        **inherited: torchvision's. `score_thresh` holds in evaluation only.
    """

    def __init__(self, *, bfloat16: bool, **inherited: Any) -> None:
        super().__init__(**inherited)
        self.bfloat16 = bfloat16

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, LossTerm]]:
        """Proposes boxes.

        Args:
            images: The batch; its padded size is what anchors are laid over.
            features: Pyramid levels by name, (B, C, H, W).
            targets: For training: `boxes` (N, 4) an image, and perhaps its `seed`.

        Returns:
            Proposals (P, 4) an image, best first, clipped to the image, in pixels of the resized
            image; `loss_objectness` and `loss_rpn_box_reg` (empty in evaluation).
        """
        levels = list(features.values())
        with lower_precision(levels[0].device, wanted=self.bfloat16 and not self.training):
            objectness, deltas = self.head(levels)
        # All images of a batch have one padded size, so one set of anchors serves.
        anchors = self.anchor_generator(images, levels)[0]
        sizes = [level.shape[1] * level.shape[2] * level.shape[3] for level in objectness]
        objectness, deltas = concat_box_prediction_layers(objectness, deltas)
        objectness = objectness.view(len(images.image_sizes), -1).to(anchors)
        deltas = deltas.view(len(images.image_sizes), -1, 4).to(anchors)
        proposals = self._propose(
            objectness.detach(), deltas.detach(), anchors, sizes, images.image_sizes
        )
        if not self.training:
            return proposals, {}
        if targets is None:
            raise ValueError("training needs targets")
        return proposals, self._losses(objectness, deltas, anchors, targets)

    @in_float32
    def _propose(
        self,
        objectness: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        sizes: list[int],
        image_shapes: list[tuple[int, int]],
    ) -> list[Tensor]:
        best = self._get_top_n_idx(objectness, sizes)
        scores = objectness.gather(1, best).sigmoid()
        bounds = to_device(torch.tensor(sizes).cumsum(0), best.device)
        levels = torch.bucketize(best, bounds, right=True)
        decoded = self.box_coder.decode_single(
            deltas.gather(1, best[..., None].expand(-1, -1, 4)).reshape(-1, 4),
            anchors[best].reshape(-1, 4),
        ).view(*best.shape, 4)
        limits = torch.tensor([[w, h, w, h] for h, w in image_shapes], dtype=decoded.dtype)
        boxes = decoded.clamp(min=0).minimum(to_device(limits, decoded.device)[:, None])
        usable_boxes = (boxes[..., 2:] - boxes[..., :2] >= self.min_size).all(-1)
        if not self.training:
            usable_boxes &= scores >= self.score_thresh
        proposals = []
        for index in range(len(image_shapes)):
            usable = torch.nonzero(usable_boxes[index]).squeeze(1)
            candidates = boxes[index, usable]
            kept = suppress_within_levels(
                candidates,
                scores[index, usable],
                levels[index, usable],
                self.nms_thresh,
                self.post_nms_top_n(),
            )
            proposals.append(candidates[kept])
        return proposals

    @in_float32
    def _losses(
        self,
        objectness: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        targets: list[dict[str, Tensor]],
    ) -> dict[str, LossTerm]:
        faces, labels = zip(
            *(
                match_boxes(
                    target["boxes"],
                    anchors,
                    foreground_iou=self.proposal_matcher.high_threshold,
                    background_iou=self.proposal_matcher.low_threshold,
                    best_always=True,
                )
                for target in targets
            ),
            strict=True,
        )
        label = torch.stack(labels)
        sampler = self.fg_bg_sampler
        index, is_drawn = sample_balanced(
            label,
            uniform_keys(targets, Draw.ANCHORS, label),
            sampler.batch_size_per_image,
            sampler.positive_fraction,
        )
        label = label.gather(1, index)
        drawn_anchors = anchors[index]
        # Where there is no face the anchor stands in for it: its loss is not counted.
        matched = torch.stack(
            [
                target["boxes"][face[i]].to(anchors) if len(target["boxes"]) else anchors[i]
                for target, face, i in zip(targets, faces, index, strict=True)
            ]
        )
        wanted = self.box_coder.encode_single(matched.view(-1, 4), drawn_anchors.view(-1, 4))
        found = deltas.gather(1, index[..., None].expand(-1, -1, 4)).view(-1, 4)
        box_loss = F.smooth_l1_loss(found, wanted, beta=1 / 9, reduction="none").sum(1)
        is_face = (is_drawn & (label == FOREGROUND)).view(-1)
        score_loss = F.binary_cross_entropy_with_logits(
            objectness.gather(1, index), (label != BACKGROUND).to(deltas.dtype), reduction="none"
        )
        count = is_drawn.sum().to(deltas.dtype)
        return {
            "loss_objectness": LossTerm(torch.where(is_drawn, score_loss, 0).sum(), count),
            "loss_rpn_box_reg": LossTerm(torch.where(is_face, box_loss, 0).sum(), count),
        }
