from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from img2pose.cli.train import main
from img2pose.models.weights import load_model
from tests.settings import SMALL_MODEL

SETTINGS = [f"model.{name}={value}" for name, value in SMALL_MODEL.items()]
SETTINGS += ["data.mosaic_max_side=1", "data.mosaic_canvas=96"]


def arguments(dataset: Path, workspace: Path) -> list[str]:
    flags = ["--train_source", str(dataset / "train.lmdb"), "--workspace", str(workspace)]
    flags += ["--prefix", "run", "--workers", "0", "--batch_size", "2", "--epochs", "1"]
    for setting in SETTINGS:
        flags += ["--set", setting]
    return flags


def test_published_flags_train(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = arguments(face_dataset, tmp_path)
    flags += ["--val_source", str(face_dataset / "val.lmdb"), "--device", "cpu"]
    flags += ["--pose_mean", str(face_dataset / "train_pose_mean.npy")]
    flags += ["--pose_stddev", str(face_dataset / "train_pose_stddev.npy")]
    flags += ["--lr_plateau", "--early_stop", "--random_flip", "--random_crop"]
    flags += ["--noise_augmentation", "--contrast_augmentation", "--max_size", "192"]
    flags += ["--min_size", "64, 96", "--depth", "18", "--lr", "0.0001", "--optimizer", "SGD"]
    assert main(flags) == 0
    assert capsys.readouterr().out == f"best checkpoint: {tmp_path / 'run' / 'best.pth'}\n"
    model = load_model(tmp_path / "run" / "best.pth")
    assert model.config.min_size == (64, 96)
    stored = torch.load(tmp_path / "run" / "best.pth", weights_only=True)["training"]["config"]
    assert stored["optim"]["schedule"] == "plateau"
    assert stored["optim"]["early_stop_patience"] == 5
    assert stored["data"]["random_crop"] is True


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--set", "model.dephts=18"], "dephts"),
        (["--set", "novalue"], "novalue"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--train_source", "absent.lmdb"], "absent"),
        (["--pose_mean", "absent.npy", "--pose_stddev", "absent.npy"], "absent.npy"),
        (["--pretrained_path", "absent.pth"], "absent.pth"),
        (["--resume_path", "absent.pth"], "absent.pth"),
        (["--depth", "20"], "depth"),
        (["--lr", "fast"], "lr"),
        (["--device", "warp9"], "warp9"),
        (["--threads", "0"], "--threads"),
        (["--lr_plateau"], "val_source"),
        (["--pose_mean", "only.npy"], "pose_stddev"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    face_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    named: str,
) -> None:
    assert main([*arguments(face_dataset, tmp_path), *extra]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert named in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_statistics_of_the_wrong_shape(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "mean.npy"
    np.save(wrong, np.zeros(5))
    workspace = tmp_path / "workspace"
    assert (
        main(
            [
                *arguments(face_dataset, workspace),
                "--pose_mean",
                str(wrong),
                "--pose_stddev",
                str(wrong),
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert "mean.npy" in error
    assert "(6,)" in error
    assert not workspace.exists()


def test_a_workspace_that_is_a_file(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main(arguments(face_dataset, file)) == 2
    assert "file" in capsys.readouterr().err


def test_a_checkpoint_that_is_none(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "fake.pth"
    fake.write_bytes(b"not a checkpoint")
    workspace = tmp_path / "workspace"
    assert main([*arguments(face_dataset, workspace), "--pretrained_path", str(fake)]) == 2
    assert "fake.pth" in capsys.readouterr().err
    assert not workspace.exists()
