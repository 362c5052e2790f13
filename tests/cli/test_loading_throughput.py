from __future__ import annotations

import time
from pathlib import Path

import cv2
import pytest
import torch

from img2pose.cli.loading_throughput import measure_loading
from img2pose.config import DataConfig
from img2pose.data import datasets
from img2pose.data.transforms import Augmentation, Picture
from img2pose.errors import InputError


def test_loading_is_slower_than_decoding_and_threads_are_left_as_they_were(
    face_dataset: Path,
) -> None:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    config = DataConfig(rotation_deg=20, blur_sigma=2, degradation_probability=1)
    loaded, decoded = measure_loading(face_dataset / "train.lmdb", config, samples=5)
    assert 0 < loaded < decoded
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads


def test_the_time_of_changes_is_counted(
    face_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Augmentation):
        def __call__(self, picture: Picture, rng: object) -> Picture:
            time.sleep(0.02)
            return picture

    monkeypatch.setattr(datasets, "Augmentation", Slow)
    loaded, decoded = measure_loading(face_dataset / "train.lmdb", DataConfig(), samples=4)
    assert loaded < 50
    assert decoded > 50


def test_a_store_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        measure_loading(tmp_path / "none.lmdb", DataConfig())
