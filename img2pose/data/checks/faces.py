"""Judges the labels of one picture's faces.

The thresholds were chosen on real labels: Helen's 870 faces (68 points; and 5 made of them), the
eight of AFLW2000-3D, and 3,875 detections of YuNet in WIDER (5 points).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from img2pose.data.annotations import LANDMARK_COUNTS, UNKNOWN_COORDINATE
from img2pose.data.checks.findings import Problem
from img2pose.geometry import (
    MIRROR_ORDER_5,
    MIRROR_ORDER_68,
    geodesic_angle,
    image_intrinsics,
    project_points,
    rotvec_to_matrix,
    solve_pose,
)
from img2pose.references import PoseReferences

DUPLICATE_IOU = 0.9
_LARGELY_OUTSIDE = 0.5
# By the number of points. Detectors' boxes may leave out an ear end of the jaw line or, of a
# profile's five points, one or two.
_MOST_OUTSIDE_BOX = {68: 0.3, 5: 0.5}
_SOME_OUTSIDE_BOX = {68: 0.1, 5: 0.3}
_MOST_OUTSIDE_PICTURE = 0.5
# Pixels; stores hold boxes truncated to whole ones.
_TRUNCATION = 1.0
# Second over first singular value of the centred points; YuNet's least plausible face has 0.2.
_LINE_SINGULAR_RATIO = 0.02

# RMS over the longer side of the points' bounds. Helen: at most 0.081 with 68 points, 0.20 with 5;
# YuNet on WIDER (5): 99.5 % are below 0.20, none above 0.32.
HIGH_ERROR = {68: 0.1, 5: 0.2}
OUTLIER_ERROR = {68: 0.15, 5: 0.35}

# Of 68 points: the greatest distance to the fit over the RMS of all, at most 3.8 in Helen and at
# least 6.9 where a point was moved; and over the extent of the fit, which rounding never reaches.
_FAR_OFF_RATIO = 5.0
_FAR_OFF_SHARE = 0.15

# A face seen from the front looks at most 90 degrees away from the camera; Helen's fits do by at
# most 42 (68 points) and 66 (5), swapped ones by at least 145 and 110.
_SWAPPED_LOOK_DEG = 100.0
# Twice the signed area of eyes and mouth over the squared extent of the five points.
_SWAPPED_ORIENTATION = -0.15

HEAD_ANGLES_DIFFER_DEG = 25.0


@dataclass(frozen=True, eq=False)
class FaceFits:
    """The pose that describes each face's landmarks best: EPnP in the image's camera, float64.

    Attributes:
        poses: (N, 6); NaN where landmarks are unknown or nothing fits.
        errors: (N,) see `reprojection_errors`.
    """

    poses: np.ndarray
    errors: np.ndarray


def landmarks_known(landmarks: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) bool: the faces with 5 or 68 finite landmarks, none of them unknown."""
    known = [
        points.ndim == 2
        and points.shape[1] == 2
        and len(points) in LANDMARK_COUNTS
        and bool(np.isfinite(points).all())
        and bool((points != UNKNOWN_COORDINATE).all())
        for points in landmarks
    ]
    return np.array(known, dtype=bool)


def reference_points(references: PoseReferences, count: int) -> np.ndarray:
    """The reference points that a face's 5 or 68 landmarks are."""
    return references.points_68 if count == 68 else references.points_5


def _bounds_size(points: np.ndarray) -> float:
    return float(np.ptp(points, axis=0).max())


def reprojection_errors(
    landmarks: Sequence[np.ndarray],
    poses: np.ndarray,
    size_hw: tuple[int, int],
    references: PoseReferences,
) -> np.ndarray:
    """How well poses describe landmarks.

    The unit is the longer side of the bounds of the landmarks rather than the distance of the
    eyes, which vanishes in profiles, or the size of the box, which may itself be wrong.

    Args:
        landmarks: N arrays (P, 2), pixels.
        poses: (N, 6) in the image's camera; NaN where there is nothing to judge.
        size_hw: Of the picture.
        references: The reference face of the poses.

    Returns:
        (N,) root mean square distance of the projected reference points to the landmarks, over
        the longer side of the landmarks' bounds; NaN where the pose is.
    """
    errors = np.full(len(landmarks), np.nan)
    intrinsics = image_intrinsics(*size_hw)
    for count in LANDMARK_COUNTS:
        faces = [
            face
            for face, points in enumerate(landmarks)
            if points.shape == (count, 2) and np.isfinite(poses[face]).all()
        ]
        if not faces:
            continue
        points = np.stack([landmarks[face] for face in faces])
        with np.errstate(all="ignore"):
            projected = project_points(
                reference_points(references, count), poses[faces], intrinsics
            )
            rms = np.sqrt(((projected - points) ** 2).sum(-1).mean(-1))
            errors[faces] = rms / np.ptp(points, axis=1).max(-1)
    return errors


def _solve(landmarks: np.ndarray, intrinsics: np.ndarray, references: PoseReferences) -> np.ndarray:
    """(6,) the fit; NaN where nothing fits."""
    try:
        with np.errstate(all="ignore"):
            pose: np.ndarray = solve_pose(
                reference_points(references, len(landmarks)), landmarks, intrinsics
            )
    except (ValueError, cv2.error):
        return np.full(6, np.nan)
    return pose


def fit_faces(
    landmarks: Sequence[np.ndarray],
    known: np.ndarray,
    size_hw: tuple[int, int],
    references: PoseReferences,
) -> FaceFits:
    """Fits a pose to each face whose landmarks are known.

    Args:
        landmarks: N arrays (P, 2), pixels.
        known: (N,) bool, of `landmarks_known`.
        size_hw: Of the picture.
        references: The reference face.
    """
    poses = np.full((len(landmarks), 6), np.nan)
    intrinsics = image_intrinsics(*size_hw)
    for face in np.flatnonzero(known).tolist():
        if _bounds_size(landmarks[face]) > 0:
            poses[face] = _solve(landmarks[face], intrinsics, references)
    return FaceFits(poses, reprojection_errors(landmarks, poses, size_hw, references))


def check_boxes(boxes_xyxy: np.ndarray, size_hw: tuple[int, int]) -> list[Problem]:
    """Boxes without area, outside the picture, or twice in it.

    Args:
        boxes_xyxy: (N, 4) pixels, finite.
        size_hw: Of the picture.
    """
    problems: list[Problem] = []
    size_wh = np.array(size_hw[::-1], dtype=np.float64)
    extent = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    whole = np.trunc(boxes_xyxy)
    inside = np.minimum(boxes_xyxy[:, 2:], size_wh) - np.maximum(boxes_xyxy[:, :2], 0)
    area = extent.prod(1)
    for face, box in enumerate(boxes_xyxy):
        text = "box " + ", ".join(f"{side:.6g}" for side in box)
        share = inside[face].clip(0).prod() / area[face] if area[face] > 0 else 0.0
        if not (extent[face] > 0).all():
            problems.append(Problem("box_without_area", face, text))
        elif share == 0:
            size = f"picture {size_hw[1]} x {size_hw[0]}"
            problems.append(Problem("box_outside_picture", face, f"{text}; {size}"))
        elif share < _LARGELY_OUTSIDE:
            problems.append(
                Problem("box_largely_outside", face, f"{text}; {share:.0%} of it is inside")
            )
        elif not (whole[face, 2:] > whole[face, :2]).all():
            problems.append(Problem("box_below_a_pixel", face, text))
    return problems + _repeated_faces(boxes_xyxy)


def _repeated_faces(boxes_xyxy: np.ndarray) -> list[Problem]:
    """One finding for each face whose box an earlier one has too, within `DUPLICATE_IOU`."""
    problems = []
    area = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1)
    for face in range(1, len(boxes_xyxy)):
        low = np.maximum(boxes_xyxy[:face, :2], boxes_xyxy[face, :2])
        high = np.minimum(boxes_xyxy[:face, 2:], boxes_xyxy[face, 2:])
        common = (high - low).clip(0).prod(1)
        union = area[:face] + area[face] - common
        overlap = np.divide(common, union, out=np.zeros(face), where=union > 0)
        first = int(overlap.argmax())
        if overlap[first] > DUPLICATE_IOU:
            detail = f"overlaps face {first} with IoU {overlap[first]:.3f}"
            problems.append(Problem("face_repeated", face, detail))
    return problems


def _share_outside(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    return float(1 - ((points >= low) & (points <= high)).all(1).mean())


def _is_degenerate(points: np.ndarray) -> bool:
    first, second = np.linalg.svd(points - points.mean(0), compute_uv=False)[:2]
    return bool(second <= _LINE_SINGULAR_RATIO * first)


def check_points(
    boxes_xyxy: np.ndarray,
    landmarks: Sequence[np.ndarray],
    size_hw: tuple[int, int],
) -> list[Problem]:
    """Points outside their box or the picture, on a line, or known in part.

    Args:
        boxes_xyxy: (N, 4) pixels, finite.
        landmarks: N arrays (P, 2), pixels.
        size_hw: Of the picture.
    """
    problems: list[Problem] = []
    size_wh = np.array(size_hw[::-1], dtype=np.float64)
    known = landmarks_known(landmarks)
    for face, points in enumerate(landmarks):
        if not known[face]:
            unknown = int((points == UNKNOWN_COORDINATE).sum())
            if 0 < unknown < points.size:
                detail = f"{unknown} of {points.size} coordinates"
                problems.append(Problem("points_partly_unknown", face, detail))
            continue
        if _is_degenerate(points):
            detail = f"{len(points)} points within {_bounds_size(points):.3g} px"
            problems.append(Problem("points_degenerate", face, detail))
        box = boxes_xyxy[face]
        outside = _share_outside(points, box[:2] - _TRUNCATION, box[2:] + _TRUNCATION)
        detail = f"{outside:.0%} of {len(points)} points"
        if outside > _MOST_OUTSIDE_BOX[len(points)]:
            problems.append(Problem("points_outside_box", face, detail))
        elif outside > _SOME_OUTSIDE_BOX[len(points)]:
            problems.append(Problem("points_partly_outside_box", face, detail))
        # Half a pixel beyond the outer pixels' centres is their edge.
        outside = _share_outside(points, np.full(2, -0.5), size_wh - 0.5)
        detail = f"{outside:.0%} of {len(points)} points; picture {size_hw[1]} x {size_hw[0]}"
        if outside > _MOST_OUTSIDE_PICTURE:
            problems.append(Problem("points_outside_picture", face, detail))
        elif outside > 0:
            problems.append(Problem("points_partly_outside_picture", face, detail))
    return problems


def _five_points(points: np.ndarray) -> np.ndarray:
    if len(points) == 5:
        return points
    eyes = [points[36:42].mean(0), points[42:48].mean(0)]
    return np.stack([*eyes, points[30], points[48], points[54]])


def signed_orientation(points: np.ndarray) -> float:
    """Which way round eyes and mouth are: the same however the face is turned in the picture.

    Args:
        points: (5, 2) or (68, 2) pixels.

    Returns:
        Cross product of the way from eye to eye and that from the eyes to the mouth, over the
        squared extent of the five points: about 0.9 in a frontal face, 0 in a profile, negative
        where left and right are swapped or a face is seen from behind.
    """
    left_eye, right_eye, _, left_mouth, right_mouth = five = _five_points(points)
    across = right_eye - left_eye
    down = (left_mouth + right_mouth - left_eye - right_eye) / 2
    extent = _bounds_size(five)
    return float((across[0] * down[1] - across[1] * down[0]) / extent**2) if extent > 0 else 0.0


def look_angle_deg(pose: np.ndarray) -> float:
    """Degrees between where a face looks and the way from it to the camera."""
    look = -rotvec_to_matrix(pose[:3])[:, 2]
    to_camera = -pose[3:]
    cosine = look @ to_camera / np.linalg.norm(to_camera)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _is_swapped(
    points: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray, references: PoseReferences
) -> bool:
    """Whether the points show a face's back as given, and its front in mirrored order.

    The error of the fit alone cannot tell: a face seen from behind explains swapped points about
    as well as the true pose explains true ones. In a quarter of Helen's faces with 68 points, and
    in two fifths with five, even better.
    """
    if signed_orientation(points) > _SWAPPED_ORIENTATION:
        return False
    order = MIRROR_ORDER_68 if len(points) == 68 else MIRROR_ORDER_5
    mirrored = _solve(points[order], intrinsics, references)
    return bool(
        np.isfinite(mirrored).all()
        and look_angle_deg(pose) > _SWAPPED_LOOK_DEG
        and look_angle_deg(mirrored) < 90
    )


def _point_far_off(
    points: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray, references: PoseReferences
) -> str | None:
    """The point that lies far from the fit, in words; five points are too few to tell."""
    if len(points) != 68:
        return None
    projected = project_points(references.points_68, pose[None], intrinsics)[0]
    distances = np.linalg.norm(projected - points, axis=1)
    farthest = int(distances.argmax())
    ratio = distances[farthest] / np.sqrt((distances**2).mean())
    share = distances[farthest] / _bounds_size(projected)
    if ratio > _FAR_OFF_RATIO and share > _FAR_OFF_SHARE:
        return f"point {farthest} by {distances[farthest]:.0f} px, {share:.0%} of the face's extent"
    return None


def check_fits(
    landmarks: Sequence[np.ndarray],
    fits: FaceFits,
    size_hw: tuple[int, int],
    references: PoseReferences,
) -> list[Problem]:
    """Faces with left and right swapped, with a point far off, or that the rigid face fits badly.

    A head that is truly seen from behind counts as swapped: photographs show none of its points.

    Args:
        landmarks: N arrays (P, 2), pixels.
        fits: Of the same faces.
        size_hw: Of the picture.
        references: The reference face of the fits.
    """
    problems: list[Problem] = []
    intrinsics = image_intrinsics(*size_hw)
    for face in np.flatnonzero(np.isfinite(fits.poses).all(1)).tolist():
        points, pose, error = landmarks[face], fits.poses[face], fits.errors[face]
        if _is_swapped(points, pose, intrinsics, references):
            detail = f"the face looks {look_angle_deg(pose):.0f} degrees away from the camera"
            problems.append(Problem("points_swapped", face, detail))
        far_off = _point_far_off(points, pose, intrinsics, references)
        if far_off is not None:
            problems.append(Problem("point_far_off", face, far_off))
        detail = f"error {error:.3f} of the points' extent ({len(points)} points)"
        if not error <= OUTLIER_ERROR[len(points)]:
            problems.append(Problem("reprojection_outlier", face, detail))
        elif error > HIGH_ERROR[len(points)]:
            problems.append(Problem("reprojection_high", face, detail))
    return problems


def rotation_differences_deg(poses: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) geodesic angles between the rotations of (N, 6) poses; NaN where one is NaN."""
    differences = np.full(len(poses), np.nan)
    both = np.isfinite(poses).all(1) & np.isfinite(others).all(1)
    if both.any():
        matrices = (rotvec_to_matrix(value[both, :3]) for value in (poses, others))
        differences[both] = np.degrees(geodesic_angle(*matrices))
    return differences
