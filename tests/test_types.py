from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from img2pose.errors import InputError
from img2pose.types import FaceTargets, PoseStats


def test_statistics_come_back_from_their_files(tmp_path: Path) -> None:
    stats = PoseStats(np.arange(6), np.arange(1, 7))
    mean, stddev = tmp_path / "mean.npy", tmp_path / "stddev.npy"
    stats.write(mean, stddev)
    loaded = PoseStats.from_files(mean, stddev)
    np.testing.assert_array_equal(loaded.mean, stats.mean)
    np.testing.assert_array_equal(loaded.stddev, stats.stddev)


@pytest.mark.parametrize(
    ("mean", "stddev"),
    [
        (np.zeros(5), np.ones(6)),
        (np.zeros(6), np.zeros(6)),
        (np.full(6, np.nan), np.ones(6)),
        (np.zeros(6), -np.ones(6)),
    ],
)
def test_unusable_statistics_are_refused(mean: np.ndarray, stddev: np.ndarray) -> None:
    with pytest.raises(InputError):
        PoseStats(mean, stddev)


def test_files_that_hold_something_else_are_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.npy", tmp_path / "bad.npy"
    np.save(good, np.ones(6))
    for content in (b"", b"text", b"\x93NUMPY\x01\x00", b"PK\x03\x04damaged"):
        bad.write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.npy"):
            PoseStats.from_files(bad, good)
    np.save(bad, np.array(["a"] * 6))
    with pytest.raises(InputError, match=r"bad\.npy"):
        PoseStats.from_files(good, bad)
    np.save(bad, np.array([{}] * 6), allow_pickle=True)
    with pytest.raises(InputError, match=r"bad\.npy"):
        PoseStats.from_files(good, bad)


def test_targets_check_their_lengths() -> None:
    with pytest.raises(ValueError, match=r"\(N, 4\)"):
        FaceTargets(torch.zeros(2, 4), torch.zeros(1, 6))


def test_pooled_statistics_are_those_of_all_faces_together() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(loc, scale, (count, 6)) for loc, scale, count in ((0, 1, 50), (2, 0.5, 30))]
    parts = [PoseStats(poses.mean(0), poses.std(0)) for poses in sets]
    pooled = PoseStats.pooled(parts, [len(poses) for poses in sets])
    together = np.concatenate(sets)
    np.testing.assert_allclose(pooled.mean, together.mean(0))
    np.testing.assert_allclose(pooled.stddev, together.std(0))
