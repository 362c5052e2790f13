from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from img2pose.config import DataConfig
from img2pose.data.datasets import (
    FaceDataset,
    TrainingDataset,
    read_picture,
    to_image_and_targets,
)
from img2pose.data.loaders import EpochBatches, batches, end_workers, training_loader
from img2pose.data.sources import Mixture
from img2pose.data.store import PoseStore, Record, StoreMeta, write_store
from img2pose.data.transforms import Picture, face_boxes
from img2pose.errors import InputError
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.images import decode_image
from img2pose.references import PoseReferences
from tests.data.samples import assert_same

EVERYTHING = DataConfig(
    random_flip=True, random_crop=True, rotation_deg=20, scale_range=(0.8, 1.2), brightness=0.2
)
MOSAIC = DataConfig(random_flip=True, rotation_deg=20, mosaic_max_side=2, mosaic_canvas=96)


@pytest.fixture
def store(face_dataset: Path) -> PoseStore:
    return PoseStore(face_dataset / "train.lmdb")


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


@pytest.fixture
def damaged(face_dataset: Path, tmp_path: Path) -> PoseStore:
    """The store with the JPEG of record 2 cut off before it was stored."""
    whole = PoseStore(face_dataset / "train.lmdb")
    assert whole.meta is not None
    records = list(whole)
    records[2] = dataclasses.replace(records[2], image_bytes=records[2].image_bytes[:200])
    path = tmp_path / "damaged.lmdb"
    write_store(path, records, whole.meta)
    return PoseStore(path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_ends_the_pass_in_one_line_that_names_its_record(
    damaged: PoseStore, references: PoseReferences, workers: int
) -> None:
    dataset = TrainingDataset(damaged, DataConfig(), references, seed=0)
    loader = training_loader(dataset, EpochBatches(Mixture([4]), batch_size=2, seed=0), workers)
    with pytest.raises(InputError, match=r"^\S*damaged\.lmdb: record 2: ") as error:
        list(batches(loader))
    end_workers(loader)
    assert len(str(error.value).splitlines()) == 1


def test_another_record_stands_in_for_one_that_may_be_skipped(
    damaged: PoseStore, references: PoseReferences
) -> None:
    config = dataclasses.replace(EVERYTHING, unreadable_records="skip")
    whole = TrainingDataset(damaged, EVERYTHING, references, seed=1)
    skipping = TrainingDataset(damaged, config, references, seed=1)
    assert_same(skipping[(0, 1, 0)], whole[(0, 1, 0)])
    stand_ins = set()
    for epoch in range(6):
        sample = skipping[(epoch, 2, 0)]
        assert_same(sample, skipping[(epoch, 2, 0)])
        assert sample.records[0] in {"0", "1", "3"}
        assert len(sample.records) == 1
        assert {"record 2: " in message for message in sample.unreadable} == {True}
        stand_ins |= set(sample.records)
    assert len(stand_ins) > 1


def test_validation_has_a_stand_in_too_the_same_each_time(
    damaged: PoseStore, references: PoseReferences
) -> None:
    with pytest.raises(InputError, match="record 2: "):
        FaceDataset(damaged, DataConfig(), references)[2]
    dataset = FaceDataset(damaged, DataConfig(unreadable_records="skip"), references)
    assert_same(dataset[2], dataset[2])
    assert dataset[2].unreadable
    assert not dataset[1].unreadable


def test_a_mosaic_names_what_it_shows_and_what_it_skipped(
    damaged: PoseStore, references: PoseReferences
) -> None:
    config = dataclasses.replace(MOSAIC, unreadable_records="skip")
    samples = [TrainingDataset(damaged, config, references, 0)[(e, 2, 0)] for e in range(8)]
    assert {len(sample.records) for sample in samples} == {1, 4}
    assert all("2" not in sample.records for sample in samples)
    assert all(sample.unreadable for sample in samples)
    with pytest.raises(InputError, match="record 2: "):
        TrainingDataset(damaged, MOSAIC, references, 0)[(0, 2, 0)]


def test_a_store_of_which_nothing_can_be_read_is_given_up(
    references: PoseReferences, tmp_path: Path
) -> None:
    pose = np.array([[0, 0, 0, 0, 0, 9.0]])
    record = Record(b"no picture", pose, np.array([[1.0, 1, 9, 9]]), pose, (np.ones((5, 2)),))
    path = tmp_path / "lost.lmdb"
    write_store(path, [record, record], StoreMeta("image", references.sha256, "ours"))
    config = DataConfig(unreadable_records="skip")
    expected = r"^\S*lost\.lmdb: record \d: .* 21 records"
    with pytest.raises(InputError, match=expected) as error:
        FaceDataset(PoseStore(path), config, references)[0]
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(InputError, match=expected):
        TrainingDataset(PoseStore(path), config, references, seed=0)[(0, 0, 0)]


def test_validation_pictures_are_whole_and_boxes_come_from_poses(
    store: PoseStore, references: PoseReferences
) -> None:
    dataset = FaceDataset(store, DataConfig(), references)
    assert len(dataset) == len(store)
    image, targets = dataset[0].image, dataset[0].targets
    height, width = image.shape[1:]
    expected = decode_image(store[0].image_bytes, "0", upright=False)
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    poses = store[0].poses_in_image
    points = project_points(references.points_68, poses, image_intrinsics(height, width))
    boxes = boxes_from_points(points, poses, (height, width))
    np.testing.assert_allclose(targets.boxes_xyxy, boxes, rtol=1e-5)
    np.testing.assert_allclose(targets.poses_in_image, poses, rtol=1e-5)
    labels = targets.as_model_targets()["labels"]
    assert labels.tolist() == [1]
    assert [dataset[index].records for index in range(4)] == [("0",), ("1",), ("2",), ("3",)]
    assert len({dataset[index].seed for index in range(4)}) == 4


def test_faces_without_a_pose_are_black_and_targets_have_one_length(
    references: PoseReferences,
) -> None:
    pixels = np.full((100, 120, 3), 90, dtype=np.uint8)
    poses = np.array([[0, 0, 0, 0.5, 0, 9.0], [-9.0] * 6])
    boxes = np.array([[40.0, 30, 70, 60], [5, 5, 25, 30]])
    record = Record(png(pixels), poses, boxes, poses, (np.zeros((5, 2)), -np.ones((5, 2))))
    picture = read_picture(record, references)
    assert (picture.pixels[5:30, 5:25] == 0).all()
    assert (picture.pixels[30:, 40:] == 90).all()
    image, targets = to_image_and_targets(picture, references, 4)
    assert image.dtype == torch.uint8
    lengths = {len(value) for value in targets.as_model_targets().values()}
    assert lengths == {1}


def test_a_face_outside_the_picture_gives_no_degenerate_target(
    references: PoseReferences,
) -> None:
    outside = np.array([[0, 0, 0, 100.0, 0, 9.0]])
    picture = Picture(np.full((50, 50, 3), 9, dtype=np.uint8), outside)
    assert face_boxes(picture, references)[0, 0] == 50
    _, targets = to_image_and_targets(picture, references, 0)
    assert len(targets.boxes_xyxy) == 0


@pytest.mark.parametrize("config", [EVERYTHING, MOSAIC], ids=["whole", "mosaic"])
def test_what_is_drawn_depends_on_seed_epoch_and_index_alone(
    store: PoseStore, references: PoseReferences, config: DataConfig
) -> None:
    first = TrainingDataset(store, config, references, seed=1)
    second = TrainingDataset(store, config, references, seed=1)
    second[(5, 1, 0)]  # what was drawn before does not matter
    for key in ((0, 0, 0), (3, 2, 0), (3, 2, 1)):
        assert_same(first[key], second[key])
    other_seed = TrainingDataset(store, config, references, seed=2)
    drawn = [first[(epoch, 0, 0)] for epoch in range(4)] + [other_seed[(0, 0, 0)]]
    assert len({sample.image.numpy().tobytes() for sample in drawn}) > 3
    assert len({sample.seed for sample in drawn}) == 5
    assert all(sample.records[0] == "0" for sample in drawn)


def test_targets_stay_inside_their_pictures(store: PoseStore, references: PoseReferences) -> None:
    for config in (EVERYTHING, MOSAIC):
        dataset = TrainingDataset(store, config, references, seed=0)
        for epoch in range(5):
            sample = dataset[(epoch, epoch % len(store), 0)]
            height, width = sample.image.shape[1:]
            boxes = sample.targets.boxes_xyxy.numpy()
            assert (boxes >= 0).all()
            assert (boxes <= [width, height, width, height]).all()
            assert (boxes[:, 2:] - boxes[:, :2] >= config.min_face_pixels).all()
