"""The model as one graph of tensors: a picture of any size in, faces out.

Everything that `Img2Pose` decides in Python (sizes, suppression, which level a box is pooled from)
is here an operation of its own, with its translation to ONNX beside it. What is computed comes
from the model's own modules and from `img2pose.geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from onnxscript import opset18
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval
from torchvision.ops import nms, roi_align

from img2pose.geometry import transform_poses
from img2pose.models.img2pose import IMAGENET_MEAN, IMAGENET_STD, ROI_BINS, Img2Pose
from img2pose.models.pooling import STRIDES, pyramid_levels
from img2pose.models.roi_heads import MIN_BOX_SIDE

SAMPLES_A_BIN = 2
_FLOAT, _INT64, _DOUBLE = 1, 7, 11
_BELOW_ALL_SCORES = -0.5
# Its own types know of no symbolic values.
op: Any = opset18


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


@torch.library.custom_op("img2pose::prepare_picture", mutates_args=())
def prepare_picture(
    image: Tensor, min_size: Tensor, max_size: Tensor, divisor: int
) -> tuple[Tensor, Tensor]:
    """Resizes, normalises and pads, as `PoseTransform` does.

    Args:
        image: (H, W, 3) uint8 RGB.
        min_size: () int64, the shorter side in pixels.
        max_size: () int64, the longest longer side.
        divisor: The padded sides are multiples of it.

    Returns:
        (1, 3, H', W') float32 and (2,) int64, height and width without the padding.
    """
    sides = torch.tensor(image.shape[:2], dtype=torch.float64)
    scale = torch.minimum(min_size / sides.min(), max_size / sides.max())
    size_hw = (sides * scale).floor().long().clamp(min=1)
    height, width = size_hw.tolist()
    picture = image.permute(2, 0, 1)[None].float()
    picture = F.interpolate(picture, (height, width), mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    picture = (picture / 255 - mean) / std
    return F.pad(picture, (0, -width % divisor, 0, -height % divisor)), size_hw


@prepare_picture.register_fake
def _(image: Tensor, min_size: Tensor, max_size: Tensor, divisor: int) -> tuple[Tensor, Tensor]:
    context = torch.library.get_ctx()
    height, width = (context.new_dynamic_size(min=1) for _ in range(2))
    shape = (1, 3, height * divisor, width * divisor)
    return image.new_empty(shape, dtype=torch.float32), image.new_empty(2, dtype=torch.int64)


def _prepare_picture_to_onnx(
    image: Any, min_size: Any, max_size: Any, divisor: int
) -> tuple[Any, Any]:
    sides = op.Shape(image, start=0, end=2)
    exact = op.Cast(sides, to=_DOUBLE)
    scale = op.Min(
        op.Div(op.Cast(min_size, to=_DOUBLE), op.ReduceMin(exact, keepdims=0)),
        op.Div(op.Cast(max_size, to=_DOUBLE), op.ReduceMax(exact, keepdims=0)),
    )
    one = _ints(1)
    size_hw = op.Max(op.Cast(op.Floor(op.Mul(exact, scale)), to=_INT64), one)
    picture = op.Cast(op.Transpose(image, perm=[2, 0, 1]), to=_FLOAT)
    picture = op.Unsqueeze(picture, _ints(0))
    shape = op.Concat(_ints(1, 3), size_hw, axis=0)
    picture = op.Resize(
        picture, None, None, shape, mode="linear", coordinate_transformation_mode="half_pixel"
    )
    factor = [1 / (255 * std) for std in IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    per_channel = _ints(3, 1, 1)
    picture = op.Add(
        op.Mul(picture, op.Reshape(op.Constant(value_floats=factor), per_channel)),
        op.Reshape(op.Constant(value_floats=offset), per_channel),
    )
    multiple = _ints(divisor)
    lacking = op.Mod(op.Neg(size_hw), multiple)
    padding = op.Concat(op.Constant(value_ints=[0] * 6), lacking, axis=0)
    return op.Pad(picture, padding), size_hw


@torch.library.custom_op("img2pose::best_anchors", mutates_args=())
def best_anchors(
    objectness: list[Tensor], deltas: list[Tensor], cells: list[Tensor], batch: Tensor, most: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The most promising anchors of each level, as `RegionProposalNetwork` chooses them.

    Args:
        objectness: (1, A, H, W) logits of each level.
        deltas: (1, 4 A, H, W) of each level.
        cells: (A, 4) anchors of each level about the origin, pixels of the batch.
        batch: (1, 3, H, W); the anchors lie over it.
        most: Number to keep of each level.

    Returns:
        Logits (K,), deltas (K, 4) and anchors (K, 4), the best of each level first, one level
        after the other; and how many are of each level (L,) int64.
    """
    chosen: list[tuple[Tensor, Tensor, Tensor]] = []
    for logits, delta, cell in zip(objectness, deltas, cells, strict=True):
        kinds, rows, columns = logits.shape[1:]
        flat = logits.permute(0, 2, 3, 1).reshape(-1)
        value, index = flat.topk(min(most, len(flat)))
        place, kind = index // kinds, index % kinds
        shift = torch.stack(
            [
                place % columns * (batch.shape[3] // columns),
                place // columns * (batch.shape[2] // rows),
            ],
            -1,
        )
        by_anchor = delta.view(kinds, 4, -1).permute(2, 0, 1).reshape(-1, 4)
        chosen.append((value, by_anchor[index], cell[kind] + shift.repeat(1, 2)))
    counts = torch.tensor([len(value) for value, _, _ in chosen])
    values, offsets, anchors = (torch.cat(parts) for parts in zip(*chosen, strict=True))
    return values, offsets, anchors, counts


@best_anchors.register_fake
def _(
    objectness: list[Tensor], deltas: list[Tensor], cells: list[Tensor], batch: Tensor, most: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size(min=1)
    return (
        batch.new_empty(count),
        batch.new_empty((count, 4)),
        batch.new_empty((count, 4)),
        batch.new_empty(len(objectness), dtype=torch.int64),
    )


def _best_anchors_to_onnx(
    objectness: Sequence[Any], deltas: Sequence[Any], cells: Sequence[Any], batch: Any, most: int
) -> tuple[Any, Any, Any, Any]:
    values, offsets, anchors, counts = [], [], [], []
    for logits, delta, cell in zip(objectness, deltas, cells, strict=True):
        kinds = op.Shape(logits, start=1, end=2)
        columns = op.Shape(logits, start=3, end=4)
        flat = op.Reshape(op.Transpose(logits, perm=[0, 2, 3, 1]), _ints(-1))
        count = op.Min(op.Shape(flat), _ints(most))
        value, index = op.TopK(flat, count)
        place, kind = op.Div(index, kinds), op.Mod(index, kinds)
        stride = op.Div(op.Shape(batch, start=2, end=4), op.Shape(logits, start=2, end=4))
        row_column = op.Concat(
            *(op.Unsqueeze(f(place, columns), _ints(1)) for f in (op.Div, op.Mod)), axis=1
        )
        shift_yx = op.Cast(op.Mul(row_column, stride), to=_FLOAT)
        shift = op.Gather(shift_yx, _ints(1, 0, 1, 0), axis=1)
        by_kind = op.Reshape(delta, op.Concat(kinds, _ints(4, -1), axis=0))
        # Deltas lie plane by plane; only those wanted are moved.
        wanted = op.Concat(
            *(op.Unsqueeze(part, _ints(1)) for part in (kind, place)),
            axis=1,
        )
        by_anchor = op.GatherND(op.Transpose(by_kind, perm=[0, 2, 1]), wanted)
        values.append(value)
        offsets.append(by_anchor)
        anchors.append(op.Add(op.Gather(cell, kind), shift))
        counts.append(count)
    return (
        op.Concat(*values, axis=0),
        op.Concat(*offsets, axis=0),
        op.Concat(*anchors, axis=0),
        op.Concat(*counts, axis=0),
    )


@torch.library.custom_op("img2pose::suppress", mutates_args=())
def suppress(
    boxes: Tensor, scores: Tensor, counts: Tensor, levels: int, threshold: Tensor, most: Tensor
) -> Tensor:
    """Non-maximum suppression within each level, the best over all levels kept.

    Args:
        boxes: (N, 4), one level after the other.
        scores: (N,); boxes with a score below 0 are left out.
        counts: (L,) int64, how many are of each level.
        levels: L.
        threshold: () float32; boxes that overlap a better one of their level more are dropped.
        most: () int64, number to keep.

    Returns:
        Indices (at most `most`,), best first.
    """
    kept, first = [], 0
    for count in counts.tolist():
        here = slice(first, first + count)
        survivors = first + nms(boxes[here], scores[here], float(threshold))
        kept.append(survivors[scores[survivors] >= 0])
        first += count
    index = torch.cat(kept)
    order = scores[index].argsort(descending=True, stable=True)
    return index[order[: int(most)]]


@suppress.register_fake
def _(
    boxes: Tensor, scores: Tensor, counts: Tensor, levels: int, threshold: Tensor, most: Tensor
) -> Tensor:
    return counts.new_empty(torch.library.get_ctx().new_dynamic_size())


def _suppress_to_onnx(
    boxes: Any, scores: Any, counts: Any, levels: int, threshold: Any, most: Any
) -> Any:
    one_threshold, at_most = op.Reshape(threshold, _ints(1)), op.Reshape(most, _ints(1))

    def survivors_of(boxes: Any, scores: Any) -> Any:
        kept = op.NonMaxSuppression(
            op.Unsqueeze(boxes, _ints(0)),
            op.Unsqueeze(scores, _ints(0, 1)),
            at_most,
            one_threshold,
            op.Constant(value_floats=[_BELOW_ALL_SCORES]),
        )
        return op.Squeeze(op.Slice(kept, _ints(2), _ints(3), _ints(1)), _ints(1))

    if levels == 1:
        return survivors_of(boxes, scores)
    first = _ints(0)
    kept = []
    for level in range(levels):
        count = op.Slice(counts, _ints(level), _ints(level + 1))
        last = op.Add(first, count)
        survivors = survivors_of(
            op.Slice(boxes, first, last, _ints(0)), op.Slice(scores, first, last)
        )
        kept.append(op.Add(survivors, first))
        first = last
    index = op.Concat(*kept, axis=0)
    _, order = op.TopK(op.Gather(scores, index), op.Min(op.Shape(index), at_most))
    return op.Gather(index, order)


@torch.library.custom_op("img2pose::pool_boxes", mutates_args=())
def pool_boxes(levels: list[Tensor], boxes: Tensor, box_levels: Tensor) -> tuple[Tensor, Tensor]:
    """RoIAlign of each box from its level, boxes put in the levels' order.

    Args:
        levels: Four tensors (1, C, H, W) of `STRIDES`.
        boxes: (N, 4) pixels.
        box_levels: (N,) int64, 0 to 3.

    Returns:
        (N, C, bins, bins) and (N,) int64, the boxes they belong to.
    """
    pooled, order = [], []
    for index, (level, stride) in enumerate(zip(levels, STRIDES, strict=True)):
        chosen = torch.nonzero(box_levels == index).squeeze(1)
        order.append(chosen)
        pooled.append(
            roi_align(level, [boxes[chosen]], ROI_BINS, 1 / stride, SAMPLES_A_BIN, aligned=False)
        )
    return torch.cat(pooled), torch.cat(order)


@pool_boxes.register_fake
def _(levels: list[Tensor], boxes: Tensor, box_levels: Tensor) -> tuple[Tensor, Tensor]:
    shape = (boxes.shape[0], levels[0].shape[1], ROI_BINS, ROI_BINS)
    return boxes.new_empty(shape), torch.empty_like(box_levels)


def _pool_boxes_to_onnx(levels: Sequence[Any], boxes: Any, box_levels: Any) -> tuple[Any, Any]:
    pooled, order = [], []
    for index, (level, stride) in enumerate(zip(levels, STRIDES, strict=True)):
        here = op.NonZero(op.Equal(box_levels, _ints(index)))
        chosen = op.Squeeze(here, _ints(0))
        order.append(chosen)
        pooled.append(
            op.RoiAlign(
                level,
                op.Gather(boxes, chosen),
                op.Mul(chosen, _ints(0)),
                coordinate_transformation_mode="output_half_pixel",
                output_height=ROI_BINS,
                output_width=ROI_BINS,
                sampling_ratio=SAMPLES_A_BIN,
                spatial_scale=1 / stride,
            )
        )
    return op.Concat(*pooled, axis=0), op.Concat(*order, axis=0)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.img2pose.prepare_picture.default: _prepare_picture_to_onnx,
    torch.ops.img2pose.best_anchors.default: _best_anchors_to_onnx,
    torch.ops.img2pose.suppress.default: _suppress_to_onnx,
    torch.ops.img2pose.pool_boxes.default: _pool_boxes_to_onnx,
}
"""ONNX for each operation above, as `torch.onnx.export` takes it."""


def _cameras(size_hw: Tensor) -> Tensor:
    """(3, 3) float32 `image_intrinsics` of a size (2,) int64."""
    height, width = size_hw.unbind()
    focal, zero = height + width, torch.zeros_like(height)
    entries = [focal, zero, width // 2, zero, focal, height // 2, zero, zero, zero + 1]
    return torch.stack(entries).float().view(3, 3)


def _without_batch_norm(layers: nn.Sequential) -> nn.Sequential:
    """A linear layer and the batch norm behind it as one: a norm asks how many rows there are."""
    linear, norm, *others = layers
    if isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
        return nn.Sequential(fuse_linear_bn_eval(linear, norm), *others)
    return layers


class PictureToFaces(nn.Module):
    """A model for one picture, in tensors alone.

    Args:
        model: In evaluation mode, on the CPU.
    """

    def __init__(self, model: Img2Pose) -> None:
        super().__init__()
        self.model = model
        self.pose_predictor = _without_batch_norm(model.roi_heads.box_predictor.dof_pred)
        self.eval()

    def forward(
        self,
        image: Tensor,
        score_threshold: Tensor,
        nms_threshold: Tensor,
        max_detections: Tensor,
        box_factors: Tensor,
        min_size: Tensor,
        max_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Finds faces.

        Args:
            image: (H, W, 3) uint8 RGB.
            score_threshold: () float32; faces need a score above it.
            nms_threshold: () float32; faces that overlap a better one more are dropped.
            max_detections: () int64, most faces.
            box_factors: (3,) float32, see `DetectionSettings`.
            min_size: () int64, shorter side in pixels that the picture is resized to.
            max_size: () int64, longest longer side.

        Returns:
            `boxes` (N, 4), `scores` (N,) and `poses` (N, 6) float32, in pixels and camera of the
            given picture, best first.
        """
        model = self.model
        batch, size_hw = prepare_picture(image, min_size, max_size, model.transform.size_divisible)
        levels = list(model._features(batch).values())
        proposals = self._propose(levels, batch, size_hw)
        pooled, order = pool_boxes(levels[: len(STRIDES)], proposals, pyramid_levels(proposals))
        proposals = proposals[order]
        pooled = pooled.flatten(1)
        heads = model.roi_heads
        scores = heads.class_predictor(heads.class_head(pooled)).softmax(-1)[:, 1]
        sides = proposals[:, 2:] - proposals[:, :2]
        usable = (scores > score_threshold) & (sides >= MIN_BOX_SIDE).all(1)
        passing = torch.nonzero(usable).squeeze(1)
        scores = scores[passing]
        regression = self.pose_predictor(heads.box_head(pooled[passing]))
        camera, size = _cameras(size_hw), size_hw.float()
        poses, boxes = heads.faces_in_cameras(
            regression.unflatten(1, (-1, 6))[:, 1],
            proposals[passing],
            camera,
            size,
            box_factors.unbind(),
        )
        kept = self._choose(boxes, scores, nms_threshold, max_detections)
        given_hw = torch.tensor(image.shape[:2])
        return self._in_given_picture(boxes[kept], scores[kept], poses[kept], size_hw, given_hw)

    def _propose(self, levels: list[Tensor], batch: Tensor, size_hw: Tensor) -> Tensor:
        rpn = self.model.rpn
        objectness, deltas = rpn.head(levels)
        logits, deltas, anchors, counts = best_anchors(
            objectness, deltas, rpn.anchor_generator.cell_anchors, batch, rpn.pre_nms_top_n()
        )
        limits = size_hw.flip(0).float().repeat(2)
        boxes = rpn.box_coder.decode_single(deltas, anchors).clamp(min=0).minimum(limits)
        scores = logits.sigmoid()
        usable = (boxes[:, 2:] - boxes[:, :2] >= rpn.min_size).all(-1)
        usable &= scores >= rpn.score_thresh
        scores = torch.where(usable, scores, -1.0)
        threshold, most = torch.tensor(rpn.nms_thresh), torch.tensor(rpn.post_nms_top_n())
        proposals: Tensor = boxes[suppress(boxes, scores, counts, len(levels), threshold, most)]
        return proposals

    def _choose(self, boxes: Tensor, scores: Tensor, nms_threshold: Tensor, most: Tensor) -> Tensor:
        heads = self.model.roi_heads
        # A box that lies wholly outside is inverted in the published rounding, and overlaps none.
        boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, :2], boxes[:, 2:])], -1)
        if not heads.match_published:
            has_area = (boxes[:, 2:] - boxes[:, :2] >= MIN_BOX_SIDE).all(1)
            scores = torch.where(has_area, scores, -1.0)
        counts = torch.tensor([boxes.shape[0]])
        kept: Tensor = suppress(boxes, scores, counts, 1, nms_threshold, most)
        return kept

    def _in_given_picture(
        self, boxes: Tensor, scores: Tensor, poses: Tensor, size_hw: Tensor, given_hw: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        factors = (given_hw.double() / size_hw.double()).float().flip(0)
        boxes = boxes * factors.repeat(2)
        if not self.model.transform.match_published:
            scaling = F.pad(torch.diag(factors), (0, 1))
            poses = transform_poses(poses, scaling, _cameras(size_hw), _cameras(given_hw))
        return boxes, scores, poses
