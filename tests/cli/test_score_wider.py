"""The command that scores files of predictions."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2pose.cli.score_wider import main
from tests.wider_files import write_prediction, write_truth

ROOT = Path(__file__).resolve().parents[2]
FACE, OTHER = [10, 10, 20, 20], [100, 10, 20, 20]
FACES = {
    "e/a": ([FACE, OTHER], {"easy": [1], "medium": [1, 2], "hard": [1, 2]}),
    "e/b": ([], {}),
    "f/c": ([FACE], {"easy": [1], "medium": [1], "hard": [1]}),
}
FLAGS = ["--predictions", "found", "--ground_truth", "truth"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: `truth`, and in `found` predictions that find two of three faces."""
    monkeypatch.chdir(tmp_path)
    write_truth(Path("truth"), FACES)
    write_prediction(Path("found"), "e/a", [[*FACE, 0.9]])
    write_prediction(Path("found"), "e/b", [])
    write_prediction(Path("found"), "f/c", [[*FACE, 0.8], [*OTHER, 0.1]])
    return tmp_path


def test_fractions_to_five_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(FLAGS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("WIDER FACE validation: 3 images of 2 events; not the benchmark's")
    assert [line.split()[:3] for line in lines[1:]] == [
        ["easy", "AP", "1.00000"],
        ["medium", "AP", "0.66667"],
        ["hard", "AP", "0.66667"],
    ]


def test_events_narrow_it_down(capsys: pytest.CaptureFixture[str]) -> None:
    Path("found/e/a.txt").write_text("not looked at")
    assert main([*FLAGS, "--events", "f"]) == 0
    out = capsys.readouterr().out
    assert "1 images of 1 events; not the benchmark's figure" in out
    assert out.count("1.00000") == 3


def test_missing_images_count_only_if_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("found/f/c.txt").unlink()
    assert main(FLAGS) == 2
    assert "found: predictions missing for 1 of 3 images (f/c)" in capsys.readouterr().err
    assert main([*FLAGS, "--allow_missing"]) == 0
    out = capsys.readouterr().out
    assert "1 images without predictions, counted as found nothing" in out
    assert "hard    AP 0.33333       3 faces" in out


def test_curves_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, "--output_path", "out"]) == 0
    with open("out/precision_recall.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3000
    assert [row["subset"] for row in rows[::1000]] == ["easy", "medium", "hard"]
    last = rows[-1]
    assert (last["scaled_threshold"], last["score_threshold"]) == ("0", "0.1")
    assert (last["precision"], last["recall"]) == ("0.666667", "0.666667")
    assert np.asarray(Image.open("out/precision_recall.png")).std() > 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--predictions", "gone"], "gone"),
        (["--predictions", "truth/wider_face_val.mat"], "truth/wider_face_val.mat"),
        (["--predictions", "damaged"], "damaged/e/a.txt: line 3"),
        (["--predictions", "strange"], "e/z"),
        (["--ground_truth", "found"], "wider_face_val.mat"),
        (["--ground_truth", "damaged"], "damaged/wider_face_val.mat"),
        (["--events", "g"], "event g"),
        (["--events", "e,,f"], "--events"),
        (["--output_path", "found/e/a.txt"], "found/e/a.txt"),
    ],
)
def test_bad_input_is_named_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    write_prediction(Path("damaged"), "e/a", [[1, 2, 3, 4]])
    write_truth(Path("damaged"), FACES)
    Path("damaged/wider_face_val.mat").write_bytes(b"words")
    write_prediction(Path("strange"), "e/z", [])
    before = sorted(folder.rglob("*"))
    assert main([*FLAGS, *arguments]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and error[0].startswith("error: ")
    assert named in error[0]
    assert sorted(folder.rglob("*")) == before


def test_it_needs_no_torch(shared: Path) -> None:
    wider = shared / "data" / "wider"
    script = ROOT / "scripts" / "score_wider.py"
    archive = wider / "predictions_retinaface_mobilenet025.tar.gz"
    arguments = ["--predictions", str(archive), "--ground_truth", str(wider / "ground_truth")]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(script), *arguments],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for subset, value in (("easy", "0.90696"), ("medium", "0.88158"), ("hard", "0.73829")):
        assert f"{subset:<8}AP {value}" in done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "numpy" in imported and "torch" not in imported


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["average_precision_easy"] == 1.0
    assert figures["average_precision_hard"] == pytest.approx(2 / 3)
