"""Face boxes made from projected reference points."""

from __future__ import annotations

import torch
from torch import Tensor

from img2pose.geometry.arrays import arrays_or_tensors


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
    low, high = points.amin(1), points.amax(1)
    extent = high - low
    size = torch.stack([extent[:, 0] * x_factor, extent[:, 1] * y_factor], -1)
    if published_rounding:
        size = size.trunc()
    center = (low + high) / 2
    left, top = (center - size / 2).unbind(-1)
    right, bottom = (center + size / 2).unbind(-1)
    roll = poses[:, 2]
    longer_x, longer_y = (forehead * extent).unbind(-1)
    down = roll.abs() > 2.5
    to_right = ~down & (roll > 1)
    to_left = ~down & (roll < -1)
    up = ~(down | to_right | to_left)
    sides = torch.stack(
        [
            left - longer_x * to_left,
            top - longer_y * up,
            right + longer_x * to_right,
            bottom + longer_y * down,
        ],
        -1,
    )
    limits = torch.as_tensor(size_hw, dtype=sides.dtype, device=sides.device).flip(-1)
    if not published_rounding:
        return sides.clamp(min=0).minimum(torch.cat([limits, limits], -1))
    sides = sides.trunc()
    return torch.cat([sides[:, :2].clamp(min=0), sides[:, 2:].minimum(limits)], dim=-1)
