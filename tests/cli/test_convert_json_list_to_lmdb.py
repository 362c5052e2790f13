"""The command that converts annotation lists to stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import img2pose
from img2pose.cli.convert_json_list_to_lmdb import main
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
    assert capsys.readouterr().out.splitlines()[1:] == [
        "images: 3",
        "faces: 4",
        "  with pose: 3",
        "  without pose: 1",
        "boxes without area, left out: 1",
        "faces whose landmarks no pose fits: 0",
        "images without a posed face, dropped: 2 (1 faces)",
        "images skipped: 0",
    ]


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
