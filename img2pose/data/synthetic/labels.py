"""What an annotation says of a synthetic picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from img2pose.data.annotations import Annotation, unknown_landmarks
from img2pose.data.synthetic.pictures import SyntheticFace, SyntheticPicture
from img2pose.data.synthetic.settings import SyntheticSettings
from img2pose.geometry import boxes_from_points

LABEL_SOURCE = "synthetic"
# A face of which less than this is seen is nowhere in the picture.
_SEEN_AT_ALL = 0.08
# Of the landmarks of a face that counts, so many are in the picture.
_LEAST_INSIDE = 0.7


def face_boxes(faces: tuple[SyntheticFace, ...], size_hw: tuple[int, int]) -> np.ndarray:
    """(N, 4) boxes around the faces' landmarks as training makes them, clipped to the picture."""
    if not faces:
        return np.zeros((0, 4))
    boxes: np.ndarray = boxes_from_points(
        np.stack([face.landmarks for face in faces]),
        np.stack([face.pose for face in faces]),
        size_hw,
    )
    return boxes


def annotation_of(
    picture: SyntheticPicture, settings: SyntheticSettings, image_path: str
) -> Annotation:
    """The picture's faces; those that do not count are as `settings.hidden_faces` says.

    Faces outside the picture, or wholly hidden, are never listed.
    """
    boxes = face_boxes(picture.faces, settings.size_hw)
    extent = boxes[:, 2:] - boxes[:, :2]
    limits = np.array(settings.size_hw[::-1])
    kept, counting = [], []
    for face, size in zip(picture.faces, extent, strict=True):
        inside = ((face.landmarks >= 0) & (face.landmarks <= limits)).all(axis=1).mean()
        counts = face.visibility >= settings.min_visible and size.max() >= settings.min_face
        counts = counts and size.min() >= 1 and inside >= _LEAST_INSIDE
        there = face.visibility >= _SEEN_AT_ALL and size.min() >= 1
        kept.append(counts or (there and settings.hidden_faces != "left_out"))
        counting.append(counts or settings.hidden_faces == "posed")
    listed = [
        (face, box, counts)
        for face, box, keep, counts in zip(picture.faces, boxes, kept, counting, strict=True)
        if keep
    ]
    return Annotation(
        image_path,
        np.array([box for _, box, _ in listed]).reshape(-1, 4).round(2),
        tuple(
            face.landmarks.round(3) if counts else unknown_landmarks() for face, _, counts in listed
        ),
        Path(image_path),
        label_source=LABEL_SOURCE,
        poses=tuple(face.pose if counts else None for face, _, counts in listed),
        visibility=tuple(round(face.visibility, 4) for face, _, _ in listed),
        landmark_visibility=tuple(
            face.landmark_visible if counts else None for face, _, counts in listed
        ),
    )
