"""The command that draws synthetic data sets."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2pose.cli import convert_json_list_to_lmdb
from img2pose.cli.make_synthetic_dataset import main
from img2pose.data.annotations import read_annotation, read_annotation_list
from img2pose.data.store import PoseStore
from img2pose.data.synthetic import writer

SMALL = ["--seed", "5", "--size", "96,128", "--samples", "1"]


def digests(folder: Path) -> dict[str, str]:
    """Hash of each picture and annotation."""
    files = sorted([*folder.glob("images/*"), *folder.glob("annotations/*")])
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures made in this process."""
    folder = tmp_path_factory.mktemp("synthetic") / "set"
    assert main(["--count", "12", "--out", str(folder), "--num_workers", "0", *SMALL]) == 0
    return folder


def test_pictures_annotations_list_sheet_and_description(dataset: Path) -> None:
    assert len(list((dataset / "images").glob("*.jpg"))) == 12
    listed = read_annotation_list(dataset / "annotations.txt")
    assert [path.name for path in listed] == [f"{index:06d}.json" for index in range(12)]
    faces = 0
    for path in listed:
        annotation = read_annotation(path)
        with Image.open(dataset / annotation.image_path) as image:
            assert image.size == (128, 96)
            assert image.format == "JPEG"
        assert annotation.label_source == "synthetic"
        for points, pose, share, seen in zip(
            annotation.landmarks,
            annotation.poses,
            annotation.visibility,
            annotation.landmark_visibility,
            strict=True,
        ):
            assert share is not None
            assert (pose is None) == (seen is None) == (len(points) == 5)
            faces += pose is not None
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["seed"] == 5
    assert description["count"] == 12
    assert description["complete"] is True
    assert description["posed_faces"] == faces > 0
    assert description["settings"]["size_hw"] == [96, 128]
    with Image.open(dataset / "contact_sheet.jpg") as sheet:
        assert sheet.size == (6 * 320, 2 * 320)
    assert not list(dataset.rglob("*.part*"))


def test_bytes_do_not_depend_on_workers_or_number(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert main(["--count", "7", "--out", str(out), "--num_workers", "2", *SMALL]) == 0
    again, whole = digests(out), digests(dataset)
    assert len(again) == 14
    assert all(whole[name] == digest for name, digest in again.items())


def test_a_stopped_run_goes_on_and_ends_the_same(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "resumed"
    assert main(["--count", "5", "--out", str(out), "--num_workers", "0", *SMALL]) == 0
    # As a killed process leaves it: a picture without its annotation, and half a file.
    (out / "annotations" / "000003.json").unlink()
    (out / "images" / ".000009.abcdefgh.part.jpg").write_bytes(b"half")
    kept = (out / "images" / "000001.jpg").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["--count", "12", "--out", str(out), "--num_workers", "0", *SMALL]) == 0
    assert "new: 8\n" in capsys.readouterr().out
    assert (out / "images" / "000001.jpg").stat().st_mtime_ns == kept
    assert digests(out) == digests(dataset)
    assert not list(out.rglob("*.part*"))


def test_another_seed_in_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    first = ["--count", "2", "--out", str(out), "--num_workers", "0", "--size", "64"]
    assert main([*first, "--seed", "1"]) == 0
    before = digests(out)
    assert main([*first, "--seed", "2"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--overwrite" in error
    assert digests(out) == before
    assert main([*first, "--seed", "2", "--overwrite"]) == 0
    assert digests(out) != before


@pytest.mark.parametrize(
    "flags",
    [
        ["--count", "0"],
        ["--seed", "-1"],
        ["--size", "12.5"],
        ["--size", "nan"],
        ["--size", "320,inf"],
        ["--size", "1,2,3"],
        ["--size", "8"],
        ["--num_workers", "-1"],
        ["--negatives", "1.2"],
        ["--pairs", "0.95"],
        ["--focal_range", "2"],
        ["--focal_range", "3,1"],
        ["--glasses", "nan"],
        ["--max_yaw", "91"],
        ["--backgrounds", "nowhere"],
    ],
)
def test_bad_flags_are_told_in_one_line(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    assert main(["--count", "1", "--out", str(out), "--num_workers", "0", *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert flags[0] in error
    assert not out.exists()


def test_a_file_or_foreign_folder_as_output_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert main(["--count", "1", "--out", str(file), "--num_workers", "0"]) == 2
    foreign = tmp_path / "foreign"
    (foreign / "images").mkdir(parents=True)
    (foreign / "images" / "holiday.jpg").write_bytes(b"mine")
    assert main(["--count", "1", "--out", str(foreign), "--num_workers", "0"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)
    assert (foreign / "images" / "holiday.jpg").read_bytes() == b"mine"


def test_a_full_disk_is_told_and_the_same_command_goes_on(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "set"
    command = ["--count", "12", "--out", str(out), "--num_workers", "0", *SMALL]
    real = writer.write_annotation

    def full(path: Path, annotation: object) -> None:
        if path.name == "000004.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, annotation)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "write_annotation", full)
    assert main(command) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "No space left on device" in error
    assert "goes on" in error
    assert json.loads((out / "dataset.json").read_text())["complete"] is False
    monkeypatch.undo()
    assert main(command) == 0
    assert digests(out) == digests(dataset)


def test_backgrounds_of_a_folder_are_used(tmp_path: Path) -> None:
    folder = tmp_path / "walls"
    folder.mkdir()
    Image.new("RGB", (200, 150), (0, 200, 0)).save(folder / "green.png")
    outs = []
    for flags in ([], ["--backgrounds", str(folder)]):
        out = tmp_path / f"set{len(flags)}"
        command = ["--count", "8", "--out", str(out), "--num_workers", "0", *SMALL]
        assert main([*command, "--negatives", "1", *flags]) == 0
        outs.append([np.asarray(Image.open(p)) for p in sorted(out.glob("images/*.jpg"))])
    made_up, green = (
        [(p[..., 1].astype(int) > p[..., [0, 2]].max(-1).astype(int) + 30).mean() for p in pictures]
        for pictures in outs
    )
    assert np.mean([share > 0.25 for share in green]) >= 0.4
    assert np.mean(green) > np.mean(made_up) + 0.2
    description = json.loads((tmp_path / "set2" / "dataset.json").read_text())
    assert description["backgrounds"][0][0] == "green.png"


def test_the_converter_takes_exact_poses_or_fits_them(dataset: Path, tmp_path: Path) -> None:
    stores = {}
    for labels in ("exact", "fitted"):
        dest = tmp_path / labels
        command = ["--json_list", str(dataset / "annotations.txt")]
        command += ["--dataset_path", str(dataset), "--dest", str(dest), "--num_workers", "0"]
        command += ["--pose_labels", labels, "--pose_camera", "image", "--keep-negatives"]
        assert convert_json_list_to_lmdb.main(command) == 0
        stores[labels] = PoseStore(dest / "annotations.lmdb")
    posed = 0
    for index, path in enumerate(read_annotation_list(dataset / "annotations.txt")):
        annotation = read_annotation(path)
        exact, fitted = stores["exact"][index], stores["fitted"][index]
        for face, pose in enumerate(annotation.poses):
            if pose is None:
                assert not exact.has_pose[face]
                assert not fitted.has_pose[face]
                continue
            posed += 1
            np.testing.assert_array_equal(exact.poses_in_image[face], pose)
            assert not np.allclose(fitted.poses_in_image[face], pose, atol=1e-6)
            np.testing.assert_allclose(fitted.poses_in_image[face], pose, atol=6)
    assert posed > 5
