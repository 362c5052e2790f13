from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from img2pose.cli.example_pictures import SIZES_HW, draw_example_pictures
from img2pose.cli.export_onnx import main
from img2pose.inference import OnnxDetector
from tests.inference.exporting import CHECKPOINT, EXPORTED

# The first test waits for the export: half a minute of one core's time.
pytestmark = pytest.mark.timeout(1800)


def test_the_report_says_what_was_compared(exported: Path) -> None:
    report = json.loads((exported / "model.json").read_text())
    assert report["path"] == str(exported / EXPORTED)
    assert report["weights"] == "float32"
    assert report["bytes"] == report["float32_bytes"] == (exported / EXPORTED).stat().st_size
    assert report["score_threshold"] == 0.1
    assert report["agreement"]["pictures"] == len(SIZES_HW)
    assert report["agreement"]["faces"] > 0
    assert report["agreement"]["pose"] < report["tolerance"] == 1e-3
    assert report["loss"] is None
    assert sorted(path.name for path in exported.iterdir()) == [
        "model.json",
        EXPORTED,
        CHECKPOINT,
    ]


def test_the_file_names_its_checkpoint(exported: Path) -> None:
    metadata = OnnxDetector(exported / EXPORTED).metadata
    content = (exported / CHECKPOINT).read_bytes()
    assert metadata.checkpoint_sha256 == hashlib.sha256(content).hexdigest()
    assert metadata.config.score_threshold == 0.1


def test_example_pictures_are_always_the_same() -> None:
    first, again = draw_example_pictures(), draw_example_pictures()
    assert [picture.shape for picture in first] == [(*size, 3) for size in SIZES_HW]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--checkpoint", "gone.pth"], "gone.pth"),
        (["--checkpoint", "text.txt"], "text.txt"),
        (["--output_path", "model.bin"], "model.bin"),
        (["--output_path", "folder.onnx"], "folder.onnx"),
        (["--output_path", "text.txt/model.onnx"], "text.txt"),
        (["--images", "gone.jpg"], "gone.jpg"),
        (["--images", "text.txt"], "text.txt"),
        (["--score_threshold", "2"], "--score_threshold"),
        (["--min_size", "0"], "min_size"),
        (["--pose_mean", "mean.npy"], "--pose_stddev"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("words")
    Path("folder.onnx").mkdir()
    before = sorted(tmp_path.rglob("*"))
    flags = ["--checkpoint", str(exported / CHECKPOINT), "--output_path", "new/model.onnx"]
    assert main([*flags, "--device", "cpu", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert sorted(tmp_path.rglob("*")) == before


def test_published_weights_without_statistics_are_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(exported / CHECKPOINT, weights_only=True)["model"]
    path = tmp_path / "published.pth"
    torch.save({"fpn_model": {f"module.{k}": value for k, value in state.items()}}, path)
    assert main(["--checkpoint", str(path), "--output_path", str(tmp_path / "m.onnx")]) == 2
    assert "--pose_mean" in capsys.readouterr().err
