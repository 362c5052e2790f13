"""The command that imports labels of other data sets."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from img2pose.cli import import_annotations
from img2pose.cli.import_annotations import FORMATS, build_parser, json_names, main
from img2pose.data.annotations import Annotation, read_annotation, read_annotation_list
from img2pose.data.importers import pts
from img2pose.errors import InputError

PARTS = ("train", "val")
# Lists that `import_pts.py --output_path o --val_count 100` made; published figures use them.
HELEN_LISTS = [
    "61adb06a14affc4151efd479389013611836104ca0b306f4da557e322b7f5d02",
    "aeab41310d05b2829c7ab90027c41fbbc18d5c60af71d4696b24b543f974dbfd",
]
POINTS = "10 12\n20 12\n15 18\n11 22\n19 22"
PTS = f"version: 1\nn_points: 5\n{{\n{POINTS}\n}}\n"


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(10):
        Image.new("RGB", (32, 24)).save(folder / f"p{index}.jpg")
        (folder / f"p{index}.pts").write_text(PTS)
    return folder


def run(*more: str) -> int:
    return main(["pts", "--images_path", "images", "--output_path", "out", *more])


@pytest.mark.parametrize("size", [("--val_count", "3"), ("--val_fraction", "0.3")])
def test_lists_work_from_the_current_folder(
    images: Path, capsys: pytest.CaptureFixture[str], size: tuple[str, str]
) -> None:
    assert run(*size) == 0
    train, val = read_annotation_list("out/train.txt"), read_annotation_list("out/val.txt")
    assert (len(train), len(val)) == (7, 3)
    assert not set(train) & set(val)
    annotation = read_annotation(train[0])
    assert (images / annotation.image_path).is_file()
    np.testing.assert_array_equal(annotation.boxes_xyxy, [[10, 12, 20, 22]])
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "annotations",
        "train.txt",
        "val.txt",
    ]
    assert len(list(Path("out/annotations").iterdir())) == 10
    assert "images: 10" in capsys.readouterr().out


def test_outputs_are_replaced_on_demand_only(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--val_count", "3") == 0
    before = Path("out/val.txt").read_text()
    assert run("--val_count", "4") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert Path("out/val.txt").read_text() == before
    assert run("--val_count", "4", "--overwrite") == 0
    assert len(read_annotation_list("out/val.txt")) == 4


def test_a_fraction_of_nothing_gives_an_empty_list(images: Path) -> None:
    assert run("--val_fraction", "0") == 0
    assert len(read_annotation_list("out/train.txt")) == 10
    assert Path("out/val.txt").read_text() == ""


def remove_image(folder: Path) -> None:
    (folder / "p7.jpg").unlink()


def break_image(folder: Path) -> None:
    (folder / "p7.jpg").write_bytes(b"\xff\xd8 no image")


def break_points(folder: Path) -> None:
    (folder / "p7.pts").write_text(PTS.replace("10 12", "ten 12"))


def put_nan(folder: Path) -> None:
    (folder / "p7.pts").write_text(PTS.replace("10 12", "nan 12"))


@pytest.mark.parametrize("damage", [remove_image, break_image, break_points, put_nan])
def test_bad_input_leaves_no_output(
    images: Path, capsys: pytest.CaptureFixture[str], damage: object
) -> None:
    assert callable(damage)
    damage(images)
    assert run("--val_count", "3") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "p7." in error
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--val_count", "10"], "10 of 10"),
        (["--val_count", "-1"], "-1 of 10"),
        (["--val_fraction", "1"], "--val_fraction 1.0"),
        (["--val_fraction", "nan"], "--val_fraction nan"),
        (["--val_count", "1", "--same_photo", "["], "same-photo pattern"),
        (["--list_name", "a/b"], "--list_name 'a/b'"),
        (["--list_name", ""], "--list_name"),
        (["--images_path", "none"], "none: is not a folder"),
        (["--val_count", "1", "--output_path", "images/p1.jpg"], "is a file"),
    ],
)
def test_bad_flags_leave_no_output(
    images: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert run(*flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not Path("out").exists()


def test_an_empty_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    assert run() == 2
    assert "images: holds no .pts files" in capsys.readouterr().err


def test_a_data_set_with_its_own_split_keeps_it(images: Path) -> None:
    assert run() == 0
    assert len(read_annotation_list("out/train.txt")) == 10
    assert not Path("out/val.txt").exists()
    (images / "p0.pts").write_text(PTS.replace("10 12", "9 12"))
    assert run("--list_name", "val") == 2
    (images / "p0.pts").write_text(PTS)
    assert run("--list_name", "val") == 0
    assert Path("out/val.txt").read_text() == Path("out/train.txt").read_text()


def test_annotations_with_other_labels_are_replaced_on_demand_only(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    before = Path("out/annotations/p3.json").read_text()
    (images / "p3.pts").write_text(PTS.replace("10 12", "9 12"))
    assert run("--list_name", "other") == 2
    assert "p3.json: is there already with other labels" in capsys.readouterr().err
    assert Path("out/annotations/p3.json").read_text() == before
    assert sorted(path.name for path in Path("out").iterdir()) == ["annotations", "train.txt"]
    assert run("--list_name", "other", "--overwrite") == 0
    assert Path("out/annotations/p3.json").read_text() != before


def test_bad_images_are_left_out_on_demand_and_listed(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_points(images)
    put_nan(images)
    (images / "p2.jpg").write_bytes(b"no image")
    assert run("--skip-bad", "--val_fraction", "0.25") == 0
    assert "images skipped: 2" in capsys.readouterr().out
    rows = [line.split("\t") for line in Path("out/train_skipped.txt").read_text().splitlines()]
    assert [row[0] for row in rows] == ["p2.jpg", "p7.jpg"]
    assert "not finite" in rows[1][1]
    assert len(read_annotation_list("out/train.txt")) == 6
    assert len(read_annotation_list("out/val.txt")) == 2
    for index in range(10):
        (images / f"p{index}.pts").write_text("")
    assert run("--skip-bad", "--overwrite") == 2
    assert "no image with labels remains; first problem:" in capsys.readouterr().err


def test_a_run_that_was_stopped_goes_on_where_it_was(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read: list[str] = []
    whole = pts._read_face

    def stopping(folder: Path, image_path: str, *rest: Any) -> Annotation:
        if len(read) == 6:
            raise KeyboardInterrupt
        read.append(image_path)
        return whole(folder, image_path, *rest)

    monkeypatch.setattr(pts, "_read_face", stopping)
    assert run("--val_count", "3") == 130
    assert not list(Path("out").glob("*.txt"))
    assert not Path("out/annotations").exists()
    (images / "p2.pts").write_text(PTS.replace("10 12", "9 12"))
    (staged,) = Path("out").rglob("p4.json")
    staged.write_text("")  # as a machine that went down leaves it
    read[:] = []
    assert run("--val_count", "3") == 0
    assert read == ["p2.jpg", "p4.jpg", "p6.jpg", "p7.jpg", "p8.jpg", "p9.jpg"]
    assert "taken over from a run that was stopped: 4" in capsys.readouterr().out
    assert read_annotation(Path("out/annotations/p2.json")).boxes_xyxy[0, 0] == 9
    assert not [path for path in Path("out").iterdir() if path.name.startswith(".")]


def test_a_disk_that_is_full_is_said_in_one_line(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, annotation: Annotation) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(import_annotations, "_stage", full)
    assert run() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "p0.json: cannot be written (No space left on device)" in error


def test_json_names_mirror_folders_and_never_collide_or_escape() -> None:
    paths = [
        *("0--Parade/a.jpg", "1--Riot/a.jpg", "a.jpg", "a.png", "A.JPG", "a.png.jpg", "a.b.jpg"),
        *("/etc/a.jpg", "../x/a.jpg", "x/../../b.jpg"),
    ]
    names = json_names(paths)
    assert [str(names[path]) for path in paths] == [
        *("0--Parade/a.json", "1--Riot/a.json", "a.json", "a.png.json", "A.JPG.json"),
        *("a.png.jpg.json", "a.b.json", "etc/a.json", "x/a.json", "x/b.json"),
    ]
    for bad in ("a\nb.jpg", "..", "/"):
        with pytest.raises(InputError, match="a list cannot hold"):
            json_names([bad])


WIDER = "in/a.jpg\n1\n1 2 10 12 0 0 0 0 0 0\n../outside.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n"


def test_images_outside_the_folder_are_taken_on_demand_only(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "in").mkdir()
    for path in (images / "in/a.jpg", images.parent / "outside.jpg"):
        Image.new("RGB", (32, 24)).save(path)
    Path("list.txt").write_text(WIDER)
    arguments = ["wider", "--images_path", "images", "--label_file", "list.txt"]
    arguments += ["--output_path", "out"]
    assert main(arguments) == 2
    assert "../outside.jpg lies outside images" in capsys.readouterr().err
    assert main([*arguments, "--allow_outside"]) == 0
    lines = Path("out/train.txt").read_text().splitlines()
    assert lines == ["out/annotations/in/a.json", "out/annotations/outside.json"]
    assert read_annotation(lines[1]).image_path == "../outside.jpg"


def test_every_format_has_an_example_that_parses(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in FORMATS:
        args = build_parser().parse_args(kind.example.split())
        assert args.kind is kind
        with pytest.raises(SystemExit) as caught:
            main([kind.name, "--help"])
        assert caught.value.code == 0
        assert f"import_annotations.py {kind.name}" in capsys.readouterr().out


def test_usage_errors_end_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["none"], ["wider", "--images_path", "a", "--output_path", "b"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "--label_file" in capsys.readouterr().err


def test_helen_is_split_as_it_was(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(shared / "data/helen")
    assert main(["pts", "--images_path", folder, "--output_path", "o", "--val_count", "100"]) == 0
    digests = [hashlib.sha256(Path(f"o/{name}.txt").read_bytes()).hexdigest() for name in PARTS]
    assert digests == HELEN_LISTS
