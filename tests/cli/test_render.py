"""The command that draws faces by their poses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from img2pose.cli.detection_arguments import parse_intrinsics
from img2pose.cli.render import PRODUCTS, main, parse_products
from img2pose.errors import InputError
from img2pose.inference.detector import Detector
from img2pose.inference.given_pictures import poses_for_camera
from img2pose.inference.predictions_file import ImageFaces
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences, default_mesh
from img2pose.visualization import depth_map, draw_landmarks, draw_overlay
from tests.visualization.poses import detections_of, gray

POSES = [[0.1, 0.2, 0, 0, 0, 6.0], [0, 0, 0, 0.4, 0, 9.0]]
SIZE_HW = (96, 128)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with pictures `in/a.png`, `more/a.png` and `predictions.json`."""
    monkeypatch.chdir(tmp_path)
    entries = []
    for name, poses in (("in/a.png", POSES), ("more/a.png", [])):
        path = tmp_path / name
        path.parent.mkdir()
        Image.fromarray(gray(SIZE_HW)).save(path)
        entries.append({"image": name, **detections_of(poses, SIZE_HW).to_dict()})
    (tmp_path / "predictions.json").write_text(json.dumps(entries))
    return tmp_path


def render(*arguments: str) -> int:
    return main(["--predictions", "predictions.json", "--output_path", "out", *arguments])


def names() -> set[str]:
    return {path.name for path in Path("out").iterdir()}


def test_all_products_of_pictures_with_equal_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render("--products", "all", "--texture_size", "32") == 0
    pictures = {
        f"{stem}_{product}.png"
        for stem in ("a", "a_2")
        for product in PRODUCTS
        if product not in ("obj", "ply")
    }
    meshes = {f"{stem}_faces.{suffix}" for stem in ("a", "a_2") for suffix in ("obj", "mtl", "ply")}
    assert names() == pictures | meshes | {"a_depth.npy", "a_2_depth.npy"}
    assert capsys.readouterr().out.startswith("images: 2\nfaces: 2\n")
    found = detections_of(POSES, SIZE_HW)
    np.testing.assert_array_equal(
        np.asarray(Image.open("out/a_overlay.png")), draw_overlay(gray(SIZE_HW), found)
    )
    depth = np.load("out/a_depth.npy")
    np.testing.assert_array_equal(depth, depth_map(found))
    assert np.isinf(np.load("out/a_2_depth.npy")).all()
    face = default_mesh("face")
    for suffix in ("ply", "obj"):
        read = trimesh.load(f"out/a_faces.{suffix}", process=False)
        assert len(read.faces) == 2 * len(face.triangles)
        # The nearest point of the faces is nearest on the depth map too.
        assert abs(read.vertices[:, 2].min() - depth.min()) < 0.05
    assert read.visual.material.image.size == Image.open("out/a_uv.png").size == (64, 32)
    for suffix in ("ply", "obj"):
        assert trimesh.load_mesh(f"out/a_2_faces.{suffix}").is_empty


def test_mesh_files_of_an_earlier_run_do_not_outlive_its_faces(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render("in", "--products", "obj,ply") == 0
    assert render("in", "--products", "obj,ply", "--score_threshold", "0.95") == 0
    assert capsys.readouterr().out.endswith("faces: 0\nnot drawn: 0\nresults: out\n")
    for suffix in ("ply", "obj"):
        assert trimesh.load_mesh(f"out/a_faces.{suffix}").is_empty


def test_faces_that_are_not_drawn_are_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = [*POSES, [0, 0, 0, 0, 0, -5.0], [1e300, 0, 0, 0, 0, 5.0]]
    entry = {"image": "in/a.png", **detections_of(POSES + POSES, SIZE_HW).to_dict()}
    for face, pose in zip(entry["faces"], poses, strict=True):
        face["pose"] = pose
    Path("predictions.json").write_text(json.dumps([entry]))
    assert render() == 0
    assert "faces: 4\nnot drawn: 2\n" in capsys.readouterr().out


def test_huge_cameras_and_names_that_are_no_text_are_drawn(folder: Path) -> None:
    name = os.fsdecode(b"in/caf\xe9 1.0.png")
    Path("in/a.png").rename(name)
    intrinsics = [[1e300, 0, 0], [0, 1e300, 0], [0, 0, 1]]
    found = detections_of(POSES, SIZE_HW).to_dict()
    entries = [{"image": name, **found}, {"image": "more/a.png", **found, "intrinsics": intrinsics}]
    Path("predictions.json").write_text(json.dumps(entries))
    assert render("--products", "all", "--texture_size", "16") == 0
    stem = b"out/caf\xe9 1.0"
    assert b"caf\xe9 1.0_faces.mtl" in Path(os.fsdecode(stem + b"_faces.obj")).read_bytes()
    assert b"caf\xe9 1.0_uv.png" in Path(os.fsdecode(stem + b"_faces.mtl")).read_bytes()


def test_landmarks_are_those_of_the_references_that_the_file_names(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = PoseReferences.default()
    other = PoseReferences(own.points_68 * 0.8, own.points_5 * 0.8)
    found = detections_of(POSES, SIZE_HW)
    for references in (own, other):
        entry = ImageFaces(Path("in/a.png"), found, references).to_dict()
        Path("predictions.json").write_text(json.dumps([entry]))
        caplog.clear()
        assert render("--products", "landmarks") == 0
        assert ("will not fit" in caplog.text) == (references is other)
        np.testing.assert_array_equal(
            np.asarray(Image.open("out/a_landmarks.png")),
            draw_landmarks(gray(SIZE_HW), found, references),
        )


def test_options_change_what_is_drawn(folder: Path) -> None:
    def overlay(*arguments: str) -> np.ndarray:
        assert render("in", *arguments) == 0
        return np.asarray(Image.open("out/a_overlay.png"))

    plain = overlay()
    assert names() == {"a_overlay.png"}
    for arguments in (
        ("--opacity", "0.5"),
        ("--supersampling", "1"),
        ("--part", "head"),
        ("--score_threshold", "0.7"),
        ("--intrinsics", "150,150,64,48"),
    ):
        assert (overlay(*arguments) != plain).any(), arguments
    np.testing.assert_array_equal(overlay("--opacity", "0"), gray(SIZE_HW))
    assert render("in", "--products", "landmarks") == 0
    dimmed = Path("out/a_landmarks.png").read_bytes()
    assert render("in", "--products", "landmarks", "--hidden", "leave_out") == 0
    assert Path("out/a_landmarks.png").read_bytes() != dimmed


def test_a_users_camera_re_expresses_the_poses(folder: Path) -> None:
    assert render("in", "--products", "depth", "--intrinsics", "300,310,60,50") == 0
    camera = parse_intrinsics("300,310,60,50")
    found = detections_of(POSES, SIZE_HW)
    poses = poses_for_camera(found.poses, found.boxes, found.intrinsics, camera)
    expected = depth_map(detections_of(poses.tolist(), SIZE_HW, camera))
    np.testing.assert_array_equal(np.load("out/a_depth.npy"), expected)


def test_obj_without_uv_has_colours_and_no_texture(folder: Path) -> None:
    assert render("in/a.png", "--products", "obj") == 0
    assert names() == {"a_faces.obj"}
    read = trimesh.load("out/a_faces.obj", process=False)
    assert (read.visual.vertex_colors[:, :3] == 128).all(axis=1).mean() > 0.2


def test_a_model_finds_the_faces(folder: Path, small_model: Img2Pose) -> None:
    torch.save(pack_model(small_model), "model.pth")
    arguments = ["--checkpoint", "model.pth", "--device", "cpu", "--score_threshold", "0.1"]
    arguments += ["--output_path", "out", "--products", "depth", "--intrinsics", "250,250,60,40"]
    assert main(["in/a.png", *arguments]) == 0
    detector = Detector.from_checkpoint("model.pth", device="cpu", score_threshold=0.1)
    found = detector.predict("in/a.png", parse_intrinsics("250,250,60,40"))
    assert len(found) > 0
    np.testing.assert_allclose(np.load("out/a_depth.npy"), depth_map(found), rtol=1e-4)


def test_products_are_listed_in_their_order_once() -> None:
    assert parse_products("sheet, overlay,overlay") == ("overlay", "sheet")
    assert parse_products("all") == PRODUCTS
    for text in ("", ",", "overlay,hat"):
        with pytest.raises(InputError, match="--products"):
            parse_products(text)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["gone.png"], "gone.png"),
        (["other.png"], "other.png"),
        (["in", "resized"], "resized/a.png"),
        (["--predictions", "gone.json"], "gone.json"),
        (["--predictions", "twice.json"], "twice.json"),
        (["--predictions", "in/a.png"], "in/a.png"),
        (["--checkpoint", "model.pth"], "--checkpoint"),
        (["--threed_68_points", "points.npy"], "--threed_68_points"),
        (["--min_size", "100"], "--min_size"),
        (["--device", "cpu"], "--device"),
        (["--products", "hat"], "hat"),
        (["--intrinsics", "1,2,3"], "--intrinsics"),
        (["--intrinsics", "1,2,3,nan"], "--intrinsics"),
        (["--intrinsics=-1,2,3,4"], "--intrinsics"),
        (["--intrinsics", "1e300,1e300,0,0"], "--intrinsics"),
        (["--intrinsics", "1e-300,1,0,0"], "--intrinsics"),
        (["--opacity", "nan"], "--opacity"),
        (["--texture_size", "0"], "--texture_size"),
        (["--score_threshold", "2"], "--score_threshold"),
        (["--output_path", "predictions.json"], "predictions.json"),
        (["--output_path", "taken"], "taken/a_2_overlay.png"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    for name in ("other.png", "resized/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(gray((30, 40))).save(name)
    entries = json.loads(Path("predictions.json").read_text())
    Path("twice.json").write_text(json.dumps(entries + entries))
    listed = [*entries, {**entries[0], "image": "resized/a.png"}]
    Path("predictions.json").write_text(json.dumps(listed))
    Path("taken/a_2_overlay.png").mkdir(parents=True)
    before = sorted(folder.rglob("*"))
    assert render(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert sorted(folder.rglob("*")) == before


def test_a_checkpoint_needs_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", "model.pth", "--output_path", "out"]) == 2
    assert "IMAGE" in capsys.readouterr().err


def test_a_picture_is_enough(folder: Path, shipped_stand_in: Path) -> None:
    assert main(["in/a.png"]) == 0
    assert [path.name for path in Path("img2pose_out").iterdir()] == ["a_overlay.png"]
