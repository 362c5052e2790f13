"""The command that converts annotation lists to stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest

import img2pose
from img2pose.cli.convert_json_list_to_lmdb import main
from img2pose.data import conversion
from img2pose.data.annotations import read_annotation
from img2pose.data.labels import fit_labels
from img2pose.data.store import PoseStore, Record
from img2pose.geometry import image_intrinsics, project_points
from img2pose.references import PoseReferences

SIZE_HW = (60, 80)
RNG = np.random.default_rng(5)
POINTS_68 = RNG.uniform([-0.8, -0.6, -0.7], [0.8, 0.7, 0.4], (68, 3))
POINTS_5 = np.array(
    [[-0.3, -0.4, -0.3], [0.3, -0.4, -0.3], [0, 0, -0.7], [-0.2, 0.3, -0.4], [0.2, 0.3, -0.4]]
)
REFERENCES = PoseReferences(POINTS_68, POINTS_5)
FLAGS = ["--threed_5_points", "r5.npy", "--threed_68_points", "r68.npy", "--num_workers", "0"]


def face(index: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    pose = np.concatenate([rng.normal(0, 0.2, 3), rng.normal(0, 0.3, 2), rng.uniform(6, 8, 1)])
    points: np.ndarray = project_points(POINTS_68, pose[None], image_intrinsics(*SIZE_HW))[0]
    return points


def annotate(name: str, *faces: np.ndarray, **changes: Any) -> None:
    value = {
        "image_path": f"{name}.png",
        "bboxes": [[*points.min(0), *points.max(0)] for points in faces],
        "landmarks": [points.tolist() for points in faces],
    }
    Path(f"{name}.json").write_text(json.dumps({**value, **changes}))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with images `p0` to `p4`, their JSONs, and `train.txt`."""
    monkeypatch.chdir(tmp_path)
    np.save("r5.npy", POINTS_5)
    np.save("r68.npy", POINTS_68)
    Path("images").mkdir()
    for index in range(5):
        image = np.random.default_rng(index).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
        assert cv2.imwrite(f"images/p{index}.png", image)
        annotate(f"p{index}", face(index))
    write_list(*[f"p{index}.json" for index in range(5)])
    return tmp_path


def write_list(*names: str) -> None:
    Path("train.txt").write_text("\n".join(names))


def run(*more: str) -> int:
    return main(
        ["--json_list", "train.txt", "--dataset_path", "images", "--dest", "out", *FLAGS, *more]
    )


def output_names() -> list[str]:
    return sorted(path.name for path in Path("out").iterdir()) if Path("out").exists() else []


def test_a_list_becomes_a_store_in_its_order(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list("p3.json", "p1.json", "p4.json")
    assert run("--pose_camera", "image") == 0
    assert output_names() == ["train.lmdb"]
    store = PoseStore("out/train.lmdb")
    assert store.meta is not None
    assert store.meta.pose_camera == "image"
    assert store.meta.references_sha256 == REFERENCES.sha256
    assert (store.meta.images, store.meta.faces, store.meta.posed_faces) == (3, 3, 3)
    for record, name in zip(store, ("p3", "p1", "p4"), strict=True):
        assert record.image_bytes == Path(f"images/{name}.png").read_bytes()
        labels = fit_labels(read_annotation(f"{name}.json"), SIZE_HW, REFERENCES, "image")
        np.testing.assert_array_equal(record.poses_in_image, labels.poses_in_image)
        np.testing.assert_array_equal(record.poses_in_box, labels.poses_in_box)
        np.testing.assert_array_equal(record.boxes_xyxy, labels.boxes_xyxy)
    assert "images: 3" in capsys.readouterr().out


def test_images_outside_the_folder_are_stored_on_demand_only(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("images/p0.png").rename("secret.png")
    for image_path in ("../secret.png", str(dataset / "secret.png")):
        annotate("p0", face(0), image_path=image_path)
        assert run() == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: p0.json: image {image_path} lies outside images;")
        assert error.count("\n") == 1
        assert output_names() == []
        assert run("--skip-bad") == 0
        assert "images skipped: 1" in capsys.readouterr().out
        assert run("--allow_outside", "--overwrite") == 0
        stored = PoseStore("out/train.lmdb")[0].image_bytes
        assert stored == Path("secret.png").read_bytes()
        for name in output_names():
            Path("out", name).unlink()
        capsys.readouterr()


def test_an_image_above_the_pixel_limit_is_refused(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMG2POSE_MAX_PIXELS", str(SIZE_HW[0] * SIZE_HW[1] - 1))
    # In this process: a fork server would keep the variable for the tests that follow.
    assert run() == 2
    assert "80 x 60 pixels are more than the limit" in capsys.readouterr().err
    assert output_names() == []


def test_training_lists_get_statistics_of_posed_faces(dataset: Path) -> None:
    annotate("p0", face(0), np.full((5, 2), -1.0), bboxes=[[5, 5, 60, 50], [1, 1, 9, 9]])
    assert run("--train") == 0
    assert output_names() == ["train.lmdb", "train_pose_mean.npy", "train_pose_stddev.npy"]
    store = PoseStore("out/train.lmdb")
    poses = np.concatenate([record.poses_in_box[record.has_pose] for record in store])
    assert len(poses) == 5
    np.testing.assert_allclose(np.load("out/train_pose_mean.npy"), poses.mean(0), atol=1e-12)
    np.testing.assert_allclose(np.load("out/train_pose_stddev.npy"), poses.std(0), atol=1e-12)


def test_counts_tell_what_was_left_out(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = np.full((5, 2), -1.0)
    annotate("p0", face(0), face(0), bboxes=[[5, 5, 60, 50], [5.2, 5, 5.9, 30]])
    annotate("p1", face(1), unknown, bboxes=[[5, 5, 60, 50], [1, 1, 9, 9]])
    annotate("p2", unknown, bboxes=[[1, 1, 9, 9]])
    annotate("p3")
    assert run() == 0
    assert [len(record) for record in PoseStore("out/train.lmdb")] == [1, 2, 1]
    *lines, speed = capsys.readouterr().out.splitlines()[1:]
    assert float(speed.removeprefix("images a second: ")) > 0
    assert lines == [
        "images: 3",
        "faces: 4",
        "  with pose: 3",
        "  without pose: 1",
        "boxes without area, left out: 1",
        "faces whose landmarks no pose fits: 0",
        "images without a posed face, dropped: 2 (1 faces)",
        "  no face annotated: 1",
        "  no face with known landmarks: 1",
        "images skipped: 0",
    ]
    assert output_names() == ["train.lmdb", "train_dropped.txt"]
    assert Path("out/train_dropped.txt").read_text().splitlines() == [
        "p0.json\t1 boxes without area",
        "p2.json\tno face with known landmarks",
        "p3.json\tno face annotated",
    ]


def test_negatives_are_kept_on_demand(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotate("p1", np.full((5, 2), -1.0), bboxes=[[1, 1, 9, 9]])
    annotate("p3")
    assert run("--keep-negatives", "--train") == 0
    assert [len(record) for record in PoseStore("out/train.lmdb")] == [1, 1, 1, 0, 1]
    assert [record.has_pose.sum() for record in PoseStore("out/train.lmdb")] == [1, 0, 1, 0, 1]
    assert output_names() == ["train.lmdb", "train_pose_mean.npy", "train_pose_stddev.npy"]
    assert "images without a posed face, kept: 2 (1 faces)" in capsys.readouterr().out
    write_list("p3.json")
    assert run("--keep_negatives", "--overwrite") == 0
    assert [len(record) for record in PoseStore("out/train.lmdb")] == [0]


def test_records_say_where_they_come_from(dataset: Path) -> None:
    annotate("p1", face(1), label_source="yunet")
    assert run() == 0
    store = PoseStore("out/train.lmdb")
    infos = [store.info(index) for index in range(5)]
    assert [info.image_path for info in infos if info] == [f"p{k}.png" for k in range(5)]
    assert {info.size_hw for info in infos if info} == {SIZE_HW}
    assert [info.label_source for info in infos if info] == [None, "yunet", None, None, None]


def records_equal(one: Record, other: Record) -> bool:
    return one.image_bytes == other.image_bytes and np.array_equal(
        one.poses_in_image, other.poses_in_image
    )


def test_worker_processes_give_the_same(dataset: Path) -> None:
    write_list(*[f"p{index % 5}.json" for index in range(60)])
    assert run() == 0
    assert run("--dest", "parallel", "--num_workers", "2") == 0
    alone, parallel = PoseStore("out/train.lmdb"), PoseStore("parallel/train.lmdb")
    assert len(parallel) == 60
    assert all(map(records_equal, alone, parallel))


def test_worker_processes_end_after_an_error(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list(*[f"p{index % 5}.json" for index in range(60)])
    Path("images/p2.png").unlink()
    assert run("--num_workers", "2") == 2
    assert "p2.png" in capsys.readouterr().err
    assert output_names() == []


def remove_image() -> None:
    Path("images/p2.png").unlink()


def break_image() -> None:
    Path("images/p2.png").write_bytes(b"no image at all")


def cut_image() -> None:
    content = Path("images/p2.png").read_bytes()
    Path("images/p2.png").write_bytes(content[: len(content) // 2])


def empty_image() -> None:
    Path("images/p2.png").write_bytes(b"")


def image_is_a_folder() -> None:
    Path("images/p2.png").unlink()
    Path("images/p2.png").mkdir()


def remove_json() -> None:
    Path("p2.json").unlink()


def break_json() -> None:
    Path("p2.json").write_text("{")


def drop_key() -> None:
    Path("p2.json").write_text('{"image_path": "p2.png"}')


def wrong_type() -> None:
    annotate("p2", bboxes="none")


def other_lengths() -> None:
    annotate("p2", face(2), bboxes=[])


def seven_landmarks() -> None:
    annotate("p2", face(2)[:7])


def put_nan() -> None:
    annotate("p2", np.full((5, 2), np.nan), bboxes=[[1, 1, 9, 9]])


def turn_box() -> None:
    annotate("p2", face(2), bboxes=[[50, 5, 10, 50]])


DAMAGES = [
    remove_image,
    break_image,
    cut_image,
    empty_image,
    image_is_a_folder,
    remove_json,
    break_json,
    drop_key,
    wrong_type,
    other_lengths,
    seven_landmarks,
    put_nan,
    turn_box,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_input_leaves_no_output(
    dataset: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[], None]
) -> None:
    damage()
    assert run("--train") == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "p2." in captured.err
    assert captured.out == ""
    assert output_names() == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_input_can_be_skipped(
    dataset: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[], None]
) -> None:
    damage()
    assert run("--skip-bad") == 0
    assert output_names() == ["train.lmdb", "train_skipped.txt"]
    assert len(PoseStore("out/train.lmdb")) == 4
    (line,) = Path("out/train_skipped.txt").read_text().splitlines()
    path, reason = line.split("\t")
    assert path == "p2.json"
    assert "p2." in reason
    assert "images skipped: 1" in capsys.readouterr().out


def empty_list() -> None:
    write_list("")


def remove_list() -> None:
    Path("train.txt").unlink()


def one_face() -> None:
    write_list("p1.json")


def same_faces() -> None:
    write_list("p1.json", "p1.json", "p1.json")


def no_poses() -> None:
    for index in range(5):
        annotate(f"p{index}")


def wrong_references() -> None:
    np.save("r5.npy", POINTS_68)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty_list, "train.txt: names no annotation"),
        (remove_list, "train.txt: is not there"),
        (one_face, "train.txt: 1 face with a pose"),
        (same_faces, "train.txt: the 3 poses do not vary"),
        (no_poses, "train.txt: no image with a posed face remains"),
        (wrong_references, "r5.npy: must have shape (5, 3)"),
    ],
)
def test_unusable_lists_leave_no_output(
    dataset: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[], None],
    message: str,
) -> None:
    damage()
    assert run("--train") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert output_names() == []


def test_nothing_left_after_skipping_is_an_error(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in Path("images").iterdir():
        path.unlink()
    assert run("--skip-bad") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "train.txt: no image with a posed face remains; first problem: p0.json" in error
    assert output_names() == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dataset_path", "none"], "none: is not a folder"),
        (["--dest", "train.txt"], "train.txt: is a file"),
        (["--num_workers", "-1"], "--num_workers -1"),
        (["--threed_5_points", "none.npy"], "none.npy: cannot be read"),
    ],
)
def test_bad_flags_leave_no_output(
    dataset: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert run(*flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert output_names() == []


def test_reference_flags_belong_together(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--json_list", "train.txt", "--dataset_path", "images", "--dest", "out"]
    assert main([*argv, "--threed_5_points", "r5.npy"]) == 2
    assert "give both or neither" in capsys.readouterr().err


def test_outputs_are_replaced_on_demand_only(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--train") == 0
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    write_list("p1.json", "p2.json")
    for name in before:
        for other in set(before) - {name}:
            Path("out", other).unlink()
        assert run("--train") == 2
        error = capsys.readouterr().err
        assert f"{name}: is there already; give --overwrite" in error
        assert output_names() == [name]
        for other in before:
            Path("out", other).write_bytes(before[other])
    assert run("--train", "--overwrite") == 0
    assert len(PoseStore("out/train.lmdb")) == 2
    assert output_names() == sorted(before)


def contents(folder: str = "out") -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.stat().st_ino, p.read_bytes()) for p in Path(folder).iterdir()}


def test_the_same_command_again_changes_nothing(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotate("p3")
    assert run("--train", "--skip-bad") == 0
    before = contents()
    assert len(before) == 5
    capsys.readouterr()
    assert run("--train", "--skip-bad") == 0
    assert capsys.readouterr().out == "out/train.lmdb: up to date\n"
    assert contents() == before
    # What lacks beside the store follows from it.
    lost = set(before) - {"train.lmdb"}
    for name in lost:
        Path("out", name).unlink()
    assert run("--train", "--skip-bad", "--num_workers", "1") == 0
    assert {Path(line).name for line in capsys.readouterr().out.splitlines()[1:]} == lost
    assert {name: text for name, (_, text) in contents().items()} == {
        name: text for name, (_, text) in before.items()
    }


def other_face() -> None:
    annotate("p2", face(7))


def other_image() -> None:
    with open("images/p2.png", "ab") as file:
        file.write(b"a")


def shorter_list() -> None:
    write_list("p0.json", "p1.json")


def another_store() -> None:
    Path("out/train.lmdb").write_bytes(b"no store")


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        (other_face, []),
        (other_image, []),
        (shorter_list, []),
        (another_store, []),
        (lambda: None, ["--pose_camera", "image"]),
        (lambda: None, ["--keep-negatives"]),
        (lambda: None, ["--skip-bad"]),
    ],
)
def test_other_input_or_settings_replace_a_store_on_demand_only(
    dataset: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[], None],
    flags: list[str],
) -> None:
    assert run() == 0
    change()
    before = contents()
    assert run(*flags) == 2
    assert "out/train.lmdb: is there already; give --overwrite" in capsys.readouterr().err
    assert contents() == before
    assert run(*flags, "--overwrite") == 0
    assert contents() != before


def entries_of(path: str) -> dict[bytes, bytes]:
    with (
        lmdb.open(path, subdir=False, readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


UNFINISHED = Path("out/.train.lmdb.unfinished")
LINES = 150


@pytest.fixture
def long_list(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lines that are stored, dropped and skipped; `whole` holds what they become."""
    annotate("p3")
    break_image()
    write_list(*[f"p{index % 5}.json" for index in range(LINES)])
    monkeypatch.setattr(conversion, "_LINES_A_COMMIT", 20)
    assert run("--skip-bad", "--train", "--dest", "whole") == 0
    original = conversion._Conversion.__call__

    def counted(self: conversion._Conversion, path: Path) -> conversion._Converted:
        with open("converted", "ab") as file:
            file.write(b".")
        return original(self, path)

    monkeypatch.setattr(conversion._Conversion, "__call__", counted)
    return dataset


def converted_lines() -> int:
    return Path("converted").stat().st_size


def assert_whole() -> None:
    assert entries_of("out/train.lmdb") == entries_of("whole/train.lmdb")
    assert output_names() == sorted(path.name for path in Path("whole").iterdir())
    for name in output_names():
        if name != "train.lmdb":
            assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_killed_run_goes_on_where_it_stopped(long_list: Path) -> None:
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            try:
                os._exit(run("--skip-bad", "--train"))
            finally:
                os._exit(9)
        time.sleep(0.04 * (kills + 1))
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        os.kill(child, signal.SIGKILL)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
    assert kills >= 2
    assert_whole()
    # A killed run loses what it did since its last commit, at most.
    assert converted_lines() <= LINES + 20 * kills


def test_an_interrupted_run_loses_nothing(long_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = conversion._Conversion.__call__

    def interrupted(self: conversion._Conversion, path: Path) -> conversion._Converted:
        if converted_lines() == 133:
            signal.raise_signal(signal.SIGINT)
        return counted(self, path)

    Path("converted").touch()
    monkeypatch.setattr(conversion._Conversion, "__call__", interrupted)
    assert run("--skip-bad", "--train") == 130
    assert output_names() == [UNFINISHED.name]
    monkeypatch.setattr(conversion._Conversion, "__call__", counted)
    assert run("--skip-bad", "--train") == 0
    assert_whole()
    assert converted_lines() == LINES


def test_a_run_that_was_killed_before_the_last_step_converts_nothing_again(
    long_list: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: conversion.UnfinishedStore) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion.UnfinishedStore, "complete", killed)
        assert run("--skip-bad", "--train") == 130
    assert output_names() == [UNFINISHED.name]
    assert run("--skip-bad", "--train") == 0
    assert_whole()
    assert converted_lines() == LINES


def leave_unfinished(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    with monkeypatch.context() as patch:

        def stopped(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(conversion.StoreWriter, "finish", stopped)
        assert run(*flags) == 130
    assert UNFINISHED.stat().st_size > 0


@pytest.mark.parametrize("change", ["settings", "image", "damage", "cut", "foreign"])
def test_what_cannot_be_gone_on_with_is_begun_anew(
    long_list: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    flags = ["--skip-bad", "--train"]
    leave_unfinished(
        monkeypatch, *flags, *(["--pose_camera", "image"] if change == "settings" else [])
    )
    if change == "image":
        Path("images/p1.png").write_bytes(Path("images/p1.png").read_bytes() + b"a")
        assert run(*flags, "--dest", "whole", "--overwrite") == 0
    content = bytearray(UNFINISHED.read_bytes())
    if change == "damage":
        at = content.index(b"PNG") + 5000
        content[at] ^= 1
        UNFINISHED.write_bytes(content)
    elif change == "cut":
        UNFINISHED.write_bytes(content[: len(content) // 2])
    elif change == "foreign":
        UNFINISHED.write_bytes(b"something else" * 1000)
    Path("converted").unlink()
    assert run(*flags) == 0
    assert converted_lines() == LINES
    assert_whole()


def test_bad_input_removes_the_unfinished_store(
    long_list: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(monkeypatch, "--skip-bad")
    assert run() == 2
    assert output_names() == []


def test_one_process_at_a_time_converts_to_a_store(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fcntl")
    with conversion.UnfinishedStore(Path("out/train.lmdb")):
        assert run() == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "out/train.lmdb: another process converts to it" in error
        assert run("--dest", "other") == 0
    assert run() == 0
    assert output_names() == ["train.lmdb"]


def test_a_full_disk_is_told_and_leaves_what_was_there(
    long_list: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    assert run("--skip-bad") == 0
    before = contents()
    Path("converted").unlink()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            os._exit(run("--skip-bad", "--overwrite"))
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be written" in error
    assert "it goes on where it stopped" in error
    assert {name: file for name, file in contents().items() if name != UNFINISHED.name} == before
    assert run("--skip-bad", "--overwrite") == 0
    assert converted_lines() < LINES + 30
    assert entries_of("out/train.lmdb") == entries_of("whole/train.lmdb")


def test_a_failed_replacement_leaves_what_was_there(dataset: Path) -> None:
    assert run("--train") == 0
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    one_face()
    assert run("--train", "--overwrite") == 2
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before


def test_the_script_runs_from_another_folder(dataset: Path) -> None:
    repository = Path(img2pose.__file__).parents[1]
    script = repository / "scripts/convert_json_list_to_lmdb.py"
    argv = ["--json_list", "train.txt", "--dataset_path", "images", "--dest", "out", *FLAGS]
    done = subprocess.run(
        [sys.executable, script, *argv, "--num_workers", "1"],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(PoseStore("out/train.lmdb")) == 5
