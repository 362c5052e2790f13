"""The command that stores a checkpoint in fewer bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.cli.compress_checkpoint import main
from img2pose.errors import InputError
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model, pack_model, read_checkpoint
from img2pose.training.checkpoint import load_training_state


@pytest.fixture
def folder(tmp_path: Path, small_model: Img2Pose, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `model.pth`, as training leaves it, and `a.png`."""
    monkeypatch.chdir(tmp_path)
    content = pack_model(small_model) | {"training": {"optimizer": torch.zeros(1_000_000)}}
    torch.save(content, "model.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("a.png")
    return tmp_path


FLAGS = ["--checkpoint", "model.pth", "--device", "cpu"]


def test_the_report_says_what_was_written_and_what_it_costs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--score_threshold", "0.1", "--min_size", "64", "--max_megabytes", "25"]
    assert main([*FLAGS, "--output_path", "out/c.pth", "--images", "a.png", *settings]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["c.json", "c.pth"]
    report = json.loads(Path("out/c.json").read_text())
    compact, source = Path("out/c.pth").read_bytes(), Path("model.pth").read_bytes()
    assert report["bytes"] == len(compact) < len(source) / 3
    assert report["sha256"] == hashlib.sha256(compact).hexdigest()
    assert report["source_sha256"] == hashlib.sha256(source).hexdigest()
    loss = report["loss"]
    before = Detector.from_checkpoint("model.pth", "cpu", 0.1, min_size=64).predict("a.png")
    detector = Detector.from_checkpoint("out/c.pth", "cpu")
    after = detector.predict("a.png")
    assert (loss["faces_first"], loss["faces_second"]) == (len(before), len(after))
    assert len(before) > 0
    assert detector.score_threshold == 0.1
    config = load_model("model.pth").config
    assert detector.model.config == replace(config, face_score_threshold=0.1, min_size=(64,))
    assert "training" not in read_checkpoint("out/c.pth")
    assert f"{loss['faces_both']} in both" in capsys.readouterr().out


def test_the_same_input_gives_the_same_bytes(folder: Path) -> None:
    assert main([*FLAGS, "--output_path", "one.pth", "--threads", "1"]) == 0
    assert main([*FLAGS, "--output_path", "another_name.pth", "--threads", "2"]) == 0
    assert Path("one.pth").read_bytes() == Path("another_name.pth").read_bytes()


def test_half_precision(folder: Path) -> None:
    assert main([*FLAGS, "--output_path", "c.pth", "--weights", "float16"]) == 0
    report = json.loads(Path("c.json").read_text())
    assert report["weights"] == "float16" and report["loss"] is None
    parameters = sum(p.numel() for p in load_model("c.pth").parameters())
    assert 2 * parameters < report["bytes"] < 2.1 * parameters


def test_no_training_goes_on_from_it(compact_checkpoint: Path) -> None:
    with pytest.raises(InputError, match="--pretrained_path") as error:
        load_training_state(compact_checkpoint)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--max_megabytes", "0.5"], "error: c.pth: not written, for it would have"),
        (["--max_megabytes", "nan"], "--max_megabytes"),
        (["--score_threshold", "0.01"], "error: --score_threshold 0.01: must be"),
        (["--output_path", "c.bin"], "c.bin"),
        (["--output_path", "folder.pth"], "folder.pth"),
        (["--output_path", "report.pth"], "report.json: is a folder"),
        (["--output_path", "./model.pth"], "is the checkpoint itself"),
        (["--output_path", "text.txt/c.pth"], "text.txt"),
        (["--checkpoint", "gone.pth"], "gone.pth"),
        (["--checkpoint", "text.txt"], "text.txt"),
        (["--images", "gone.png"], "gone.png"),
        (["--images", "text.png"], "text.png"),
        (["--min_size", "0"], "min_size"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    for name in ("text.txt", "text.png"):
        Path(name).write_text("words")
    for name in ("folder.pth", "report.json"):
        Path(name).mkdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main([*FLAGS, "--output_path", "c.pth", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
