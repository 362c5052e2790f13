"""The command that imports photographs with `.pts` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2pose.cli.import_pts import main
from img2pose.data.annotations import read_annotation, read_annotation_list

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
    return main(["--images_path", "images", "--output_path", "out", *more])


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
        ([], "100 of 10"),
        (["--val_fraction", "1"], "--val_fraction 1.0"),
        (["--val_fraction", "nan"], "--val_fraction nan"),
        (["--val_count", "1", "--same_photo", "["], "same-photo pattern"),
        (["--val_count", "1", "--images_path", "none"], "none: is not a folder"),
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
