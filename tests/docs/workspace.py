"""The files that the pages' examples name, small and made by the package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch

from img2pose.models.img2pose import build_model
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences
from tests.docs.pages import ROOT
from tests.faces import make_face_dataset, render_head, write_face_photographs
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

CHECKPOINTS = ("workspace/helen_scratch/best.pth", "workspace/wider_resnet18/best.pth")


def write_checkpoint(path: Path) -> None:
    """A real model with random weights, but sure of whatever it is shown: it finds three faces."""
    torch.manual_seed(0)
    settings = {**SMALL_MODEL, "max_detections": 3}
    model = build_model(pose_stats=PUBLISHED_STATS, references=PoseReferences.default(), **settings)
    with torch.no_grad():
        model.roi_heads.class_predictor.cls_score.bias[:] = torch.tensor([-2.0, 2.0])
    path.parent.mkdir(parents=True)
    torch.save(pack_model(model), path)


def write_pictures(folder: Path, names: tuple[str, ...]) -> None:
    """Pictures of the reference head."""
    rng = np.random.default_rng(5)
    for name in names:
        pose = np.array([*rng.normal(0, 0.2, 3), 0.1, 0.2, rng.uniform(6, 9)])
        picture = render_head(pose, (96, 128), rng)
        (folder / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), picture[..., ::-1])


def make_workspace(folder: Path) -> Path:
    """Fills a folder with what the pages name; see the module."""
    first, *others = CHECKPOINTS
    write_checkpoint(folder / first)
    for other in others:
        (folder / other).parent.mkdir(parents=True)
        os.link(folder / first, folder / other)
    write_pictures(folder, ("photo.jpg", "holiday/beach.jpg", "holiday/hills.jpg", "mine/me.jpg"))
    photographs = folder / "datasets" / "helen"
    photographs.mkdir(parents=True)
    write_face_photographs(photographs, PoseReferences.default(), count=6)
    (folder / "configs").symlink_to(ROOT / "configs")
    before = Path.cwd()
    os.chdir(folder)  # lists name annotations as seen from where commands run
    try:
        made = make_face_dataset(Path("made"), Path("datasets/helen"))
    finally:
        os.chdir(before)
    (folder / "datasets" / "helen_lmdb").mkdir()
    for file in (folder / made).glob("*.*"):
        file.rename(folder / "datasets" / "helen_lmdb" / file.name)
    (folder / made / "lists").rename(folder / "datasets" / "helen_lists")
    lists = folder / "datasets" / "helen_lists"
    for path in lists.glob("*.txt"):
        path.write_text(path.read_text().replace("made/lists", "datasets/helen_lists"))
    return folder


def copy_workspace(source: Path, target: Path) -> Path:
    """A copy in which a page's examples may write; checkpoints are shared."""

    def copy(file: str, to: str) -> None:
        if file.endswith(".pth"):
            os.link(file, to)
        else:
            shutil.copy2(file, to)

    shutil.copytree(source, target, copy_function=copy, symlinks=True, dirs_exist_ok=True)
    return target
