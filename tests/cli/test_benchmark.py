from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from img2pose.cli.benchmark import RESULTS_FILE, main
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model

QUICK = ["--sizes", "64", "--batches", "1,2", "--repeats", "1", "--proposals", "20"]


@pytest.fixture
def checkpoint(small_model: Img2Pose, tmp_path: Path) -> Path:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    return path


def test_a_checkpoint_on_pictures(
    checkpoint: Path,
    face_photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    arguments = ["--checkpoint", str(checkpoint), "--images", str(face_photographs)]
    assert main([*QUICK, *arguments, "--output_path", str(output)]) == 0
    report = json.loads((output / RESULTS_FILE).read_text())
    rows = {row["name"]: row for row in report["rows"]}
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)
    assert all(row["milliseconds"] > 0 for row in rows.values())
    predictions = [row for name, row in rows.items() if "predict" in name]
    assert len(predictions) == 4
    assert all(0 < row["share_of_peak"] < 1.5 and row["gflop"] > 0 for row in predictions)
    assert len(report["ratios"]) == 2
    for name, ratio in report["ratios"].items():
        row, reference = name.split(" / ")[0], next(n for n in rows if "torchvision: " in n)
        expected = rows[row]["milliseconds"] / rows[reference]["milliseconds"]
        assert ratio == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "big"], "--sizes big"),
        (["--batches", "0"], "--batches 0"),
        (["--repeats", "0"], "--repeats 0"),
        (["--threads", "0"], "--threads 0"),
        (["--checkpoint", "missing.pth"], "missing.pth"),
        (["--images", "missing"], "missing"),
        (["--device", "toaster"], "toaster"),
    ],
)
def test_bad_usage_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    output = tmp_path / "out"
    assert main([*QUICK, "--output_path", str(output), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not output.exists()


def test_pictures_with_too_much_to_do_are_left_out(
    checkpoint: Path, face_photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--checkpoint", str(checkpoint), "--images", str(face_photographs)]
    output = str(tmp_path / "out")
    assert main([*QUICK, *arguments, "--max_passing", "1", "--output_path", output]) == 2
    assert "--max_passing" in capsys.readouterr().err
