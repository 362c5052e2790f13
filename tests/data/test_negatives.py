"""Pictures without faces are learnt from: read, augmented, in mosaics, and by the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from img2pose.config import DataConfig
from img2pose.data.datasets import FaceDataset, Sample, TrainingDataset
from img2pose.data.store import PoseStore, Record, write_store
from img2pose.models.img2pose import Img2Pose
from img2pose.references import PoseReferences

NONE = np.zeros((0, 6))


@pytest.fixture
def negatives(face_dataset: Path, tmp_path: Path) -> PoseStore:
    """A picture without faces, and one with a face without a pose."""
    whole = PoseStore(face_dataset / "train.lmdb")
    assert whole.meta is not None
    images = [record.image_bytes for record in whole]
    unknown = np.full((1, 6), -9.0)
    records = [
        Record(images[0], NONE, np.zeros((0, 4)), NONE, ()),
        Record(images[1], unknown, np.array([[20.0, 30, 70, 90]]), unknown, (-np.ones((5, 2)),)),
    ]
    write_store(tmp_path / "negatives.lmdb", records, whole.meta)
    return PoseStore(tmp_path / "negatives.lmdb")


def assert_without_faces(sample: Sample) -> None:
    assert sample.image.dtype == torch.uint8
    assert sample.image.float().std() > 0
    assert sample.targets.boxes_xyxy.shape == (0, 4)
    assert sample.targets.poses_in_image.shape == (0, 6)


def test_pictures_without_faces_are_read(negatives: PoseStore, references: PoseReferences) -> None:
    dataset = FaceDataset(negatives, DataConfig(), references)
    for index in range(2):
        assert_without_faces(dataset[index])
    assert not dataset[1].image[:, 30:90, 20:70].any()


@pytest.mark.parametrize(
    "config",
    [
        DataConfig(random_flip=True, random_crop=True, rotation_deg=20),
        DataConfig(random_flip=True, rotation_deg=20, mosaic_max_side=2, mosaic_canvas=96),
    ],
)
def test_pictures_without_faces_are_augmented(
    negatives: PoseStore, references: PoseReferences, config: DataConfig
) -> None:
    dataset = TrainingDataset(negatives, config, references, seed=0)
    for epoch in range(6):
        for index in range(2):
            assert_without_faces(dataset[(epoch, index, 0)])


def test_a_batch_without_faces_is_learnt_from(
    negatives: PoseStore, references: PoseReferences, small_model: Img2Pose
) -> None:
    dataset = FaceDataset(negatives, DataConfig(), references)
    small_model.train()
    losses = small_model(
        [dataset[k].image.float() / 255 for k in range(2)],
        [dataset[k].targets.as_model_targets() for k in range(2)],
    )
    total = torch.stack(list(losses.values())).sum()
    assert torch.isfinite(total)
    assert total > 0
    total.backward()
    gradients = [p.grad for p in small_model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)
