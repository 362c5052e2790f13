"""Single faces of a head-pose evaluation as pictures: the truth beside what was predicted."""

from __future__ import annotations

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.evaluation.head_judging import JudgedHeads
from img2pose.geometry import matrix_to_rotvec
from img2pose.references import PoseReferences
from img2pose.visualization import draw_boxes, draw_caption, draw_faces, draw_points, fit_into

CASE_CELL = 360
# Side of what is shown around a face, in face sizes.
_MARGIN = 1.8


def _angles_text(euler_deg: np.ndarray) -> str:
    pitch, yaw, roll = euler_deg
    return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f}"


def case_caption(judged: JudgedHeads, row: int) -> str:
    """One line: how far off, and the angles."""
    true = f"true {_angles_text(judged.truths[row].euler_deg)}"
    if not judged.errors.found[row]:
        return f"not found; {true}"
    error = f"rotation {judged.errors.rotation_deg[row]:.1f} deg off"
    return f"{error}; {true}; predicted {_angles_text(judged.euler_deg[row])}"


def _true_pose(judged: JudgedHeads, row: int) -> np.ndarray | None:
    """(6,) to draw; where the set has no translation, at the place of what was found."""
    truth = judged.truths[row]
    translation = truth.translation
    if translation is None:
        if not judged.errors.found[row]:
            return None
        translation = judged.poses[row, 3:]
    return np.concatenate([np.asarray(matrix_to_rotvec(truth.rotation)), translation])


def _region(boxes: list[np.ndarray], size_hw: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a square around boxes, as far as the picture goes."""
    height, width = size_hw
    if not boxes:
        return slice(0, height), slice(0, width)
    low, high = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
    center, half = (low + high) / 2, max(8.0, float((high - low).max()) * _MARGIN / 2)
    left, top = np.clip(np.floor(center - half), 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(center + half), [left + 1, top + 1], [width, height])
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def draw_case(
    picture: np.ndarray,
    judged: JudgedHeads,
    row: int,
    references: PoseReferences,
    cell: int = CASE_CELL,
) -> np.ndarray:
    """A face twice: above its true axes, box and landmarks, below it the predicted ones.

    Args:
        picture: (H, W, 3) uint8 RGB.
        judged: The evaluation.
        row: The face's row.
        references: The reference face of the poses.
        cell: Side of each half in pixels.

    Returns:
        (2 * cell, cell, 3) uint8 RGB.
    """
    size_hw = (picture.shape[0], picture.shape[1])
    truth = judged.truths[row]
    intrinsics = judged.intrinsics[row]
    is_found = bool(judged.errors.found[row])

    def with_axes(image: np.ndarray, pose: np.ndarray, box: np.ndarray) -> np.ndarray:
        one = FaceDetections(pose[None], box[None], np.ones(1), intrinsics, size_hw)
        return draw_faces(image, one, references, boxes=False, scores=False)

    boxes = [] if truth.box_xyxy is None else [truth.box_xyxy]
    above, below = picture, picture
    true_pose = _true_pose(judged, row)
    if truth.landmarks is not None:
        above = draw_points(above, truth.landmarks)
    if is_found:
        box = judged.boxes[row]
        boxes.append(box)
        below = draw_boxes(below, box[None])
        if truth.landmarks is not None:
            below = draw_points(below, judged.landmarks[row])
        below = with_axes(below, judged.poses[row], box)
    if truth.box_xyxy is not None:
        above = draw_boxes(above, truth.box_xyxy[None])
    if true_pose is not None:
        above = with_axes(above, true_pose, boxes[0])
    rows, columns = _region(boxes, size_hw)
    halves = [
        draw_caption(fit_into(half[rows, columns], cell), text)
        for half, text in (
            (above, "true"),
            (below, f"predicted {judged.scores[row]:.2f}" if is_found else "not found"),
        )
    ]
    return np.concatenate(halves)
