from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from img2pose.data.annotations import Annotation, write_annotation, write_annotation_list
from img2pose.data.store import PoseStore, Record, StoreMeta, write_store
from img2pose.errors import InputError
from img2pose.evaluation.pictures import ListedPictures, StoredPictures
from img2pose.geometry import image_intrinsics, project_points
from img2pose.references import PoseReferences

SIZE_HW = (480, 640)
POSES = np.array([[0.1, -0.2, 0.05, -2.0, 0.3, 12.0], [0.0, 0.4, -0.1, 2.0, -0.5, 14.0]])


def annotation_of(poses: np.ndarray, references: PoseReferences) -> Annotation:
    landmarks = project_points(references.points_68, poses, image_intrinsics(*SIZE_HW))
    boxes = np.array([[*points.min(0), *points.max(0)] for points in landmarks]).reshape(-1, 4)
    return Annotation("a.png", boxes, tuple(landmarks), Path("a.json"))


def test_lists_and_stores_give_the_same_pictures(
    references: PoseReferences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    exif = Image.Exif()
    # Landmarks refer to the pixels as stored, so this must not turn the picture.
    exif[0x0112] = 6
    Image.fromarray(image).save("a.png", exif=exif)
    annotation = annotation_of(POSES, references)
    write_annotation("a.json", annotation)
    write_annotation_list("list.txt", ["a.json"])
    record = Record(
        Path("a.png").read_bytes(), POSES, annotation.boxes_xyxy, POSES, annotation.landmarks
    )
    write_store("list.lmdb", [record], StoreMeta("box", references.sha256, "own"))

    listed = ListedPictures("list.txt", ".")
    stored = StoredPictures(PoseStore("list.lmdb"))
    assert len(listed) == len(stored) == 1
    assert (listed.names, stored.names) == (("a.png",), ("0",))
    assert stored.names is stored.names
    assert listed[0][0].image_path == "a.png"
    assert stored[0][0].image_path == "list.lmdb: record 0"
    for found, picture in (listed[0], stored[0]):
        np.testing.assert_array_equal(picture, image)
        np.testing.assert_allclose(found.boxes_xyxy, annotation.boxes_xyxy)
        np.testing.assert_allclose(found.landmarks, annotation.landmarks)
    for pictures in (listed, stored):
        with pytest.raises(IndexError):
            pictures[1]


def test_a_list_whose_image_is_missing_is_refused_at_once(
    references: PoseReferences, tmp_path: Path
) -> None:
    write_annotation(tmp_path / "a.json", annotation_of(POSES, references))
    write_annotation_list(tmp_path / "list.txt", [tmp_path / "a.json"])
    with pytest.raises(InputError, match=r"a\.png.*--dataset_path"):
        ListedPictures(tmp_path / "list.txt", tmp_path)


def test_a_list_may_name_pictures_outside_the_folder_on_demand_only(
    references: PoseReferences, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE_HW[::-1]).save(tmp_path / "a.png")
    annotation = replace(annotation_of(POSES, references), image_path="../a.png")
    write_annotation(tmp_path / "a.json", annotation)
    write_annotation_list(tmp_path / "list.txt", [tmp_path / "a.json"])
    with pytest.raises(InputError, match=r"a\.json: image \.\./a\.png lies outside"):
        ListedPictures(tmp_path / "list.txt", tmp_path / "images")
    pictures = ListedPictures(tmp_path / "list.txt", tmp_path / "images", allow_outside=True)
    assert pictures[0][1].shape == (*SIZE_HW, 3)


def test_a_list_tells_which_picture_is_damaged(references: PoseReferences, tmp_path: Path) -> None:
    write_annotation(tmp_path / "a.json", annotation_of(POSES, references))
    write_annotation_list(tmp_path / "list.txt", [tmp_path / "a.json"])
    (tmp_path / "a.png").write_bytes(b"words")
    pictures = ListedPictures(tmp_path / "list.txt", tmp_path)
    with pytest.raises(InputError, match=r"a\.png"):
        pictures[0]


def test_a_store_tells_which_record_is_damaged(references: PoseReferences, tmp_path: Path) -> None:
    path = tmp_path / "list.lmdb"
    png = io.BytesIO()
    Image.new("RGB", SIZE_HW[::-1]).save(png, "png")
    boxes, landmarks = np.array([[0.0, 0, 9, 9]]), (np.ones((5, 2)),)
    whole = Record(png.getvalue(), POSES[:1], boxes, POSES[:1], landmarks)
    records = [
        whole,
        whole,
        replace(whole, image_bytes=b"words"),
        replace(whole, landmarks=(np.full((5, 2), np.nan),)),
        whole,
    ]
    write_store(path, records, StoreMeta("box", references.sha256, "own"))
    with (
        contextlib.closing(lmdb.open(str(path), subdir=False, lock=False)) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"1", b"words")
    pictures = StoredPictures(PoseStore(path))
    for index, message in (
        (1, "list.lmdb: record 1 is damaged"),
        (2, "lmdb: record 2"),
        (3, "lmdb: record 3"),
    ):
        with pytest.raises(InputError, match=message):
            pictures[index]
    assert [pictures[index][1].shape for index in (0, 4)] == [(*SIZE_HW, 3)] * 2
