"""The command that judges a model against landmarks."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.cli import evaluate_landmarks
from img2pose.cli.evaluate_landmarks import main
from img2pose.data.annotations import Annotation, write_annotation, write_annotation_list
from img2pose.data.store import Record, StoreMeta, write_store
from img2pose.evaluation.evaluators import LOWEST_SCORE, LandmarkEvaluator
from img2pose.evaluation.pictures import ListedPictures
from img2pose.evaluation.sheets import prediction_sheet
from img2pose.geometry import image_intrinsics, project_points
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

SIZE_HW = (60, 80)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(
    tmp_path: Path,
    small_model: Img2Pose,
    references: PoseReferences,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The current folder: `model.pth`, three pictures, `list.txt` and the same as `list.lmdb`."""
    monkeypatch.chdir(tmp_path)
    torch.save(pack_model(small_model), "model.pth")
    Path("images").mkdir()
    records = []
    for index in range(3):
        rng = np.random.default_rng(index)
        Image.fromarray(rng.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)).save(
            f"images/p{index}.png"
        )
        # The last picture has no face.
        poses = np.array([[0.1, 0.2, 0, 0.1, 0, 6.0 + index]])[: int(index < 2)]
        landmarks = project_points(references.points_68, poses, image_intrinsics(*SIZE_HW))
        boxes = np.array([[*p.min(0), *p.max(0)] for p in landmarks]).reshape(-1, 4)
        source = Path(f"p{index}.json")
        annotation = Annotation(f"p{index}.png", boxes, tuple(landmarks), source)
        write_annotation(source, annotation)
        image_bytes = Path(f"images/p{index}.png").read_bytes()
        records.append(Record(image_bytes, poses, boxes, poses, tuple(landmarks)))
    write_annotation_list("list.txt", [f"p{index}.json" for index in range(3)])
    write_store("list.lmdb", records, StoreMeta("box", references.sha256, "own"))
    return tmp_path


LIST = ["--json_list", "list.txt", "--dataset_path", "images"]
FLAGS = ["--checkpoint", "model.pth", "--output_path", "out", "--device", "cpu"]


def test_figures_rows_and_sheet_are_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*FLAGS, *LIST, "--sheet", "2", "--score_threshold", "0.1"]) == 0
    assert {path.name for path in Path("out").iterdir()} == {
        "summary.json",
        "faces.csv",
        "contact_sheet.png",
        "report.html",
        "predictions",
    }
    report = json.loads(Path("out/summary.json").read_text())
    figures = report["figures"]
    assert (figures["pictures"], figures["faces"]) == (3, 2)
    assert figures["score_threshold"] == 0.1
    assert figures["false_positives"] > 0
    assert (
        report["model"]["checkpoint_sha256"]
        == hashlib.sha256(Path("model.pth").read_bytes()).hexdigest()
    )
    assert report["command"].startswith("python scripts/evaluate_landmarks.py --checkpoint ")
    assert report["versions"]["torch"]
    assert "rotation_error_deg" in report["protocol"]
    assert (report["model"]["min_size"], report["model"]["max_size"]) == (96, 192)
    with open("out/faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["p0.png", "p1.png"]
    assert sum(int(row["found_at_50"]) for row in rows) == 2 - figures["missed_at_50"]
    assert Image.open("out/contact_sheet.png").size == (960, 480)
    captured = capsys.readouterr()
    assert "recall at IoU 0.5 " in captured.out


def test_a_store_gives_the_figures_of_its_list(folder: Path) -> None:
    assert main([*FLAGS, *LIST, "--min_size", "64"]) == 0
    first = json.loads(Path("out/summary.json").read_text())
    assert first["model"]["min_size"] == 64
    arguments = ["--lmdb", "list.lmdb", "--min_size", "64", "--output_path", "stored"]
    assert main([*FLAGS, *arguments]) == 0
    second = json.loads(Path("stored/summary.json").read_text())
    assert first["figures"] == second["figures"]
    assert not Path("out/contact_sheet.png").exists()


def test_the_command_gives_the_figures_and_the_sheet_that_training_gets(folder: Path) -> None:
    assert main([*FLAGS, *LIST, "--sheet", "2", "--score_threshold", "0.1"]) == 0
    pictures = ListedPictures("list.txt", "images")
    detector = Detector.from_checkpoint("model.pth", "cpu", LOWEST_SCORE)
    evaluator = LandmarkEvaluator(pictures, 0.1)
    figures = evaluator.summarise(evaluator.judge(detector, range(len(evaluator))))
    written = json.loads(Path("out/summary.json").read_text())["figures"]
    assert figures == {
        name: written[name] for name in evaluator.higher_is_better if written[name] is not None
    }
    sheet = prediction_sheet(pictures, detector, 2, score_threshold=0.1)
    np.testing.assert_array_equal(np.asarray(Image.open("out/contact_sheet.png")), sheet)


def test_predictions_are_kept_and_scored_again_without_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def figures() -> dict[str, Any]:
        figures: dict[str, Any] = json.loads(Path("out/summary.json").read_text())["figures"]
        return figures

    assert main([*FLAGS, *LIST, "--score_threshold", "0.1"]) == 0
    first, rows = figures(), Path("out/faces.csv").read_bytes()
    part = Path("out/predictions/part_0.jsonl")
    predicted = part.read_bytes()
    # As a kill leaves it: a whole line and a part of another.
    kept = predicted[: predicted.index(b"\n") + 1]
    part.write_bytes(predicted[: len(kept) + 40])
    assert main([*FLAGS, *LIST, "--score_threshold", "0.1"]) == 0
    assert (figures(), Path("out/faces.csv").read_bytes()) == (first, rows)
    predicted = part.read_bytes()
    assert predicted.startswith(kept)
    assert predicted.count(b"\n") == 3
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("the model is loaded again")

        patch.setattr(evaluate_landmarks, "load_detector", refuse)
        assert main([*FLAGS, *LIST, "--score_threshold", "0.9", "--truth_camera", "box"]) == 0
        assert figures()["false_positives"] < first["false_positives"]
        assert figures()["landmark_error_of_truth_mean"] != first["landmark_error_of_truth_mean"]
        protocol = json.loads(Path("out/summary.json").read_text())["protocol"]
        assert "camera of the annotated box" in protocol["truth_pose"]
    capsys.readouterr()
    for arguments, named in (
        (["--min_size", "64"], "another min_size"),
        (["--score_threshold", "0.01"], "another lowest_score"),
    ):
        assert main([*FLAGS, *LIST, *arguments]) == 2
        assert named in capsys.readouterr().err
    assert part.read_bytes() == predicted
    assert main([*FLAGS, *LIST, "--min_size", "64", "--overwrite_predictions"]) == 0
    assert part.read_bytes() != predicted


def test_another_picture_under_the_same_name_is_refused_but_other_truth_is_scored(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*FLAGS, *LIST]) == 0
    before = json.loads(Path("out/summary.json").read_text())["data"]
    write_annotation("p0.json", Annotation("p0.png", np.zeros((0, 4)), (), Path("p0.json")))
    assert main([*FLAGS, *LIST]) == 0
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["figures"]["faces"] == 1
    assert summary["data"]["images_sha256"] == before["images_sha256"]
    assert summary["data"]["truth_sha256"] != before["truth_sha256"]
    Image.new("RGB", SIZE_HW[::-1]).save("images/p0.png")
    capsys.readouterr()
    assert main([*FLAGS, *LIST]) == 2
    assert "images_sha256" in capsys.readouterr().err


def test_a_damaged_record_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        contextlib.closing(lmdb.open("list.lmdb", subdir=False, lock=False)) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"1", b"words")
    assert main([*FLAGS, "--lmdb", "list.lmdb"]) == 2
    assert "list.lmdb: record 1 is damaged" in capsys.readouterr().err
    assert not any(Path("out").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--json_list", "gone.txt", "--dataset_path", "images"], "gone.txt"),
        (["--json_list", "list.txt"], "--dataset_path"),
        (["--json_list", "list.txt", "--dataset_path", "elsewhere"], "elsewhere"),
        (["--lmdb", "gone.lmdb"], "gone.lmdb"),
        (["--lmdb", "list.txt"], "list.txt"),
        (["--lmdb", "list.lmdb", "--dataset_path", "images"], "--dataset_path"),
        ([*LIST, "--checkpoint", "list.txt"], "list.txt"),
        ([*LIST, "--sheet", "-1"], "--sheet"),
        ([*LIST, "--batch_size", "0"], "--batch_size"),
        ([*LIST, "--checkpoint", "gone.pth"], "gone.pth"),
        ([*LIST, "--score_threshold", "2"], "--score_threshold"),
        ([*LIST, "--output_path", "list.txt"], "list.txt"),
        (["--json_list", "damaged.txt", "--dataset_path", "images"], "damaged.png"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    (folder / "images/damaged.png").write_bytes(b"words")
    empty = Annotation("damaged.png", np.zeros((0, 4)), (), Path("damaged.json"))
    write_annotation("damaged.json", empty)
    write_annotation_list("damaged.txt", ["damaged.json"])
    before = sorted(folder.rglob("*"))
    assert main([*FLAGS, *arguments]) == 2
    error = capsys.readouterr().err.replace("\r", "\n").rstrip("\n").splitlines()
    assert len([line for line in error if line]) == 1
    assert named in error[-1]
    assert sorted(folder.rglob("*")) == before


def test_a_table_that_cannot_be_written_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out/faces.csv").mkdir(parents=True)
    assert main([*FLAGS, *LIST]) == 1
    assert capsys.readouterr().err.rstrip().splitlines()[-1].startswith("error: out: cannot be")
    assert not Path("out/summary.json").exists()


def test_the_scripts_run(folder: Path) -> None:
    for script in ("evaluate_landmarks", "predict"):
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / f"{script}.py", "--help"],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "--checkpoint" in done.stdout


def test_the_threshold_is_the_checkpoints(folder: Path, references: PoseReferences) -> None:
    torch.manual_seed(0)
    settings = SMALL_MODEL | {"face_score_threshold": 0.3}
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings)
    torch.save(pack_model(model), "model.pth")
    assert main([*FLAGS, *LIST]) == 0
    own = json.loads(Path("out/summary.json").read_text())["figures"]
    assert own["score_threshold"] == 0.3
    assert main([*FLAGS, *LIST, "--score_threshold", "0.3"]) == 0
    assert json.loads(Path("out/summary.json").read_text())["figures"] == own


def test_the_model_has_to_be_named(shipped_stand_in: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*LIST, "--output_path", "out"])
    assert stop.value.code == 2
