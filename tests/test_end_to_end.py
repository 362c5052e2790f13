"""The main job through `img2pose`: photographs with landmarks in, predictions and figures out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from img2pose.cli.main import main
from tests.settings import SMALL_MODEL


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls a command with `--json`; gives the object that it prints."""

    def call(*arguments: str | Path) -> Any:
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def test_from_photographs_to_predictions(run: Any, face_photographs: Path, tmp_path: Path) -> None:
    imported = run(
        *("import", "pts", "--images_path", face_photographs),
        *("--output_path", tmp_path / "lists", "--val_count", "2"),
    )
    assert imported["images"] == 6
    assert sorted(imported["lists"].values()) == [2, 4]
    for name in ("train", "val"):
        source = ["--json_list", tmp_path / f"lists/{name}.txt", "--dataset_path", face_photographs]
        convert = ["convert", *source, "--dest", tmp_path, "--num_workers", "0"]
        converted = run(*convert, "--pose_camera", "image", "--train")
        assert converted["store"] == str(tmp_path / f"{name}.lmdb")
        assert converted["faces_with_pose"] == converted["images"] == (4 if name == "train" else 2)
    again = run(*convert, "--pose_camera", "image", "--train")
    assert again == {"store": converted["store"], "up_to_date": True, "added": []}
    checked = run(
        "validate", "--lmdb", tmp_path / "train.lmdb", "--output_path", tmp_path / "check"
    )
    assert checked["errors"] == 0 and not checked["wrong"]

    settings = {**{f"model.{k}": v for k, v in SMALL_MODEL.items()}, "data.mosaic_canvas": 96}
    settings |= {"data.mosaic_max_side": 1, "optim.optimizer": "AdamW", "optim.lr": 2e-3}
    flags = ["--train_source", tmp_path / "train.lmdb", "--workspace", tmp_path]
    flags += ["--val_source", tmp_path / "val.lmdb", "--workers", "0", "--epochs", "3"]
    for name, value in settings.items():
        flags += ["--set", f"{name}={value}"]
    trained = run("train", *flags)
    assert trained == {"best_checkpoint": str(tmp_path / "img2pose" / "best.pth")}
    curves = run("plot", tmp_path / "img2pose", "--output_path", tmp_path / "curves.png")
    assert Path(curves["curves"]).stat().st_size > 1000
    model = ["--checkpoint", trained["best_checkpoint"], "--device", "cpu"]

    out = tmp_path / "predicted"
    flags = [*model, "--output_path", out, "--score_threshold", "0.05"]
    found = run("predict", face_photographs, *flags)
    assert json.loads(Path(found["results"]).read_text()) == found["predictions"]
    assert len(found["predictions"]) == found["images"] == 6
    for entry in found["predictions"]:
        assert entry["size_hw"] in ([120, 160], [144, 128])
        assert all(len(face["pose"]) == 6 for face in entry["faces"])
    assert len(list(out.glob("*_faces.*"))) == 6
    drawn = run("render", "--predictions", found["results"], "--output_path", tmp_path / "drawn")
    assert (drawn["images"], drawn["faces"]) == (6, found["faces"])
    flags = [*model, "--output_path", tmp_path / "aligned", "--score_threshold", "0.05"]
    aligned = run("align", "--images_path", face_photographs, *flags, "--face_size", "32")
    assert (aligned["images"], aligned["faces"]) == (6, found["faces"])
    assert len(list((tmp_path / "aligned").glob("*_face_*.png"))) == found["faces"]

    flags = [*model, "--output_path", tmp_path / "figures", "--sheet", "2"]
    evaluated = run("evaluate", "landmarks", "--lmdb", tmp_path / "val.lmdb", *flags)
    summary = json.loads((tmp_path / "figures" / "summary.json").read_text())
    assert evaluated == summary | {"results": str(tmp_path / "figures")}
    assert summary["command"].startswith("img2pose evaluate landmarks --lmdb")
    assert (tmp_path / "figures" / "contact_sheet.png").stat().st_size > 1000
