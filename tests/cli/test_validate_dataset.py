"""The command that checks data, on faces with faults made on purpose."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import lmdb
import msgpack
import numpy as np
import pytest
from PIL import Image

from img2pose.cli import convert_json_list_to_lmdb, import_annotations
from img2pose.cli.validate_dataset import main
from img2pose.data.checks.findings import CHECKS
from img2pose.data.store import PoseStore, Record, StoreMeta, write_store
from img2pose.geometry import MIRROR_ORDER_68
from img2pose.references import PoseReferences
from tests.faces import write_face_photographs

COUNT = 6


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `images`, `lists/train.txt` and `train.lmdb` of six faces."""
    folder = tmp_path_factory.mktemp("clean")
    images = folder / "images"
    images.mkdir()
    write_face_photographs(images, PoseReferences.default(), COUNT + 1)
    # The second face reaches out of its picture.
    for suffix in ("jpg", "pts"):
        (images / f"face_{COUNT}.{suffix}").replace(images / f"face_1.{suffix}")
    before = Path.cwd()
    os.chdir(folder)
    try:
        arguments = ["--images_path", "images", "--output_path", "lists", "--val_count", "0"]
        assert import_annotations.main(["pts", *arguments]) == 0
        arguments = ["--json_list", "lists/train.txt", "--dataset_path", "images", "--dest", "."]
        arguments += ["--train", "--num_workers", "0"]
        assert convert_json_list_to_lmdb.main(arguments) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def dataset(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, the current folder."""
    for path in clean.rglob("*"):
        target = tmp_path / path.relative_to(clean)
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*more: str) -> int:
    arguments = ["--json_list", "lists/train.txt", "--dataset_path", "images"]
    return main([*arguments, "--output_path", "out", "--num_workers", "0", *more])


def run_store(path: str = "train.lmdb", *more: str) -> int:
    return main(["--lmdb", path, "--output_path", "out", "--num_workers", "0", *more])


def report() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path("out/report.json").read_text())
    return content


def found() -> dict[str, int]:
    return {name: check["count"] for name, check in report()["checks"].items() if check["count"]}


def change(index: int, edit: Callable[[dict[str, Any]], None]) -> None:
    path = Path(f"lists/annotations/face_{index}.json")
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_good_annotations_pass_with_a_report(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    output = capsys.readouterr().out
    text = Path("out/report.txt").read_text()
    assert output == f"{text}\nresults: out\n"
    assert text.startswith("lists/train.txt: no errors\n\nerrors: 0\n\nwarnings: 0\n")
    content = report()
    assert (content["errors"], content["warnings"], content["wrong"]) == (0, 0, False)
    assert set(content["checks"]) == set(CHECKS)
    assert content["counts"] == {
        "pictures": COUNT,
        "pictures_decoded": COUNT,
        "pictures_without_faces": 0,
        "pictures_without_posed_face": 0,
        "faces": COUNT,
        "faces_with_pose": COUNT,
        "faces_without_pose": 0,
        "faces_with_68_points": COUNT,
        "faces_with_5_points": 0,
    }
    # The points are projections of the reference points, rounded to a thousandth of a pixel.
    assert content["reprojection_error"]["68"]["max"] < 1e-4
    assert sum(content["face_size_px"]["counts"]) == COUNT
    np.testing.assert_allclose(content["poses"]["mean_in_box"], np.load("train_pose_mean.npy"))
    np.testing.assert_allclose(content["poses"]["stddev_in_box"], np.load("train_pose_stddev.npy"))
    assert [len(content["worst"]), content["worst"][0]["face"]] == [COUNT, 0]
    with Image.open("out/worst.png") as sheet:
        assert sheet.size == (6 * 320, 320)
    with Image.open("out/reprojection_histogram.png") as figure:
        assert figure.format == "PNG"


def test_good_stores_pass(dataset: Path) -> None:
    assert run_store() == 0
    content = report()
    assert (content["errors"], content["warnings"]) == (0, 0)
    assert content["rotation_against_refit_deg"]["count"] == COUNT
    assert content["rotation_against_refit_deg"]["max"] < 1e-6
    assert content["counts"]["faces_with_pose"] == COUNT


def swap(value: dict[str, Any]) -> None:
    value["landmarks"] = [[points[k] for k in MIRROR_ORDER_68] for points in value["landmarks"]]


def shift_box(value: dict[str, Any]) -> None:
    left, top, right, bottom = value["bboxes"][0]
    half = 0.6 * (right - left)
    value["bboxes"][0] = [left - half, top, right - half, bottom]


def repeat_face(value: dict[str, Any]) -> None:
    value["bboxes"] *= 2
    value["landmarks"] *= 2


def shuffle(value: dict[str, Any]) -> None:
    order = np.random.default_rng(0).permutation(68)
    value["landmarks"] = [[points[k] for k in order] for points in value["landmarks"]]


def flatten(value: dict[str, Any]) -> None:
    value["landmarks"] = [[[x, x] for x, _ in points] for points in value["landmarks"]]
    bounds = [coordinate for point in value["landmarks"][0] for coordinate in point]
    value["bboxes"] = [[min(bounds), min(bounds), max(bounds), max(bounds)]]


def forget_boxes(value: dict[str, Any]) -> None:
    del value["bboxes"]


def scale_points(value: dict[str, Any]) -> None:
    value["landmarks"] = [[[3 * x, 3 * y] for x, y in points] for points in value["landmarks"]]


def name_another_picture(value: dict[str, Any]) -> None:
    value["image_path"] = "face_0.jpg"


def name_nothing(value: dict[str, Any]) -> None:
    value["image_path"] = "gone.jpg"


@pytest.mark.parametrize(
    ("edit", "check"),
    [
        (swap, "points_swapped"),
        (shift_box, "points_outside_box"),
        (repeat_face, "face_repeated"),
        (shuffle, "reprojection_outlier"),
        (flatten, "points_degenerate"),
        (forget_boxes, "annotation_unreadable"),
        (scale_points, "points_outside_picture"),
        (name_another_picture, "image_repeated"),
        (name_nothing, "image_missing"),
    ],
)
def test_faults_of_annotations_are_found_and_only_they(
    dataset: Path,
    edit: Callable[[dict[str, Any]], None],
    check: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(2, edit)
    assert run("--worst", "0") == 2
    assert check in found()
    assert check in capsys.readouterr().out
    for name, content in report()["checks"].items():
        places = {example["place"] for example in content["examples"]}
        assert places <= {"lists/annotations/face_2.json"}, name
    assert report()["counts"]["pictures"] == COUNT
    assert not Path("out/worst.png").exists()


def test_faults_of_files_are_found(dataset: Path) -> None:
    content = Path("images/face_0.jpg").read_bytes()
    Path("images/face_0.jpg").write_bytes(content[: len(content) // 2])
    Path("images/face_1.jpg").write_bytes(Path("images/face_3.jpg").read_bytes())
    Path("images/face_2.jpg").write_bytes(b"")
    with Path("lists/train.txt").open("a") as listed:
        listed.write("lists/annotations/face_4.json\nlists/annotations/none.json\n")
    assert run() == 2
    counts = found()
    assert counts["image_unreadable"] == 2
    assert counts["image_copied"] == 1
    assert counts["annotation_repeated"] == 1
    assert counts["annotation_unreadable"] == 1
    assert report()["counts"]["pictures"] == COUNT + 2
    assert report()["counts"]["pictures_decoded"] == COUNT - 1


def test_oddities_are_warnings_that_strictness_makes_errors(dataset: Path) -> None:
    with Image.open("images/face_1.jpg") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save("images/face_1.jpg", exif=exif)
    assert run("--min_side", "125") == 0
    # Two pictures are 120 pixels high.
    assert found() == {"image_not_upright": 1, "image_small": 2}
    assert run("--strict") == 2


def test_pictures_over_the_limit_are_not_decoded(dataset: Path) -> None:
    assert run("--max_pixels", "18500") == 2
    assert found() == {"image_too_large": 2}
    assert report()["counts"]["pictures_decoded"] == COUNT - 2


def test_the_limit_given_counts_rather_than_those_of_pillow_and_the_environment(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    monkeypatch.setenv("IMG2POSE_MAX_PIXELS", "5000")
    assert run("--max_pixels", "100000") == 0
    assert found() == {}
    assert report()["counts"]["pictures_decoded"] == COUNT


def test_head_angles_far_from_the_fit_draw_a_warning(dataset: Path) -> None:
    change(1, lambda value: value.update(pose_para=[[0.0, 1.5, 0.0]]))
    assert run() == 0
    assert found() == {"head_angles_differ": 1}


def test_pictures_outside_the_folder_draw_a_warning(dataset: Path) -> None:
    Path("images/face_1.jpg").rename("elsewhere.jpg")
    change(1, lambda value: value.update(image_path="../elsewhere.jpg"))
    assert run() == 0
    assert found() == {"image_outside_folder": 1}


def rewrite(
    edit: Callable[[int, Record], Record], meta: Callable[[StoreMeta], StoreMeta] = lambda m: m
) -> None:
    store = PoseStore("train.lmdb")
    records = [edit(index, record) for index, record in enumerate(store)]
    assert store.meta is not None
    write_store("changed.lmdb", records, meta(store.meta))


def change_record(index: int, **arrays: Any) -> None:
    rewrite(lambda k, record: replace(record, **arrays) if k == index else record)


@pytest.mark.parametrize(
    ("part", "changed", "checks"),
    [
        ("poses_in_image", [0.1, 0.2, 0.1, 2, 0, 7], {"pose_off_landmarks", "box_pose_wrong"}),
        ("poses_in_image", [0.1, 0.2, 0.1, 0, 0, -7], {"pose_invalid", "note_miscounts"}),
        ("poses_in_box", [0.1, 0.2, 0.1, 0, 0, 3], {"box_pose_wrong"}),
        ("poses_in_box", [np.nan, 0.2, 0.1, 0, 0, 3], {"values_not_finite", "note_miscounts"}),
        ("boxes_xyxy", [900, 900, 950, 950], {"box_outside_picture", "points_outside_box"}),
    ],
)
def test_faults_of_stores_are_found(
    dataset: Path, part: str, changed: list[float], checks: set[str]
) -> None:
    change_record(2, **{part: np.array([changed])})
    assert run_store("changed.lmdb") == 2
    assert checks <= set(found())
    clean_records = {f"record {index}" for index in range(COUNT) if index != 2}
    for content in report()["checks"].values():
        assert not clean_records & {example["place"] for example in content["examples"]}


def test_a_stored_rotation_that_no_fit_gives_draws_a_warning(dataset: Path) -> None:
    record = PoseStore("train.lmdb")[1]
    turn = np.array([[0, 0.06, 0, 0, 0, 0]])
    change_record(
        1, poses_in_image=record.poses_in_image + turn, poses_in_box=record.poses_in_box + turn
    )
    assert run_store("changed.lmdb") == 0
    assert found()["pose_differs_from_refit"] == 1
    # Not quite the same turn in both cameras.
    assert set(found()) <= {"pose_differs_from_refit", "box_pose_inexact"}


def put(path: str, changed: dict[bytes, bytes | None]) -> None:
    Path(path).write_bytes(Path("train.lmdb").read_bytes())
    with (
        lmdb.open(path, subdir=False, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in changed.items():
            assert transaction.delete(key) if value is None else transaction.put(key, value)


def test_records_that_are_damaged_or_gone_are_counted_and_the_others_checked(dataset: Path) -> None:
    put("changed.lmdb", {b"1": b"\xc1 no msgpack", b"4": None})
    assert run_store("changed.lmdb") == 2
    # The note still counts six pictures' faces.
    assert found() == {"record_unreadable": 2, "note_miscounts": 2}
    assert report()["counts"]["pictures_decoded"] == COUNT - 2


def without_additions() -> dict[bytes, bytes | None]:
    """Leaves what the published converter writes."""
    infos = [b"%d:info" % index for index in range(COUNT)]
    return dict.fromkeys([b"__meta__", b"__report__", *infos])


def test_a_record_listed_twice_is_found(dataset: Path) -> None:
    keys = [b"0", b"1", b"2", b"3", b"4", b"4"]
    put("changed.lmdb", {**without_additions(), b"__keys__": msgpack.packb(keys)})
    assert run_store("changed.lmdb") == 2
    assert found() == {"image_copied": 1, "key_repeated": 1}


def test_stores_without_a_note_are_judged_too(dataset: Path) -> None:
    put("changed.lmdb", without_additions())
    assert run_store("changed.lmdb") == 0
    assert found() == {}
    assert report()["rotation_against_refit_deg"]["count"] == COUNT


def test_a_store_cut_short_is_reported(dataset: Path) -> None:
    content = Path("train.lmdb").read_bytes()
    Path("changed.lmdb").write_bytes(content[: len(content) // 2])
    assert run_store("changed.lmdb") == 2
    assert found() == {"store_unreadable": 1}


def test_damaged_pictures_and_copies_in_stores_are_found(dataset: Path) -> None:
    first = PoseStore("train.lmdb")[0]
    rewrite(
        lambda index, record: {
            1: replace(record, image_bytes=record.image_bytes[:-500]),
            2: first,
        }.get(index, record)
    )
    assert run_store("changed.lmdb") == 2
    assert found() == {"image_unreadable": 1, "image_copied": 1}


def test_labels_of_other_reference_points_are_not_judged_by_them(dataset: Path) -> None:
    rewrite(lambda _, record: record, lambda meta: replace(meta, references_sha256="0" * 64))
    assert run_store("changed.lmdb") == 0
    assert found() == {"references_differ": 1}
    assert report()["reprojection_error"]["68"]["count"] == 0


def test_statistics_beside_a_store_must_be_its_own(dataset: Path) -> None:
    mean = np.load("train_pose_mean.npy")
    np.save("train_pose_mean.npy", mean + [0, 0, 0, 0, 0, 1])
    assert run_store() == 2
    assert found() == {"statistics_differ": 1}
    Path("train_pose_stddev.npy").unlink()
    assert run_store() == 2
    assert found() == {"statistics_unreadable": 1}


def test_a_file_that_is_no_store_is_reported(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("train.lmdb").write_bytes(b"no store" * 5000)
    assert run_store() == 2
    assert found() == {"store_unreadable": 1}
    assert "store_unreadable" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json_list", "none.txt", "--dataset_path", "images"],
        ["--json_list", "lists/train.txt"],
        ["--json_list", "lists/train.txt", "--dataset_path", "none"],
        ["--lmdb", "none.lmdb"],
        ["--lmdb", "train.lmdb", "--dataset_path", "images"],
        ["--lmdb", "train.lmdb", "--worst", "-1"],
        ["--lmdb", "train.lmdb", "--threed_5_points", "r5.npy"],
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(
    dataset: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--output_path", "out"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert not Path("out").exists()


def test_the_worst_face_leads_the_sheet_with_its_points_in_green_and_red(dataset: Path) -> None:
    def move_mouth(value: dict[str, Any]) -> None:
        for point in value["landmarks"][0][48:]:
            point[1] += 12

    change(4, move_mouth)
    run("--worst", "1")
    assert [face["place"] for face in report()["worst"]] == ["lists/annotations/face_4.json"]
    sheet = cv2.imread("out/worst.png").astype(int)
    blue, green, red = sheet[..., 0], sheet[..., 1], sheet[..., 2]
    assert ((green > 180) & (red < 90) & (blue < 110)).sum() > 200
    assert ((red > 220) & (green < 90) & (blue < 90)).sum() > 200


def test_helen_is_clean(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "some"
    images.mkdir()
    for path in sorted((shared / "data" / "helen").glob("1*"))[:80]:
        shutil.copy(path, images / path.name)
    arguments = ["--images_path", "some", "--output_path", "lists", "--val_count", "0"]
    assert import_annotations.main(["pts", *arguments]) == 0
    arguments = ["--json_list", "lists/train.txt", "--dataset_path", "some"]
    assert main([*arguments, "--output_path", "out", "--num_workers", "0"]) == 0
    assert report()["counts"]["pictures_decoded"] == 40
    assert report()["errors"] == 0
