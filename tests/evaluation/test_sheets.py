from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from img2pose.data.store import PoseStore
from img2pose.detections import FaceDetections
from img2pose.evaluation.pictures import StoredPictures
from img2pose.evaluation.sheets import (
    crop_detections,
    evenly_spaced,
    face_cell,
    prediction_cell,
    prediction_sheet,
    window_around,
)
from img2pose.geometry import image_intrinsics, project_points
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.references import PoseReferences
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


def test_faces_of_a_crop_lie_where_they_lay(references: PoseReferences) -> None:
    camera = image_intrinsics(120, 160)
    poses = np.array([[0.1, 0.2, 0.3, 0.5, -0.4, 9.0]])
    boxes = np.array([[60.0, 30, 90, 70]])
    whole = FaceDetections(poses, boxes, np.array([0.9]), camera, (120, 160))
    window = window_around(boxes[0], (120, 160), margin=0.5)
    # 40 high, so 40 on each side of the middle, where the picture does not end.
    np.testing.assert_array_equal(window, [35, 10, 115, 90])
    np.testing.assert_array_equal(window_around(boxes[0], (120, 160), 9), [0, 0, 160, 120])
    crop = crop_detections(whole, window, 2.5)
    assert crop.size_hw == (200, 200)
    points = project_points(references.points_68, poses, camera)
    inside = project_points(references.points_68, crop.poses, crop.intrinsics)
    np.testing.assert_allclose(inside, 2.5 * (points - window[:2]))
    np.testing.assert_allclose(crop.boxes, 2.5 * (boxes - [35, 10, 35, 10]))


def test_a_face_is_shown_large_with_its_true_box(
    pictures: StoredPictures, references: PoseReferences
) -> None:
    annotation, picture = pictures[0]
    size_hw = (picture.shape[0], picture.shape[1])
    nobody = FaceDetections(
        np.zeros((0, 6)), np.zeros((0, 4)), np.zeros(0), image_intrinsics(*size_hw), size_hw
    )
    box = annotation.boxes_xyxy[0]
    shown, without = (
        face_cell(picture, annotation, nobody, references, box, box_is_truth=truth, cell=200)
        for truth in (True, False)
    )
    assert shown.shape == (200, 200, 3)
    changed = (shown != without).any(-1)
    ys, xs = np.nonzero(changed)
    window = window_around(box, size_hw)
    scale = 200 / max(window[2:] - window[:2])
    # The outline of the line lies outside of the box.
    np.testing.assert_allclose([np.ptp(xs), np.ptp(ys)], scale * (box[2:] - box[:2]), atol=8)
