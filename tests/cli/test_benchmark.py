from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from img2pose.cli import training_throughput
from img2pose.cli.benchmark import RESULTS_FILE, main
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model
from tests.settings import SMALL_MODEL

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


def test_inference_and_its_memory(
    checkpoint: Path, face_photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--measure", "inference", "--checkpoint", str(checkpoint)]
    arguments += ["--images", str(face_photographs), "--output_path", str(tmp_path / "out")]
    assert main([*QUICK, *arguments, "--memory_images", "20"]) == 0
    report = json.loads((tmp_path / "out" / RESULTS_FILE).read_text())
    assert [(rate["size"], rate["batch_size"]) for rate in report["inference"]] == [
        (64, 1),
        (64, 2),
    ]
    assert all(rate["images_per_second"] > 0 for rate in report["inference"])
    assert len({rate["faces"] for rate in report["inference"]}) == 1
    printed = capsys.readouterr().out
    assert "images / s" in printed
    # Linux keeps peaks; others print none.
    for used in report["memory"]:
        assert used["peak_mib"] >= used["first_peak_mib"] > 0
        assert "peak memory" in printed
    assert main([*QUICK, *arguments, "--memory_images", "0"]) == 0
    assert json.loads((tmp_path / "out" / RESULTS_FILE).read_text())["memory"] == []


def test_training_runs_with_their_data(
    face_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Figures of a few steps have the same shape.
    monkeypatch.setattr(training_throughput, "_STEPS_A_LINE", 2)
    monkeypatch.setattr(training_throughput, "_TIMED_LINES", 2)
    values: dict[str, Any] = {f"model.{name}": value for name, value in SMALL_MODEL.items()}
    values |= {"data.mosaic_max_side": 1, "data.mosaic_canvas": 96, "data.workers": 1}
    values |= {"data.train_source": face_dataset / "train.lmdb", "optim.batch_size": 1}
    # Long epochs: each ends with a checkpoint.
    values |= {"data.train_weights": 50}
    config = tmp_path / "config.yaml"
    config.write_text("evaluators: [landmarks]\nmonitor: landmarks/recall_at_50\n")
    arguments = ["--config", str(config), "--output_path", str(tmp_path / "out")]
    arguments += ["--device", "cpu"]
    for name, value in values.items():
        arguments += ["--set", f"{name}={value}"]
    assert main([*arguments, "--measure", "training", "--processes", "2"]) == 0
    runs = json.loads((tmp_path / "out" / RESULTS_FILE).read_text())["training_runs"]
    assert [(run["processes"], run["pictures_a_step"]) for run in runs] == [(2, 2)]
    assert all(run["images_per_second"] > 0 and 0 <= run["data_wait_share"] <= 1 for run in runs)
    assert "images / s" in capsys.readouterr().out
    # What the training itself refuses comes as its one line.
    assert main([*arguments, "--measure", "training", "--set", "data.train_source=gone.lmdb"]) == 2
    error = capsys.readouterr().err
    assert "gone.lmdb" in error
    assert error.count("\n") == 1
    assert main([*arguments, "--measure", "loading"]) == 0
    loading = json.loads((tmp_path / "out" / RESULTS_FILE).read_text())["loading"]
    assert 0 < loading["images_per_second"] < loading["decoded_images_per_second"]


def test_conversion(
    face_dataset: Path, face_photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (face_dataset / "lists" / "train.txt").read_text()
    several = tmp_path / "several.txt"
    several.write_text(names * 10)
    arguments = ["--measure", "conversion", "--dataset_path", str(face_photographs)]
    arguments += ["--output_path", str(tmp_path), "--repeats", "1"]
    assert main([*arguments, "--json_list", str(several), "--processes", "0,1"]) == 0
    rates = json.loads((tmp_path / RESULTS_FILE).read_text())["conversion_images_per_second"]
    assert rates.keys() == {"0", "1"}
    assert all(rate > 0 for rate in rates.values())
    few = tmp_path / "few.txt"
    few.write_text(names)
    assert main([*arguments, "--json_list", str(few), "--processes", "1"]) == 2
    assert "few.txt: names too few images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--measure", "training", "--config", "gone.yaml"], "gone.yaml"),
        (["--measure", "loading", "--set", "optim.lr=1"], "data.train_source"),
        (["--measure", "conversion", "--json_list", "list.txt"], "--dataset_path"),
        (["--measure", "inference", "--checkpoint", "model.pth"], "--images"),
        (
            [
                "--measure",
                "inference",
                "--checkpoint",
                "a",
                "--images",
                ".",
                "--memory_images",
                "9",
            ],
            "--memory_images 9",
        ),
        (["--measure", "conversion", "--json_list", "no.txt", "--dataset_path", "."], "no.txt"),
        (["--sizes", "big"], "--sizes big"),
        (["--batches", "0"], "--batches 0"),
        (["--repeats", "0"], "--repeats 0"),
        (["--threads", "0"], "--threads 0"),
        (["--checkpoint", "missing.pth"], "missing.pth"),
        (["--images", "missing"], "missing"),
        (["--images", "upright.png"], "upright.png: all are upright"),
        (["--device", "toaster"], "toaster"),
    ],
)
def test_bad_usage_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    output = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 80)).save("upright.png")
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
