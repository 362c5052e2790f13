"""`evaluate_wider.py`: predictions, files to submit, score, report."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.cli import evaluate_wider, score_wider
from img2pose.cli.evaluate_wider import main
from img2pose.evaluation.metrics import iou_matrix
from img2pose.evaluation.wider.submission import read_predictions
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import build_model
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences
from tests.settings import PUBLISHED_STATS, SMALL_MODEL
from tests.wider_files import write_truth

ROOT = Path(__file__).resolve().parents[2]
SIZES_HW = {"e/a": (60, 80), "e/b": (60, 80), "f/c": (80, 50)}
FLAGS = ["--checkpoint", "model.pth", "--dataset_path", "images", "--output_path", "out"]
FLAGS += ["--device", "cpu"]
TRUTH = ["--ground_truth", "truth"]
SUBMITTED = [f"out/submission/{name}.txt" for name in SIZES_HW]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, references: PoseReferences) -> Path:
    """A folder with `model.pth`, `images` of two events, and `truth` with a third one.

    The truth are the model's own five best faces of each image.
    """
    folder = tmp_path_factory.mktemp("wider")
    torch.manual_seed(0)
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **SMALL_MODEL)
    torch.save(pack_model(model), folder / "model.pth")
    detector = Detector(model, 0.05)
    rng = np.random.default_rng(0)
    faces: dict[str, Any] = {"g/missing": ([[1, 2, 3, 4]], {"hard": [1]})}
    for name, size_hw in SIZES_HW.items():
        picture = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        with model.resizing_to(96, None):
            boxes = detector.predict(picture).boxes[:5]
        boxes[:, 2:] -= boxes[:, :2]
        faces[name] = (boxes.tolist(), {"easy": [1], "medium": [1, 2], "hard": [1, 2, 3, 4, 5]})
    write_truth(folder / "truth", faces)
    return folder


@pytest.fixture(autouse=True)
def folder(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a copy of the material."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(material / "images", "images")
    shutil.copytree(material / "truth", "truth")
    Path("model.pth").symlink_to(material / "model.pth")
    return tmp_path


def summary() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("out/summary.json").read_text())
    return found


def test_one_size_scored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, *TRUTH, "--min_size", "96"]) == 0
    out = capsys.readouterr().out
    assert "3 images of 2 events; not the benchmark's figure" in out
    found = summary()
    # Of the best five of each image no other one comes before all easy ones.
    assert found["figures"]["average_precision_hard"] > 0.9
    assert found["figures"]["faces_hard"] == 15
    assert found["protocol"]["passes"].startswith("shorter side 96, without a limit on the longer")
    assert found["data"]["events"] == ["e", "f"]
    assert found["command"].startswith("python evaluate_wider.py --checkpoint model.pth")
    assert found["model"]["min_size"] == [96]
    assert sorted(map(str, Path("out/submission").rglob("*.txt"))) == sorted(SUBMITTED)
    assert {path.name for path in Path("out").iterdir()} == {
        "predictions",
        "submission",
        "precision_recall.csv",
        "precision_recall.png",
        "report.html",
        "summary.json",
    }
    page = Path("out/report.html").read_text()
    assert 1 <= page.count("data:image/jpeg") <= 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    # The model's limit of 192 pixels does not bind pictures of 80.
    expected = Detector.from_checkpoint("model.pth", "cpu", 0.05).predict("images/e/a.png")
    rows = read_predictions("out/submission")["e/a"]
    np.testing.assert_allclose(rows[:, :2], expected.boxes[:, :2], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(rows[:, 4], expected.scores, rtol=1e-6)
    # The scorer alone says the same of the files.
    arguments = ["--predictions", "out/submission", "--events", "e", "f", *TRUTH]
    assert score_wider.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[1:] == out.splitlines()[1:4]


def test_several_sizes_without_a_truth(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, "--min_size", "64, 96", "--nms_threshold", "0.7"]) == 0
    found = summary()
    assert found["figures"]["images"] == 3
    settings = {"min_size": [64, 96], "max_size": None, "nms_threshold": 0.7}
    settings |= {"mirrored": True, "box_voting": True}
    assert found["model"].items() >= settings.items()
    assert "box voting at IoU >= 0.7" in found["protocol"]["passes"]
    assert not Path("out/precision_recall.csv").exists()
    assert "AP" not in capsys.readouterr().out
    # Merged boxes come best first, so that readers that trust the order agree with the others.
    scores = read_predictions("out/submission")["e/a"][:, 4]
    assert (np.diff(scores) <= 0).all()


def test_it_goes_on_where_it_stopped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*FLAGS, *TRUTH, "--min_size", "96"]
    whole = Path("images/f/c.png").read_bytes()
    predicted: list[int] = []
    find = evaluate_wider.find_boxes

    def counting(detector: Any, pictures: Any, settings: Any) -> Any:
        predicted.append(len(pictures))
        if sum(predicted) == 3:
            raise KeyboardInterrupt
        return find(detector, pictures, settings)

    monkeypatch.setattr(evaluate_wider, "find_boxes", counting)
    assert main(arguments) == 130
    assert not Path("out/submission").exists()
    assert main(arguments) == 0
    assert predicted == [1, 1, 1, 1]
    # The same size, spelt otherwise.
    assert main([*arguments[:-1], " 96 "]) == 0
    assert len(predicted) == 4
    # Another model, other settings, other pictures are refused.
    capsys.readouterr()
    assert main([*FLAGS, *TRUTH, "--min_size", "64"]) == 2
    assert "min_size" in capsys.readouterr().err
    Path("images/f/c.png").write_bytes(whole + b"\0")
    assert main(arguments) == 2
    assert "images_sha256" in capsys.readouterr().err


def test_lists_and_events_choose_images(capsys: pytest.CaptureFixture[str]) -> None:
    Path("list.txt").write_text("e/a.png\nf/c.png\n")
    arguments = [*FLAGS, "--min_size", "96", "--dataset_list", "list.txt"]
    assert main([*arguments, *TRUTH]) == 2
    assert "images missing for 1 of 3 images (e/b)" in capsys.readouterr().err
    assert main([*arguments, *TRUTH, "--events", "f", "--nms_threshold", "0.1"]) == 0
    assert "1 images of 1 events" in capsys.readouterr().out
    # With one size the threshold is that of the model's own suppression.
    boxes = read_predictions("out/submission")["f/c"]
    boxes[:, 2:4] += boxes[:, :2]
    assert (iou_matrix(boxes[:, :4], boxes[:, :4]) - np.eye(len(boxes))).max() < 0.1 + 1e-6
    assert len(boxes) > 1
    # What lies there of another choice of images is not mixed with this one.
    assert main([*FLAGS, "--min_size", "96", "--events", "e", "--overwrite_predictions"]) == 2
    assert "submission/f/c.txt: of an image that is not among these" in capsys.readouterr().err
    assert main([*arguments, *TRUTH, "--allow_missing", "--overwrite_predictions"]) == 0
    assert "1 images without predictions" in capsys.readouterr().out


def damage(name: str) -> None:
    Path(name).write_bytes(b"words")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--checkpoint", "gone.pth"], "gone.pth"),
        (["--checkpoint", "list.txt"], "list.txt"),
        (["--dataset_path", "gone"], "gone"),
        (["--dataset_list", "gone.txt"], "gone.txt"),
        (["--dataset_list", "list.txt"], "list.txt: line 1"),
        (["--ground_truth", "gone"], "wider_face_val.mat"),
        (["--events", "q"], "event q"),
        (["--min_size", "none"], "flags: min_size: "),
        (["--min_size", "0"], "flags: min_size: "),
        (["--max_size", "-1"], "flags: max_size: "),
        (["--nms_threshold", "2"], "flags: nms_threshold: "),
        (["--depth", "50"], "model.pth"),
        (["--batch_size", "0"], "--batch_size"),
        (["--output_path", "list.txt"], "list.txt"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    damage("list.txt")
    before = sorted(folder.rglob("*"))
    assert main([*FLAGS, "--min_size", "96", *arguments]) == 2
    error = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert len([line for line in error if line.startswith("error: ")]) == 1
    assert named in error[-1]
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["submission", "predictions"])
def test_a_file_in_the_way_is_told_before_anything_is_predicted(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("out").mkdir()
    Path("out", name).write_text("mine")
    assert main([*FLAGS, "--min_size", "96"]) == 2
    assert f"out/{name}: is a file" in capsys.readouterr().err
    assert [path.name for path in Path("out").iterdir()] == [name]


def test_a_damaged_image_is_named_and_the_rest_kept(capsys: pytest.CaptureFixture[str]) -> None:
    damage("images/e/b.png")
    assert main([*FLAGS, "--min_size", "96"]) == 2
    assert "images/e/b.png" in capsys.readouterr().err
    assert Path("out/predictions/part_0.jsonl").read_bytes().count(b"\n") == 1
    assert not Path("out/submission").exists()


@pytest.mark.slow
def test_two_processes_find_what_one_finds() -> None:
    arguments = [*FLAGS, *TRUTH, "--min_size", "64,96", "--threads", "1"]
    assert main(arguments) == 0
    alone = read_predictions("out/submission")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    arguments[arguments.index("out")] = "shared"
    done = subprocess.run(
        [*launcher, "--standalone", str(ROOT / "evaluate_wider.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("files to submit") == 1
    assert len(list(Path("shared/predictions").glob("part_*.jsonl"))) == 2
    together = read_predictions("shared/submission")
    assert together.keys() == alone.keys()
    for name, rows in alone.items():
        np.testing.assert_allclose(together[name], rows, rtol=1e-5, atol=1e-5)
