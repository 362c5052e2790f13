"""What the page shows of a photograph."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from img2pose.cli.photograph_analysis import (
    CROP_SIZE,
    TABLE_HEADERS,
    PhotographAnalyser,
    PhotographFaces,
)
from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.inference.alignment import align_faces
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.references import PoseReferences
from img2pose.visualization import draw_overlay
from tests.visualization.poses import detections_of, gray

POSES = [[0.1, 0.2, 0, 0, 0, 6.0], [0, -0.3, 0, 0.4, 0, 9.0]]
SIZE_HW = (120, 160)


def faces_of(detections: FaceDetections) -> PhotographFaces:
    return PhotographFaces(gray(SIZE_HW), detections, PoseReferences.default())


def png(picture: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "png", **options)
    return stream.getvalue()


def test_a_face_has_the_same_number_in_drawing_crops_table_and_file() -> None:
    found = detections_of(POSES, SIZE_HW)
    shown = faces_of(found)
    assert (shown.drawn() != gray(SIZE_HW)).any(-1).mean() > 0.02
    np.testing.assert_array_equal(shown.rendered(), draw_overlay(gray(SIZE_HW), found))
    crops = shown.crops()
    assert [caption.split(":")[0] for _, caption in crops] == ["1", "2"]
    for (crop, _), expected in zip(
        crops, align_faces(gray(SIZE_HW), found.poses, CROP_SIZE), strict=True
    ):
        np.testing.assert_array_equal(crop, expected.image)
    rows = shown.rows()
    assert [len(row) for row in rows] == [len(TABLE_HEADERS)] * 2
    second = dict(zip(TABLE_HEADERS, rows[1], strict=True))
    assert second["face"] == 2
    assert second["score"] == 0.6
    assert second["yaw"] == round(found.euler_deg()[1, 1], 1)
    assert (second["x units"], second["z units"]) == (0.4, 9.0)
    assert second["z m"] == round(found.translations_m()[1, 2], 3)
    entry = json.loads(shown.to_json("party.jpg"))
    assert entry["image"] == "party.jpg"
    np.testing.assert_array_equal(FaceDetections.from_dict(entry).poses, found.poses)
    assert entry["faces"][1]["translation_m"] == found.translations_m()[1].tolist()
    assert entry["faces"][1]["euler_aflw2000_deg"]["yaw"] == found.euler_deg()[1, 1]


def test_a_photograph_without_faces_is_shown_as_it_is() -> None:
    shown = faces_of(FaceDetections.empty(SIZE_HW))
    np.testing.assert_array_equal(shown.drawn(), gray(SIZE_HW))
    np.testing.assert_array_equal(shown.rendered(), gray(SIZE_HW))
    assert shown.crops() == shown.rows() == []
    assert json.loads(shown.to_json("a.jpg"))["faces"] == []


def test_faces_that_reach_behind_the_camera_have_no_crop() -> None:
    found = detections_of(POSES, SIZE_HW)
    poses = found.poses.copy()
    poses[0, 5] = 0.2
    assert [caption[0] for _, caption in faces_of(replace(found, poses=poses)).crops()] == ["2"]


def test_other_reference_points_are_not_rendered(references: PoseReferences) -> None:
    found = detections_of(POSES, SIZE_HW)
    other = replace(references, points_68=references.points_68 * 1.01)
    assert faces_of(found).can_be_rendered
    assert not PhotographFaces(gray(SIZE_HW), found, other).can_be_rendered


def test_photographs_are_looked_at_once_and_the_threshold_counts(
    small_model: Img2Pose, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector(small_model, score_threshold=0.05)
    predict = Detector.predict
    looked = []
    monkeypatch.setattr(
        Detector, "predict", lambda self, picture: looked.append(1) or predict(self, picture)
    )
    analyse = PhotographAnalyser(detector)
    pictures = np.random.default_rng(0).integers(0, 256, (6, 60, 80, 3), dtype=np.uint8)
    contents = [png(picture) for picture in pictures]
    every = analyse(contents[0], "a.png", 0.05)
    threshold = float(np.median(every.detections.scores))
    some = analyse(contents[0], "a.png", threshold)
    assert len(looked) == 1
    assert 0 < len(some.detections) < len(every.detections)
    assert (some.detections.scores > threshold).all()
    np.testing.assert_array_equal(every.picture, pictures[0])
    for content in contents:
        analyse(content, "b.png", 0.5)
    assert len(looked) == 6
    # Only the last few are kept.
    analyse(contents[0], "a.png", 0.5)
    assert len(looked) == 7


def test_photographs_are_upright_and_bad_ones_are_named(small_model: Img2Pose) -> None:
    analyse = PhotographAnalyser(Detector(small_model, score_threshold=0.05))
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(gray((60, 80))).save(stream, "jpeg", exif=exif)
    assert analyse(stream.getvalue(), "a.jpg", 0.5).picture.shape == (80, 60, 3)
    with pytest.raises(InputError, match=r"words\.jpg"):
        analyse(b"words", "words.jpg", 0.5)
