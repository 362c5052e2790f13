from __future__ import annotations

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
    to_sample,
)
from img2pose.data.loaders import EpochSampler, batches, training_loader, validation_loader
from img2pose.data.store import PoseStore, Record, StoreMeta, write_store
from img2pose.data.transforms import Picture, face_boxes
from img2pose.errors import InputError
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.images import decode_image
from img2pose.references import PoseReferences

EVERYTHING = DataConfig(
    random_flip=True, random_crop=True, rotation_deg=20, scale_range=(0.8, 1.2), brightness=0.2
)
MOSAIC = DataConfig(random_flip=True, rotation_deg=20, mosaic_max_side=2, mosaic_canvas=96)


@pytest.fixture
def store(face_dataset: Path) -> PoseStore:
    return PoseStore(face_dataset / "train.lmdb")


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def test_a_damaged_picture_is_named_by_its_record(
    references: PoseReferences, tmp_path: Path
) -> None:
    pose = np.array([[0, 0, 0, 0, 0, 9.0]])
    record = Record(b"no picture", pose, np.array([[1.0, 1, 9, 9]]), pose, (np.ones((5, 2)),))
    path = tmp_path / "damaged.lmdb"
    write_store(path, [record, record], StoreMeta("image", references.sha256, "ours"))
    dataset = TrainingDataset(PoseStore(path), DataConfig(), references, seed=0)
    for workers in (0, 1):
        loader, _ = training_loader(dataset, batch_size=2, workers=workers, seed=0)
        with pytest.raises(InputError, match=r"^\S*damaged\.lmdb: record \d: ") as error:
            list(batches(loader))
        assert len(str(error.value).splitlines()) == 1


def test_validation_pictures_are_whole_and_boxes_come_from_poses(
    store: PoseStore, references: PoseReferences
) -> None:
    dataset = FaceDataset(store, DataConfig(), references)
    assert len(dataset) == len(store)
    image, targets = dataset[0]
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
    image, targets = to_sample(picture, references, 4)
    assert image.dtype == torch.uint8
    lengths = {len(value) for value in targets.as_model_targets().values()}
    assert lengths == {1}


def test_a_face_outside_the_picture_gives_no_degenerate_target(
    references: PoseReferences,
) -> None:
    outside = np.array([[0, 0, 0, 100.0, 0, 9.0]])
    picture = Picture(np.full((50, 50, 3), 9, dtype=np.uint8), outside)
    assert face_boxes(picture, references)[0, 0] == 50
    _, targets = to_sample(picture, references, 0)
    assert len(targets.boxes_xyxy) == 0


@pytest.mark.parametrize("config", [EVERYTHING, MOSAIC], ids=["whole", "mosaic"])
def test_what_is_drawn_depends_on_seed_epoch_and_index_alone(
    store: PoseStore, references: PoseReferences, config: DataConfig
) -> None:
    first = TrainingDataset(store, config, references, seed=1)
    second = TrainingDataset(store, config, references, seed=1)
    second[(5, 1)]  # what was drawn before does not matter
    for key in ((0, 0), (3, 2)):
        (image, targets), (again, again_targets) = first[key], second[key]
        assert torch.equal(image, again)
        assert torch.equal(targets.poses_in_image, again_targets.poses_in_image)
    other_seed = TrainingDataset(store, config, references, seed=2)
    drawn = [first[(epoch, 0)][0] for epoch in range(4)] + [other_seed[(0, 0)][0]]
    assert len({image.numpy().tobytes() for image in drawn}) > 3


def test_targets_stay_inside_their_pictures(store: PoseStore, references: PoseReferences) -> None:
    for config in (EVERYTHING, MOSAIC):
        dataset = TrainingDataset(store, config, references, seed=0)
        for epoch in range(5):
            image, targets = dataset[(epoch, epoch % len(store))]
            height, width = image.shape[1:]
            boxes = targets.boxes_xyxy.numpy()
            assert (boxes >= 0).all()
            assert (boxes <= [width, height, width, height]).all()
            assert (boxes[:, 2:] - boxes[:, :2] >= config.min_face_pixels).all()


def test_each_epoch_has_its_own_order_of_all_indices() -> None:
    sampler = EpochSampler(20, seed=0)
    orders = []
    for epoch in range(3):
        sampler.epoch = epoch
        keys = list(sampler)
        assert {key[0] for key in keys} == {epoch}
        assert sorted(key[1] for key in keys) == list(range(20))
        orders.append([key[1] for key in keys])
    assert orders[0] != orders[1] != orders[2]
    sampler.epoch = 0
    assert [key[1] for key in sampler] == orders[0]


def test_batches_do_not_depend_on_the_number_of_workers(
    store: PoseStore, references: PoseReferences
) -> None:
    dataset = TrainingDataset(store, MOSAIC, references, seed=0)
    results = []
    for workers in (0, 2):
        loader, sampler = training_loader(dataset, batch_size=2, workers=workers, seed=0)
        sampler.epoch = 1
        results.append([torch.stack(images) for images, _ in batches(loader)])
    assert len(results[0]) == 2
    for alone, shared_out in zip(*results, strict=True):
        assert torch.equal(alone, shared_out)


def test_validation_loader_keeps_order_and_the_last_batch(
    store: PoseStore, references: PoseReferences
) -> None:
    dataset = FaceDataset(store, DataConfig(), references)
    batches = list(validation_loader(dataset, batch_size=3, workers=0))
    assert [len(images) for images, _ in batches] == [3, 1]
    assert torch.equal(batches[1][0][0], dataset[3][0])
