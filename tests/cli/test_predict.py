"""The command that draws and lists the faces of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.cli.predict import drawing_paths, main
from img2pose.geometry import image_intrinsics, pose_to_euler
from img2pose.inference.detector import Detector
from img2pose.models import shipped
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences


def write_picture(path: Path, size_hw: tuple[int, int] = (60, 80), seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, small_model: Img2Pose, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `model.pth`."""
    monkeypatch.chdir(tmp_path)
    torch.save(pack_model(small_model), "model.pth")
    return tmp_path


def predict(*arguments: str) -> int:
    flags = ["--checkpoint", "model.pth", "--output_path", "out", "--device", "cpu"]
    return main([*arguments, *flags])


def test_each_picture_gets_a_drawing_and_an_entry(folder: Path) -> None:
    write_picture(folder / "in/a.jpg")
    write_picture(folder / "in/b.png", (90, 50), seed=1)
    write_picture(folder / "more/a.jpg", seed=2)
    assert predict("in", "more/a.jpg", "--score_threshold", "0.1", "--landmarks") == 0
    names = {path.name for path in (folder / "out").iterdir()}
    drawings = ["a_faces.jpg", "b_faces.png", "a_2_faces.jpg"]
    assert names == {*drawings, "predictions.json"}
    entries = json.loads(Path("out/predictions.json").read_text())
    assert [entry["image"] for entry in entries] == ["in/a.jpg", "in/b.png", "more/a.jpg"]
    assert [entry["drawing"] for entry in entries] == drawings
    assert entries[1]["size_hw"] == [90, 50]
    assert entries[1]["references"] == {"sha256": PoseReferences.default().sha256}
    assert entries[1]["intrinsics"] == image_intrinsics(90, 50).tolist()
    detector = Detector.from_checkpoint("model.pth", device="cpu", score_threshold=0.1)
    for entry in entries:
        found = detector.predict(entry["image"])
        assert len(found) == len(entry["faces"]) > 0
        face = entry["faces"][0]
        np.testing.assert_allclose(face["pose"], found.poses[0], atol=1e-5)
        np.testing.assert_allclose(face["box"], found.boxes[0], atol=1e-3)
        angles = face["euler_aflw2000_deg"]
        np.testing.assert_allclose(
            [angles["pitch"], angles["yaw"], angles["roll"]],
            pose_to_euler(found.poses[:1])[0],
            atol=1e-3,
        )
    with Image.open("out/b_faces.png") as drawing, Image.open("in/b.png") as picture:
        assert drawing.size == picture.size
        assert (np.asarray(drawing) != np.asarray(picture)).any()


def test_a_picture_without_faces_is_drawn_and_listed_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_picture(folder / "a.png")
    assert predict("a.png", "--score_threshold", "1") == 0
    (entry,) = json.loads(Path("out/predictions.json").read_text())
    assert entry["faces"] == []
    np.testing.assert_array_equal(np.asarray(Image.open("out/a_faces.png")), Image.open("a.png"))
    assert "faces: 0" in capsys.readouterr().out


def test_sizes_reach_the_model(folder: Path) -> None:
    write_picture(folder / "a.png")
    assert predict("a.png", "--score_threshold", "0.1") == 0
    first = Path("out/predictions.json").read_text()
    flags = ("--min_size", "64", "--max_size", "80", "--threads", "1")
    assert predict("a.png", "--score_threshold", "0.1", *flags) == 0
    assert Path("out/predictions.json").read_text() != first


def test_drawings_overwrite_neither_each_other_nor_a_picture(tmp_path: Path) -> None:
    names = ["a.jpg", "A.JPG", "a_faces.jpg", "a.png", "b.tif"]
    targets = drawing_paths([tmp_path / name for name in names], tmp_path)
    assert [path.name for path in targets] == [
        "a_2_faces.jpg",
        "A_3_faces.jpg",
        "a_faces_faces.jpg",
        "a_faces.png",
        "b_faces.png",
    ]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["a.jpg", "gone.jpg"], "gone.jpg"),
        (["a.jpg", "empty"], "empty"),
        (["a.jpg", "text.jpg"], "text.jpg"),
        (["a.jpg", "cut.jpg"], "cut.jpg"),
        (["a.jpg", "--checkpoint", "gone.pth"], "gone.pth"),
        (["a.jpg", "--checkpoint", "text.jpg"], "text.jpg"),
        (["a.jpg", "--output_path", "text.jpg"], "text.jpg"),
        (["a.jpg", "--output_path", "text.jpg/out"], "text.jpg"),
        (["a.jpg", "--device", "toaster"], "toaster"),
        (["a.jpg", "--score_threshold", "1.5"], "--score_threshold"),
        (["a.jpg", "--score_threshold", "nan"], "--score_threshold"),
        (["a.jpg", "--threads", "0"], "--threads"),
        (["a.jpg", "--bbox_x_factor", "nan"], "error: --bbox_x_factor nan: must be"),
        (["a.jpg", "--expand_forehead", "-3"], "error: --expand_forehead -3.0: must be"),
        (["a.jpg", "--nms_threshold", "2"], "error: --nms_threshold 2.0: must be"),
        (["a.jpg", "--min_size", "0"], "min_size"),
        (["a.jpg", "--min_size", "wide"], "min_size"),
        (["a.jpg", "--pose_mean", "mean.npy"], "--pose_stddev"),
        (["a.jpg", "--threed_5_points", "p.npy"], "--threed_68_points"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    write_picture(folder / "a.jpg")
    damage(write_picture(folder / "cut.jpg"))
    (folder / "text.jpg").write_text("words")
    (folder / "empty").mkdir()
    before = sorted(folder.rglob("*"))
    flags = ["--checkpoint", "model.pth", "--output_path", "out", "--device", "cpu"]
    assert main([*flags, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert sorted(folder.rglob("*")) == before


def test_wrong_usage_exits_with_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


def test_a_picture_is_enough(
    tmp_path: Path,
    shipped_stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / "a.png")
    assert main(["a.png"]) == 0
    assert f"results: {Path('img2pose_out/predictions.json')}" in capsys.readouterr().out
    (entry,) = json.loads(Path("img2pose_out/predictions.json").read_text())
    # Above the checkpoint's own threshold, of 0.1.
    found = Detector.from_checkpoint(shipped_stand_in, score_threshold=0.1).predict("a.png")
    assert len(entry["faces"]) == len(found) > 0
    assert any(face["score"] < 0.5 for face in entry["faces"])
    before = Path("img2pose_out/predictions.json").read_bytes()
    write_picture(tmp_path / "a.png", (90, 50), seed=1)
    assert main(["a.png", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert Path(results) == Path("img2pose_out_2/predictions.json")
    assert Path("img2pose_out/predictions.json").read_bytes() == before


def test_without_a_shipped_checkpoint_one_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "WEIGHTS_FOLDER", tmp_path)
    write_picture(tmp_path / "a.png")
    assert main(["a.png"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "give a checkpoint (--checkpoint)" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
