"""The command that shows what a store holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from img2pose.cli.inspect_lmdb import UNPOSED_COLOR, draw_record, main
from img2pose.data.labels import NO_POSE
from img2pose.data.store import PoseStore, write_store
from img2pose.images import decode_image
from img2pose.references import PoseReferences
from img2pose.visualization import BOX_COLOR


def test_without_a_record_it_sums_up(
    face_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = face_dataset / "train.lmdb"
    assert main([str(path), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["records"], summary["faces"], summary["faces_with_pose"]) == (4, 4, 4)
    assert summary["file_bytes"] == path.stat().st_size
    assert summary["note"]["pose_camera"] == "image"
    assert main([str(path)]) == 0
    output = capsys.readouterr().out
    assert "records: 4\n" in output
    assert "  pose camera: image\n" in output


def test_records_are_printed_and_drawn(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = face_dataset / "train.lmdb", tmp_path / "look"
    arguments = [str(path), "--record", "2", "0", "2", "--output_path", str(output), "--json"]
    assert main(arguments) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    assert [record["key"] for record in records] == ["2", "0"]
    stored = PoseStore(path)[2]
    (face,) = records[0]["faces"]
    assert face["pose_in_image"] == stored.poses_in_image[0].tolist()
    assert face["box"] == stored.boxes_xyxy[0].tolist()
    assert records[0]["image_bytes"] == len(stored.image_bytes)
    info = PoseStore(path).info(2)
    assert info is not None
    assert records[0]["image_path"] == info.image_path
    assert records[0]["label_source"] == ".pts files"
    assert sorted(p.name for p in output.iterdir()) == ["record_0.png", "record_2.png"]
    height, width = records[0]["size_hw"]
    with Image.open(output / "record_2.png") as drawing:
        # Enlarged by a whole factor to at least 720 pixels.
        assert drawing.size[0] / width == drawing.size[1] / height == -(-720 // max(width, height))


def test_records_are_printed_without_a_folder(
    face_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(face_dataset / "val.lmdb"), "--record", "1"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("record 1: ")
    assert "pose in box" in output
    assert "drawing" not in output


def test_a_sheet_shows_evenly_spaced_records(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(face_dataset / "train.lmdb"), "--sheet", "3", "--output_path", str(tmp_path)]
    assert main(arguments) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 480, 480)
    assert f"sheet: {tmp_path / 'sheet.png'}" in capsys.readouterr().out


def count_of(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - color).max(-1) < 12).sum())


def test_faces_without_a_pose_have_another_colour(face_dataset: Path) -> None:
    record = PoseStore(face_dataset / "train.lmdb")[0]
    pixels = decode_image(record.image_bytes, "record")
    references = PoseReferences.default()
    posed = draw_record(record, pixels, references)
    no_pose = np.full((1, 6), NO_POSE)
    unposed = replace(record, poses_in_image=no_pose, poses_in_box=no_pose)
    drawing = draw_record(unposed, pixels, references)
    assert count_of(posed, BOX_COLOR) > 500 > count_of(posed, UNPOSED_COLOR)
    assert count_of(drawing, UNPOSED_COLOR) > 500 > count_of(drawing, BOX_COLOR)


def test_projected_points_lie_on_the_landmarks_when_enlarged(face_dataset: Path) -> None:
    # Landmarks are drawn last: where they are the projections themselves they hide these.
    record = PoseStore(face_dataset / "train.lmdb")[0]
    pixels = np.zeros_like(decode_image(record.image_bytes, "record"))
    references = PoseReferences.default()
    both = draw_record(record, pixels, references)
    alone = draw_record(replace(record, landmarks=(np.empty((0, 2)),)), pixels, references)
    light_blue = (0, 230, 255)
    assert count_of(alone, light_blue) > 500
    assert count_of(both, light_blue) < 0.5 * count_of(alone, light_blue)


def test_values_that_are_not_finite_are_null(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = PoseStore(face_dataset / "val.lmdb")
    record = replace(store[0], poses_in_image=np.full((1, 6), np.nan))
    assert store.meta is not None
    write_store(tmp_path / "bad.lmdb", [record], store.meta)
    arguments = [str(tmp_path / "bad.lmdb"), "--record", "0", "--output_path", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["records"][0]["faces"]
    assert face["pose_in_image"] == [None] * 6
    assert main(arguments) == 0
    assert "? ? ?" in capsys.readouterr().out


def test_damaged_records_are_counted(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged.lmdb"
    path.write_bytes((face_dataset / "train.lmdb").read_bytes())
    with (
        lmdb.open(str(path), subdir=False, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"1", b"\xc1 no msgpack")
    assert main([str(path), "--json"]) == 2
    summary = json.loads(capsys.readouterr().out)
    assert (summary["records"], summary["records_unreadable"], summary["faces"]) == (4, 1, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.lmdb"],
        ["STORE", "--record", "99"],
        ["STORE", "--sheet", "3"],
        ["STORE", "--sheet=-1"],
    ],
)
def test_wrong_usage_is_one_line(
    face_dataset: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(face_dataset / "train.lmdb")
    assert main([store if part == "STORE" else part for part in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
