"""Which face each box learns, and which boxes learn at all: fixed shapes, nothing read back.

No result's size depends on the data, so on a GPU none of this makes the host wait.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

FOREGROUND, BACKGROUND, IGNORED = 1, 0, -1


def match_boxes(
    face_boxes: Tensor,
    boxes: Tensor,
    *,
    foreground_iou: float,
    background_iou: float,
    best_always: bool = False,
) -> tuple[Tensor, Tensor]:
    """Gives each box the face it overlaps most.

    Args:
        face_boxes: (G, 4) left, top, right, bottom; G may be 0.
        boxes: (N, 4) anchors or proposals in the same pixels.
        foreground_iou: Boxes that overlap a face at least so much are foreground.
        background_iou: Boxes that overlap each face less are background; those between are
            ignored.
        best_always: The boxes that overlap a face most are foreground, however little.

    Returns:
        Index of the face (N,), 0 where there is none, and label (N,): `FOREGROUND`, `BACKGROUND`
        or `IGNORED`.
    """
    if len(face_boxes) == 0:
        nothing = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        return nothing, torch.full_like(nothing, BACKGROUND)
    overlap = box_iou(face_boxes, boxes)
    best, face = overlap.max(0)
    labels = torch.where(best < background_iou, BACKGROUND, IGNORED)
    is_foreground = best >= foreground_iou
    if best_always:
        # A face that no box touches has no best one.
        nearest = overlap.amax(1, keepdim=True)
        is_foreground |= ((overlap == nearest) & (nearest > 0)).any(0)
    return face, labels.masked_fill(is_foreground, FOREGROUND)


def sample_balanced(
    labels: Tensor, keys: Tensor, count: int, positive_fraction: float
) -> tuple[Tensor, Tensor]:
    """Draws boxes at random: foreground up to a share, background for the rest.

    Args:
        labels: (..., N) as of `match_boxes`.
        keys: (..., N) random numbers in 0..1: of each kind the boxes with the greatest are drawn.
        count: Boxes to draw in each row.
        positive_fraction: Largest share of foreground.

    Returns:
        Indices (..., K) with K the smaller of `count` and N, and whether each was drawn (..., K):
        where a row has too few of a kind, the slots left over are False. Foreground comes first.
    """
    size = labels.shape[-1]
    positives = min(int(count * positive_fraction), size)
    chosen, drawn = [], []
    for kind, most in ((labels == FOREGROUND, positives), (labels == BACKGROUND, min(count, size))):
        order = torch.where(kind, keys, -1.0).topk(most, dim=-1).indices
        chosen.append(order)
        drawn.append(kind.gather(-1, order))
    is_drawn = torch.cat(drawn, -1)
    # Foreground first, then background, then what is neither; what goes beyond `count` is cut off.
    first = is_drawn.to(torch.uint8).sort(dim=-1, descending=True, stable=True).indices
    first = first[..., : min(count, size)]
    return torch.cat(chosen, -1).gather(-1, first), is_drawn.gather(-1, first)
