"""Faces of several passes over a picture made one; faces and given boxes."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from img2pose.geometry import pairwise_iou


def merge_faces(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    landmarks: np.ndarray,
    nms_threshold: float,
    vote_threshold: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes one face of the many that several passes over a picture found of it.

    The best face takes away those that overlap it by more than `nms_threshold`; of these, the ones
    that overlap by `vote_threshold` or more are averaged with it, weighted by their scores, boxes
    and landmarks alike; it keeps its own score. Then the best of the rest does so, and on.

    Args:
        boxes_xyxy: (N, 4) pixels.
        scores: (N,) positive.
        landmarks: (N, P, 2) pixels.
        nms_threshold: Intersection over union.
        vote_threshold: Intersection over union, no less than `nms_threshold`.

    Returns:
        Boxes (M, 4), scores (M,) and landmarks (M, P, 2), best first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes_xyxy, scores, landmarks = boxes_xyxy[order], scores[order], landmarks[order]
    width = 4 + landmarks[0].size if len(landmarks) else 4
    numbers = np.concatenate([boxes_xyxy, landmarks.reshape(len(landmarks), width - 4)], axis=1)
    merged, leaders = [], []
    left = np.arange(len(scores))
    while len(left):
        iou = pairwise_iou(boxes_xyxy[left[:1]], boxes_xyxy[left])[0]
        # A box without area overlaps nothing, not even itself.
        iou[0] = 1
        voters = left[iou >= vote_threshold]
        leaders.append(left[0])
        merged.append(np.average(numbers[voters], axis=0, weights=scores[voters]))
        left = left[iou <= nms_threshold]
    result = np.array(merged).reshape(len(merged), width)
    return result[:, :4], scores[leaders], result[:, 4:].reshape(len(merged), *landmarks.shape[1:])


def match_to_boxes(
    found_xyxy: np.ndarray, given_xyxy: np.ndarray, min_iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gives found faces to given boxes, one to one, so that the overlaps sum to the most.

    Args:
        found_xyxy: (N, 4).
        given_xyxy: (M, 4).
        min_iou: A pair that overlaps less is none.

    Returns:
        (K,) indices of found faces and (K,) of the given boxes that they belong to.
    """
    iou = pairwise_iou(found_xyxy, given_xyxy)
    found, given = linear_sum_assignment(np.where(iou >= min_iou, iou, 0), maximize=True)
    paired = iou[found, given] >= min_iou
    return found[paired], given[paired]
