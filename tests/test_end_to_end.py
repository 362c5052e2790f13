"""The main job through its commands: photographs with landmarks in, predictions and figures out."""

from __future__ import annotations

import json
from pathlib import Path

from img2pose.cli import evaluate_landmarks, predict, train
from tests.settings import SMALL_MODEL


def test_from_photographs_to_predictions(
    face_dataset: Path, face_photographs: Path, tmp_path: Path
) -> None:
    settings = {**{f"model.{k}": v for k, v in SMALL_MODEL.items()}, "data.mosaic_canvas": 96}
    settings |= {"data.mosaic_max_side": 1, "optim.optimizer": "AdamW", "optim.lr": 2e-3}
    flags = ["--train_source", str(face_dataset / "train.lmdb"), "--workspace", str(tmp_path)]
    flags += ["--val_source", str(face_dataset / "val.lmdb"), "--workers", "0", "--epochs", "3"]
    for name, value in settings.items():
        flags += ["--set", f"{name}={value}"]
    assert train.main(flags) == 0
    model = ["--checkpoint", str(tmp_path / "img2pose" / "best.pth"), "--device", "cpu"]

    out = tmp_path / "predicted"
    flags = [*model, "--output_path", str(out), "--score_threshold", "0.05"]
    assert predict.main([str(face_photographs), *flags]) == 0
    predicted = json.loads((out / "predictions.json").read_text())
    assert len(predicted) == 6
    for entry in predicted:
        assert entry["size_hw"] in ([120, 160], [144, 128])
        assert all(len(face["pose"]) == 6 for face in entry["faces"])
    assert len(list(out.glob("*_faces.*"))) == 6

    flags = [*model, "--output_path", str(tmp_path / "figures"), "--sheet", "2"]
    flags += ["--lmdb", str(face_dataset / "val.lmdb")]
    assert evaluate_landmarks.main(flags) == 0
    summary = json.loads((tmp_path / "figures" / "summary.json").read_text())
    assert "recall" in json.dumps(summary)
    assert (tmp_path / "figures" / "contact_sheet.png").stat().st_size > 1000
