"""The commands that judge head poses: AFLW2000-3D, annotated lists, BIWI."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.cli import evaluate_aflw2000, evaluate_biwi, import_annotations
from img2pose.models.img2pose import build_model
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences
from tests.aflw2000_faces import write_aflw2000
from tests.biwi_frames import biwi_poses, write_biwi
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--checkpoint", "model.pth", "--output_path", "out", "--device", "cpu"]
FLAGS += ["--min_size", "96"]
AFLW2000 = ["--dataset_path", "aflw2000"]
BIWI = ["--dataset_path", "biwi"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model.pth`, `aflw2000/` and `biwi/`; copied by `folder`."""
    data = tmp_path_factory.mktemp("data")
    torch.manual_seed(0)
    references = PoseReferences.default()
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **SMALL_MODEL)
    torch.save(pack_model(model), data / "model.pth")
    write_aflw2000(data / "aflw2000", biwi_poses(2), references)
    write_biwi(data / "biwi", biwi_poses(3))
    return data


@pytest.fixture
def folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: pictures of its own, and the model as a link."""
    for name in ("aflw2000", "biwi"):
        shutil.copytree(data / name, tmp_path / name)
    (tmp_path / "model.pth").symlink_to(data / "model.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def summary() -> dict:
    return json.loads(Path("out/summary.json").read_text())


def rows(name: str) -> list[dict[str, str]]:
    with open(f"out/{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_aflw2000(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate_aflw2000.main([*FLAGS, *AFLW2000]) == 0
    assert {path.name for path in Path("out").iterdir()} == {
        "predictions",
        "summary.json",
        "report.html",
        "faces.csv",
        "left_out.csv",
        "landmark_error_curve.png",
        "rotation_error_curve.png",
        "errors_by_yaw.png",
        "angles.png",
    }
    first = summary()
    figures = first["figures"]
    faces = rows("faces")
    assert figures["faces"] == len(faces) == 2
    assert figures["missed"] == sum(row["found"] == "0" for row in faces)
    errors = [float(row["yaw_error_deg"]) for row in faces if row["found"] == "1"]
    assert figures["found_only"]["euler_deg"]["yaw"] == pytest.approx(np.mean(errors))
    assert figures["missed_counted"]["landmarks_by_box"]["failure_rate"] is not None
    assert [band["from_deg"] for band in figures["yaw_bands"]] == [0, 30, 60]
    assert first["command"].startswith("python scripts/evaluate_aflw2000.py --checkpoint model.pth")
    model = first["model"]
    assert (model["rpn_pre_nms_test"], model["rpn_post_nms_test"]) == (500, 10)
    assert (model["min_size"], model["max_size"]) == (96, 1400)
    assert len(model["checkpoint_sha256"]) == 64
    assert first["data"]["pictures"] == 2
    assert len(first["data"]["truth_sha256"]) == len(first["data"]["images_sha256"]) == 64
    assert {"selection", "euler_deg", "missed_counted", "proposals"} <= set(first["protocol"])
    assert first["seconds"]["inference_median"] > 0
    page = Path("out/report.html").read_text()
    assert "Head poses: AFLW2000-3D" in page
    assert 'src="http' not in page
    captured = capsys.readouterr()
    assert captured.out.startswith("AFLW2000-3D: 2 faces, ")
    assert "img2pose, published" in captured.out

    # Scored again: from what was kept, by the same command, without inference.
    before = {path: path.read_bytes() for path in Path("out/predictions").iterdir()}
    assert evaluate_aflw2000.main([*FLAGS, *AFLW2000]) == 0
    assert summary()["figures"] == figures
    assert {path: path.read_bytes() for path in Path("out/predictions").iterdir()} == before
    assert "predicting" not in capsys.readouterr().err

    # The pictures changed: the predictions are refused and stay.
    name = Path("aflw2000/image00000.jpg")
    Image.open(name).rotate(180).save(name)
    assert evaluate_aflw2000.main([*FLAGS, *AFLW2000]) == 2
    error = capsys.readouterr().err
    assert "images_sha256" in error
    assert len(error.strip().splitlines()) == 1
    assert summary()["figures"] == figures
    assert evaluate_aflw2000.main([*FLAGS, *AFLW2000, "--min_size", "64"]) == 2
    assert "min_size" in capsys.readouterr().err
    assert evaluate_aflw2000.main([*FLAGS, *AFLW2000, "--overwrite_predictions"]) == 0


def test_the_same_predictions_serve_another_truth(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["aflw2000", "--images_path", "aflw2000", "--output_path", "lists"]
    assert import_annotations.main(arguments) == 0
    assert evaluate_aflw2000.main([*FLAGS, *AFLW2000]) == 0
    first = summary()
    capsys.readouterr()
    annotated = ["--truth", "annotations", "--json_list", "lists/train.txt"]
    assert evaluate_aflw2000.main([*FLAGS, *AFLW2000, *annotated]) == 0
    assert "predicting" not in capsys.readouterr().err
    second = summary()
    # The annotations have the angles of the .mat files.
    assert second["figures"]["missed"] == first["figures"]["missed"]
    one, other = (s["figures"]["missed_counted"]["rotation_deg_mean"] for s in (first, second))
    assert one == pytest.approx(other, abs=1e-6)
    assert second["data"]["truth_sha256"] != first["data"]["truth_sha256"]
    assert "pose_para of the annotation" in second["protocol"]["rotation_truth"]


def test_biwi(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("frames.txt").write_text("02/frame_00003\n01/frame_00003\n")
    assert evaluate_biwi.main([*FLAGS, *BIWI, "--frame_list", "frames.txt"]) == 0
    names = ["02/frame_00003_rgb.png", "01/frame_00003_rgb.png"]
    assert [row["image"] for row in rows("faces")] == names
    assert not Path("out/landmark_error_curve.png").exists()
    figures = summary()["figures"]
    assert figures["missed_counted"]["translation"] is None
    assert figures["found_at_iou_50"] is None
    assert "not judged" in summary()["protocol"]["translation"]
    assert "Head poses: BIWI" in Path("out/report.html").read_text()
    assert "13219" in capsys.readouterr().out
    # Another set of frames needs predictions of its own.
    assert evaluate_biwi.main([*FLAGS, *BIWI]) == 2
    assert "pictures" in capsys.readouterr().err
    assert evaluate_biwi.main([*FLAGS, *BIWI, "--output_path", "all"]) == 0
    assert json.loads(Path("all/summary.json").read_text())["figures"]["faces"] == 3


def test_bad_pictures_and_labels_are_left_out_on_request(folder: Path) -> None:
    image = Path("biwi/01/frame_00003_rgb.png")
    image.write_bytes(image.read_bytes()[:500])
    Path("biwi/01/frame_00004_pose.txt").write_text("nan")
    assert evaluate_biwi.main([*FLAGS, *BIWI, "--skip_bad"]) == 0
    assert [row["image"] for row in rows("faces")] == ["02/frame_00003_rgb.png"]
    left_out = rows("left_out")
    assert {row["image"] for row in left_out} == {
        "01/frame_00003_rgb.png",
        "01/frame_00004_rgb.png",
    }
    assert all(row["detail"] for row in left_out)
    assert summary()["data"]["left_out"] == {"picture or labels cannot be used": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments"), [("evaluate_aflw2000", AFLW2000), ("evaluate_biwi", BIWI)]
)
def test_two_processes_find_what_one_finds(folder: Path, script: str, arguments: list[str]) -> None:
    command = {"evaluate_aflw2000": evaluate_aflw2000, "evaluate_biwi": evaluate_biwi}[script].main
    flags = [*FLAGS, *arguments, "--threads", "1", "--skip_bad"]
    assert command(flags) == 0
    alone, figures = rows("faces"), summary()["figures"]
    shutil.rmtree("out")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    launcher += ["--standalone", str(ROOT / "scripts" / f"{script}.py")]

    def run_two(more: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*launcher, *flags, *more], capture_output=True, text=True, timeout=250, check=False
        )

    done = run_two([])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("results: ") == 1
    assert len(list(Path("out/predictions").glob("part_*.jsonl"))) == 2
    assert summary()["figures"].keys() == figures.keys()
    for row, other in zip(rows("faces"), alone, strict=True):
        assert row["image"] == other["image"]
        for name in ("score", "yaw_deg", "rotation_error_deg", "tz", "left"):
            assert float(row[name]) == pytest.approx(float(other[name]), rel=1e-4, abs=1e-3)
    # Bad input is told once, however many processes find it.
    done = run_two(["--dataset_path", "gone"])
    assert done.returncode != 0
    assert done.stderr.count("error: gone: ") == 1


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err.replace("\r", "\n").splitlines()
    lines = [line for line in error if line.strip() and not line.startswith("predicting")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dataset_path", "gone"], "gone"),
        (["--dataset_path", "biwi"], "biwi"),
        ([*AFLW2000, "--truth", "annotations"], "--json_list"),
        ([*AFLW2000, "--json_list", "list.txt"], "--truth annotations"),
        ([*AFLW2000, "--truth", "annotations", "--json_list", "list.txt"], "list.txt"),
        ([*AFLW2000, "--checkpoint", "gone.pth"], "gone.pth"),
        ([*AFLW2000, "--checkpoint", "aflw2000/image00000.mat"], "image00000.mat"),
        ([*AFLW2000, "--batch_size", "0"], "--batch_size"),
        ([*AFLW2000, "--min_size", "small"], "min_size"),
        ([*AFLW2000, "--output_path", "model.pth"], "model.pth"),
    ],
)
def test_bad_flags_of_aflw2000(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    before = sorted(folder.rglob("*"))
    assert evaluate_aflw2000.main([*FLAGS, *arguments]) == 2
    assert named in _one_line(capsys)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("damaged", "content", "named"),
    [
        ("biwi/01/frame_00003_pose.txt", b"1 0 0\n0 1 0\n0 0 nan\n\n0 0 1\n", "frame_00003_pose"),
        ("biwi/01/frame_00003_pose.txt", b"1 0 0\n0 1 0\n", "frame_00003_pose"),
        ("biwi/01/frame_00003_pose.txt", b"\xff\xfe", "frame_00003_pose"),
        ("frames.txt", b"03/frame_00003\n", "frames.txt"),
        ("frames.txt", b"\x00\xff", "frames.txt"),
    ],
)
def test_bad_files_of_biwi(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    damaged: str,
    content: bytes,
    named: str,
) -> None:
    Path("frames.txt").write_text("01/frame_00003\n")
    Path(damaged).write_bytes(content)
    before = sorted(folder.rglob("*"))
    assert evaluate_biwi.main([*FLAGS, *BIWI, "--frame_list", "frames.txt"]) == 2
    assert named in _one_line(capsys)
    assert sorted(folder.rglob("*")) == before


def test_a_missing_pose_file_of_a_listed_frame(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("frames.txt").write_text("01/frame_00003\n")
    Path("biwi/01/frame_00003_pose.txt").unlink()
    assert evaluate_biwi.main([*FLAGS, *BIWI, "--frame_list", "frames.txt"]) == 2
    assert "frame_00003_pose.txt is not there" in _one_line(capsys)
    # Of all frames, it is one without truth.
    assert evaluate_biwi.main([*FLAGS, *BIWI]) == 0
    assert summary()["data"]["left_out"] == {"without a pose file": 1}


def test_a_damaged_picture_ends_it_and_what_was_predicted_stays(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Path("biwi/02/frame_00003_rgb.png")
    whole = image.read_bytes()
    image.write_bytes(whole[:500])
    assert evaluate_biwi.main([*FLAGS, *BIWI]) == 2
    assert "frame_00003_rgb.png: cannot be read as a picture" in capsys.readouterr().err
    assert not Path("out/summary.json").exists()
    assert Path("out/predictions").is_dir()
