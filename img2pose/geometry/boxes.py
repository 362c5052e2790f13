"""Face boxes made from projected reference points, and how far boxes overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from img2pose.geometry.arrays import array_module, arrays_or_tensors, constant_like
from img2pose.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor


@arrays_or_tensors(2)
def boxes_from_points(
    points: Tensor,
    poses: Tensor,
    size_hw: tuple[int, int] | Tensor,
    x_factor: float = 1.1,
    y_factor: float = 1.1,
    forehead: float = 0.3,
    published_rounding: bool = False,
) -> Tensor:
    """Boxes around projected points, lengthened on the forehead's side.

    Args:
        points: (N, P, 2) pixels, the reference points projected with `poses`.
        poses: (N, 6) in the image's camera; rz tells on which side the forehead is.
        size_hw: Height and width of the image in pixels, or (N, 2) of each face's image.
        x_factor: Scale of the points' width about their centre.
        y_factor: Scale of their height.
        forehead: Share of the unscaled extent that is added on the forehead's side.
        published_rounding: Truncate sizes and sides to whole pixels and clip only left and top
            below 0 and right and bottom beyond the image, as the published code does; a face
            wholly outside then gets an inverted box.

    Returns:
        (N, 4) left, top, right, bottom; clipped to the image on all sides unless published.
    """
    xp = array_module(points)
    low, high = xp.amin(points, axis=1), xp.amax(points, axis=1)
    extent = high - low
    size = xp.stack([extent[:, 0] * x_factor, extent[:, 1] * y_factor], axis=-1)
    if published_rounding:
        size = xp.trunc(size)
    center = (low + high) / 2
    corner, opposite = center - size / 2, center + size / 2
    roll = poses[:, 2]
    longer = forehead * extent
    down = xp.abs(roll) > 2.5
    to_right = ~down & (roll > 1)
    to_left = ~down & (roll < -1)
    up = ~(down | to_right | to_left)
    sides = xp.stack(
        [
            corner[:, 0] - longer[:, 0] * to_left,
            corner[:, 1] - longer[:, 1] * up,
            opposite[:, 0] + longer[:, 0] * to_right,
            opposite[:, 1] + longer[:, 1] * down,
        ],
        axis=-1,
    )
    height_width = (
        size_hw if is_tensor(size_hw) and is_tensor(sides) else constant_like(size_hw, sides)
    )
    limits = height_width[..., [1, 0]]
    zero = constant_like(0, sides)
    if published_rounding:
        sides = xp.trunc(sides)
        clipped = [xp.maximum(sides[:, :2], zero), xp.minimum(sides[:, 2:], limits)]
    else:
        inside = xp.maximum(sides, zero)
        clipped = [xp.minimum(inside[:, :2], limits), xp.minimum(inside[:, 2:], limits)]
    boxes: Tensor = xp.concatenate(clipped, axis=-1)
    return boxes


@arrays_or_tensors(2)
def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        others: (M, 4).

    Returns:
        (N, M) in 0..1; 0 where both boxes have no area.
    """
    xp = array_module(boxes)
    low = xp.maximum(boxes[:, None, :2], others[None, :, :2])
    high = xp.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clip(min=0).prod(-1)
    area, other_area = ((b[:, 2:] - b[:, :2]).prod(-1) for b in (boxes, others))
    union = area[:, None] + other_area[None] - shared
    iou: Tensor = xp.where(union > 0, shared / union, constant_like(0, shared))
    return iou
