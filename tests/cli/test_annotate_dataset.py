"""The command that labels photographs with a detector."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import img2pose
from img2pose.cli import convert_json_list_to_lmdb
from img2pose.cli.annotate_dataset import main
from img2pose.data.annotations import (
    Annotation,
    read_annotation,
    read_annotation_list,
    write_annotation,
    write_annotation_list,
)
from img2pose.data.store import PoseStore

# Finds white rectangles on black; notes each call in calls.txt.
DETECTOR = """
import time
import numpy as np

class White:
    def __init__(self, least=200, points=5, wait=0.0, fault=None):
        self.least, self.points, self.wait, self.fault = least, points, wait, fault

    def __call__(self, image_rgb):
        with open("calls.txt", "a") as calls:
            calls.write(f"{image_rgb.shape}\\n")
        time.sleep(self.wait)
        if self.fault == "raise":
            raise RuntimeError("detector's own fault")
        if self.fault == "shape":
            return [[1, 2, 3]], [1], [np.zeros((5, 2))]
        columns = (image_rgb[..., 0] >= self.least).any(0).astype(int)
        steps = np.flatnonzero(np.diff(columns, prepend=0, append=0)).reshape(-1, 2)
        boxes, scores, landmarks = [], [], []
        for number, (left, right) in enumerate(steps):
            rows = np.flatnonzero((image_rgb[:, left:right, 0] >= self.least).any(1))
            top, bottom = rows[0], rows[-1] + 1
            boxes.append([left, top, right, bottom])
            scores.append(0.9 - 0.1 * number)
            grid = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
            landmarks.append(grid * [right - left, bottom - top] + [left, top])
        return boxes, scores, landmarks
"""
FACES = {
    "a.png": [(4, 8, 24, 32)],
    "one/a.png": [(10, 10, 30, 40), (50, 12, 70, 36)],
    "two/a.png": [],
    "two/a.bmp": [(20, 4, 60, 50)],
}
KNOWN = "own_white_detector:White"


def write_image(path: Path, boxes: list[tuple[int, int, int, int]]) -> None:
    pixels = np.zeros((60, 80, 3), np.uint8)
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with `photos`, the list `photos.txt` and a detector of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("own_white_detector.py").write_text(DETECTOR)
    for name, boxes in FACES.items():
        write_image(Path("photos") / name, boxes)
    write_list(*FACES)
    yield tmp_path
    sys.modules.pop("own_white_detector", None)


def write_list(*names: str) -> None:
    Path("photos.txt").write_text("\n".join(names) + "\n")


def arguments(*more: str) -> list[str]:
    flags = ["--image_list", "photos.txt", "--dataset_path", "photos", "--output_path", "out"]
    return [*flags, "--detector", KNOWN, "--num_workers", "0", *more]


def run(*more: str) -> int:
    return main(arguments(*more))


def calls() -> int:
    return len(Path("calls.txt").read_text().splitlines()) if Path("calls.txt").exists() else 0


def labels(name: str) -> Annotation:
    return read_annotation(Path("out/annotations") / f"{name}.json")


def give_boxes(**boxes_of: list[tuple[int, int, int, int]]) -> None:
    """Writes `given.txt` and an annotation of boxes alone for each image."""
    paths = []
    for number, (name, boxes) in enumerate(boxes_of.items()):
        path = Path("given") / f"{number}.json"
        points = (np.full((5, 2), -1.0),) * len(boxes)
        annotation = Annotation(name, np.array(boxes, float), points, path, label_source="WIDER")
        write_annotation(path, annotation)
        paths.append(path)
    write_annotation_list("given.txt", paths)


def test_each_image_gets_its_json_and_the_converter_takes_the_list(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    paths = read_annotation_list("out/photos.txt")
    assert [str(path) for path in paths] == [f"out/annotations/{name}.json" for name in FACES]
    for name, boxes in FACES.items():
        annotation = labels(name)
        assert annotation.image_path == name
        np.testing.assert_array_equal(annotation.boxes_xyxy, np.reshape(boxes, (-1, 4)))
        assert annotation.has_landmarks.all()
        assert annotation.label_source is not None
        assert annotation.label_source.startswith(f"{KNOWN} settings:")
    assert labels("one/a.png").scores == (0.9, 0.8)
    report = capsys.readouterr().out
    for line in ("images: 4", "faces: 4", "  with landmarks: 4", "  without landmarks: 0"):
        assert line in report.splitlines()
    assert "seconds an image: " in report
    convert = ["--json_list", "out/photos.txt", "--dataset_path", "photos", "--dest", "lmdb"]
    assert convert_json_list_to_lmdb.main([*convert, "--num_workers", "0"]) == 0
    assert len(PoseStore("lmdb/photos.lmdb")) == 3


def test_worker_processes_write_the_same(dataset: Path) -> None:
    assert run() == 0
    alone = {name: Path(f"out/annotations/{name}.json").read_bytes() for name in FACES}
    assert run("--output_path", "out2", "--num_workers", "2") == 0
    for name, content in alone.items():
        assert Path(f"out2/annotations/{name}.json").read_bytes() == content


def test_images_that_are_done_are_not_done_again(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list("a.png", "one/a.png")
    assert run() == 0
    assert calls() == 2
    before = Path("out/annotations/a.png.json").stat().st_mtime_ns
    write_list(*FACES)
    capsys.readouterr()
    assert run() == 0
    assert calls() == 4
    assert Path("out/annotations/a.png.json").stat().st_mtime_ns == before
    report = capsys.readouterr().out.splitlines()
    assert {"images: 4", "  labelled now: 2", "  labelled before: 2", "faces: 4"} <= set(report)
    assert run() == 0
    assert calls() == 4
    assert "seconds an image" not in capsys.readouterr().out
    assert run("--overwrite") == 0
    assert calls() == 8


def test_a_damaged_or_foreign_json_is_done_again(dataset: Path) -> None:
    assert run() == 0
    expected = Path("out/annotations/a.png.json").read_bytes()
    foreign = json.loads(expected) | {"label_source": "somebody else"}
    for content in (b"{", json.dumps(foreign).encode()):
        Path("out/annotations/a.png.json").write_bytes(content)
        assert run() == 0
        assert Path("out/annotations/a.png.json").read_bytes() == expected
    assert calls() == 6


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        (["--detector_options", "least=250"], "options"),
        (["--dataset_path", "photos/.."], "dataset_path"),
        (["--match_annotations", "given.txt"], "match"),
    ],
)
def test_other_settings_are_refused_unless_they_may_overwrite(
    dataset: Path, capsys: pytest.CaptureFixture[str], change: list[str], differing: str
) -> None:
    write_list("a.png")
    write_image(Path("a.png"), [(0, 0, 10, 10)])
    give_boxes(**{"a.png": [(0, 0, 5, 5)]})
    assert run() == 0
    before = Path("out/annotations/a.png.json").read_bytes()
    assert run(*change) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"another {differing}" in error
    assert "--overwrite" in error
    assert Path("out/annotations/a.png.json").read_bytes() == before
    assert run(*change, "--overwrite") == 0
    assert Path("out/annotations/a.png.json").read_bytes() != before
    assert run(*change) == 0
    assert calls() == 2


def test_a_folder_of_unknown_making_is_left_alone(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    Path("out/photos.txt").write_text("precious\n")
    assert run() == 2
    assert "out/photos.txt: is there already" in capsys.readouterr().err
    assert Path("out/photos.txt").read_text() == "precious\n"
    assert sorted(path.name for path in Path("out").iterdir()) == ["photos.txt"]
    Path("out/settings.json").write_text("[")
    assert run() == 2
    assert "out/settings.json: cannot be read" in capsys.readouterr().err
    assert run("--overwrite") == 0


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("damage", [remove, truncate])
def test_an_image_that_cannot_be_read_stops_or_is_left_out(
    dataset: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    damage(Path("photos/one/a.png"))
    assert run() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "photos/one/a.png" in error
    assert "--skip_bad" in error
    assert not Path("out/photos.txt").exists()
    assert run("--skip_bad") == 0
    assert "images skipped: 1" in capsys.readouterr().out
    assert len(read_annotation_list("out/photos.txt")) == 3
    (line,) = Path("out/photos_skipped.txt").read_text().splitlines()
    assert line.startswith("one/a.png\tphotos/one/a.png: ")
    # Nothing was done twice, and what is mended is done next time.
    assert calls() == 3
    write_image(Path("photos/one/a.png"), FACES["one/a.png"])
    assert run("--skip_bad") == 0
    assert len(read_annotation_list("out/photos.txt")) == 4
    assert Path("out/photos_skipped.txt").read_text() == ""


def test_a_list_without_a_readable_image_says_so(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list("none.png")
    assert run("--skip_bad") == 2
    assert "photos.txt: no image could be read; first: photos/none.png" in capsys.readouterr().err


def test_given_boxes_take_the_landmarks_found_at_their_place(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give_boxes(
        **{
            "a.png": [(60, 40, 70, 50), (5, 8, 25, 32)],
            "one/a.png": [(10, 10, 30, 40)],
            "two/a.png": [],
            "two/a.bmp": [(0, 0, 6, 6), (20, 4, 60, 50)],
        }
    )
    flags = ["--output_path", "out", "--dataset_path", "photos", "--detector", KNOWN]
    flags += ["--match_annotations", "given.txt", "--num_workers", "0"]
    assert main(flags) == 0
    assert len(read_annotation_list("out/given.txt")) == 4
    annotation = labels("a.png")
    np.testing.assert_array_equal(annotation.boxes_xyxy, [[60, 40, 70, 50], [5, 8, 25, 32]])
    assert annotation.has_landmarks.tolist() == [False, True]
    assert annotation.scores == (None, 0.9)
    assert annotation.label_source is not None
    assert annotation.label_source.endswith("; boxes: WIDER")
    assert len(labels("one/a.png")) == 1
    report = capsys.readouterr().out.splitlines()
    assert "  given boxes with a face found there: 3" in report
    assert "  faces found without a given box, dropped: 1" in report
    assert {"faces: 5", "  with landmarks: 3", "  without landmarks: 2"} <= set(report)
    # Other boxes of one image: that image alone is labelled again.
    give_boxes(
        **{
            "a.png": [(5, 8, 25, 32)],
            "one/a.png": [(10, 10, 30, 40)],
            "two/a.png": [],
            "two/a.bmp": [(0, 0, 6, 6), (20, 4, 60, 50)],
        }
    )
    assert main(flags) == 0
    assert calls() == 5
    assert len(labels("a.png")) == 1
    assert main([*flags, "--keep_unmatched", "--overwrite"]) == 0
    assert len(labels("one/a.png")) == 2
    assert "  faces found without a given box, kept: 1" in capsys.readouterr().out


def test_an_image_without_given_boxes_is_named(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give_boxes(**{"a.png": [(0, 0, 5, 5)]})
    assert run("--match_annotations", "given.txt") == 2
    assert "given.txt: has no annotation of one/a.png" in capsys.readouterr().err
    give_boxes(**{"a.png": [], "./a.png": []})
    assert run("--match_annotations", "given.txt") == 2
    assert "given/0.json is of the same image a.png" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_box_that_is_no_longer_given_goes(dataset: Path) -> None:
    flags = ["--output_path", "out", "--dataset_path", "photos", "--detector", KNOWN]
    flags += ["--match_annotations", "given.txt", "--num_workers", "0"]
    for boxes in ([(5, 8, 25, 32), (60, 40, 70, 50)], [(5, 8, 25, 32)], []):
        give_boxes(**{"a.png": boxes})
        assert main(flags) == 0
        assert len(labels("a.png")) == len(boxes)


def test_a_link_out_of_the_data_set_and_a_pipe_are_refused(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(Path("secret.png"), [(0, 0, 10, 10)])
    Path("photos/link.png").symlink_to(Path("secret.png").resolve())
    os.mkfifo("photos/pipe.png")
    for name, message in (("link.png", "lies outside"), ("pipe.png", "is not a file")):
        write_list(name)
        assert run() == 2
        assert message in capsys.readouterr().err
    os.mkfifo("pipe.txt")
    assert run("--image_list", "pipe.txt") == 2
    assert "pipe.txt: is not a file" in capsys.readouterr().err


def test_a_full_disk_is_told_in_one_line(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in ("write_json", "write_annotation_list"):
        with monkeypatch.context() as patch:
            patch.setattr(f"img2pose.cli.annotate_dataset.{place}", full)
            assert run() == 1
        assert "cannot be written (No space left" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../secret.png", "one/../../secret.png", "/etc/passwd", "."])
def test_image_paths_stay_in_the_data_set(
    dataset: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write_image(Path("secret.png"), [(0, 0, 10, 10)])
    write_list("a.png", name)
    assert run() == 2
    assert "photos.txt: line 2" in capsys.readouterr().err
    give_boxes(**{name if name != "." else "..": [(0, 0, 10, 10)]})
    write_list("a.png")
    assert run("--match_annotations", "given.txt") == 2
    assert "leaves --dataset_path" in capsys.readouterr().err
    assert not Path("out").exists()


def test_images_named_twice_are_labelled_once(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list("a.png", "./a.png", "", "one//a.png", "a.png")
    assert run() == 0
    assert len(read_annotation_list("out/photos.txt")) == 2
    assert "labelled once: 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_workers", "-1"], "--num_workers -1"),
        (["--min_iou", "0"], "--min_iou 0.0"),
        (["--min_iou", "nan"], "--min_iou nan"),
        (["--dataset_path", "none"], "none: is not a folder"),
        (["--image_list", "none.txt"], "none.txt: is not there"),
        (["--image_list", "photos/a.png"], "photos/a.png: cannot be read as a list"),
        (["--image_list", "empty.txt"], "empty.txt: names no image"),
        (["--match_annotations", "none.txt"], "none.txt: is not there"),
        (["--output_path", "photos.txt"], "photos.txt: is a file"),
        (["--output_path", "."], "photos.txt: would be overwritten"),
        (["--detector", "retina"], "--detector retina"),
        (["--detector", "yunet"], "--model_path"),
        (["--detector", ".x:Y"], "module:Class"),
        (["--detector", "datetime:timedelta"], "--detector datetime:timedelta"),
        (["--detector", "yunet", "--detector_options", "model_path=5"], "model_path"),
        (["--detector", "yunet", "--model_path", "x", "--detector_options", "sizes=64.5"], "sizes"),
        (["--detector_options", "least"], "write key=value"),
        (["--detector_options", "most=3"], "its options are least"),
        (["--detector_options", "fault=shape"], f"detector {KNOWN}: returned boxes (1, 3)"),
    ],
)
def test_bad_flags_are_told_in_one_line(
    dataset: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    Path("empty.txt").write_text("\n")
    before = Path("photos.txt").read_bytes()
    assert run(*flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert Path("photos.txt").read_bytes() == before
    assert not list(Path("out").rglob("*.png.json"))


def test_images_or_boxes_must_be_given(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output_path", "out", "--detector", KNOWN]) == 2
    assert "--image_list" in capsys.readouterr().err


def test_a_detectors_own_fault_keeps_its_traceback_and_names_the_image(dataset: Path) -> None:
    with pytest.raises(RuntimeError, match="own fault") as raised:
        run("--detector_options", "fault=raise")
    assert raised.value.__notes__ == [f"while labelling {Path('photos/a.png')}"]


@pytest.mark.skipif(os.name == "nt", reason="interrupts are sent as POSIX does")
def test_an_interrupt_keeps_what_is_done_and_the_next_run_goes_on(dataset: Path) -> None:
    names = [f"many/{number}.png" for number in range(24)]
    for name in names:
        write_image(Path("photos") / name, FACES["a.png"])
    write_list(*names)
    root = str(Path(img2pose.__file__).parent.parent)
    flags = ["--detector_options", "wait=0.05"]
    command = "from img2pose.cli.annotate_dataset import main; raise SystemExit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments("--num_workers", "2", *flags)],
        env={**os.environ, "PYTHONPATH": root},
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        while len(list(Path("out").rglob("*.png.json"))) < 4:
            assert process.poll() is None
            time.sleep(0.02)
        # As a terminal does: to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert error.splitlines()[-1] == "stopped"
    assert "Traceback" not in error
    assert 4 <= calls() < 24
    assert not Path("out/photos.txt").exists()
    assert run(*flags) == 0
    assert calls() == 24
    assert len(read_annotation_list("out/photos.txt")) == 24


def test_the_shipped_checkpoint_labels_where_none_is_named(
    dataset: Path, shipped_stand_in: Path
) -> None:
    write_list("a.png")
    assert run("--detector", "img2pose") == 0
    model = json.loads(Path("out/settings.json").read_text())["options"]["model_path"]
    digest = hashlib.sha256(shipped_stand_in.read_bytes()).hexdigest()
    assert model == f"{shipped_stand_in.name} sha256:{digest[:8]}"
    assert labels("a.png").label_source.startswith(f"img2pose {model}")
