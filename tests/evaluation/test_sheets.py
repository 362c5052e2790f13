from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from img2pose.data.store import PoseStore
from img2pose.evaluation.pictures import StoredPictures
from img2pose.evaluation.sheets import evenly_spaced, prediction_cell, prediction_sheet
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.references import PoseReferences
from img2pose.types import FaceDetections
from img2pose.visualization import GREEN


@pytest.fixture
def pictures(face_dataset: Path) -> StoredPictures:
    """Four pictures."""
    return StoredPictures(PoseStore(face_dataset / "train.lmdb"))


def test_indices_are_evenly_spaced_from_first_to_last() -> None:
    assert evenly_spaced(3, 101) == [0, 50, 100]
    assert evenly_spaced(1, 9) == [0]
    assert evenly_spaced(0, 9) == evenly_spaced(4, 0) == []
    for length in range(1, 30):
        for count in range(2, 40):
            indices = evenly_spaced(count, length)
            assert len(indices) == min(count, length)
            assert (indices[0], indices[-1]) == (0, length - 1)
            gaps = np.diff(indices)
            assert length == 1 or gaps.min() >= max(1, gaps.max() - 1)


def test_a_cell_shows_annotated_landmarks_in_green_and_found_faces(
    pictures: StoredPictures, references: PoseReferences, small_model: Img2Pose
) -> None:
    annotation, picture = pictures[0]
    found = Detector(small_model, score_threshold=0).predict(picture)
    nobody = found.above(1)
    truth_only = prediction_cell(picture, annotation, nobody, references, max(picture.shape))
    centres = annotation.landmarks[0].round().astype(int)
    offset = (max(picture.shape) - np.array(picture.shape[1::-1])) // 2
    x, y = (centres + offset).T
    assert (np.abs(truth_only[y, x].astype(int) - GREEN).max(-1) < 30).mean() > 0.9
    one = FaceDetections(
        found.poses[:1], found.boxes[:1], found.scores[:1], found.intrinsics, found.size_hw
    )
    with_face = prediction_cell(picture, annotation, one, references, max(picture.shape))
    assert (with_face != truth_only).any()


def test_a_sheet_draws_faces_above_the_threshold_in_evenly_spaced_pictures(
    pictures: StoredPictures, small_model: Img2Pose
) -> None:
    detector = Detector(small_model, score_threshold=0.05)
    sheet = prediction_sheet(pictures, detector, 3, score_threshold=0.1, cell=60, columns=2)
    assert (sheet.shape, sheet.dtype) == ((120, 120, 3), np.uint8)
    for place, index in enumerate(evenly_spaced(3, len(pictures))):
        annotation, picture = pictures[index]
        detections = detector.predict(picture).above(0.1)
        cell = prediction_cell(picture, annotation, detections, detector.references, 60)
        top, left = 60 * (place // 2), 60 * (place % 2)
        np.testing.assert_array_equal(sheet[top : top + 60, left : left + 60], cell)
    nothing = prediction_sheet(pictures, detector, 3, score_threshold=1, cell=60, columns=2)
    assert (nothing != sheet).any()


def test_a_sheet_without_pictures_is_refused(
    pictures: StoredPictures, small_model: Img2Pose
) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        prediction_sheet(pictures, Detector(small_model), 0)
