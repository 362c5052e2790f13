"""What several tests need: small real faces, stores and models."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings

from img2pose.models import shipped
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.weights import pack_compact_model
from img2pose.references import PoseReferences
from img2pose.types import PoseStats
from tests.faces import make_face_dataset, write_face_photographs
from tests.inference.exporting import EXPORTED, write_small_export
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

# Time is the machine's to give: pytest-timeout ends what hangs.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """SIGINT as a terminal sends it: what runs in the background may have begun with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of research data that is never committed; tests that need it skip without."""
    folder = os.environ.get("IMG2POSE_SHARED")
    if not folder:
        pytest.skip("IMG2POSE_SHARED is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def original_references(shared: Path) -> PoseReferences:
    """The published project's points (non-commercial, not committed)."""
    folder = shared / "data" / "original_references"
    return PoseReferences.from_files(
        points_68=folder / "reference_3d_68_points_trans.npy",
        points_5=folder / "reference_3d_5_points_trans.npy",
    )


@pytest.fixture(scope="session")
def references() -> PoseReferences:
    """The project's own points."""
    return PoseReferences.default()


@pytest.fixture(scope="session")
def published_stats() -> PoseStats:
    """Pose statistics of the published WIDER model, rounded to four decimals."""
    return PUBLISHED_STATS


@pytest.fixture
def small_model(references: PoseReferences) -> Img2Pose:
    """A real model, narrow and with random weights."""
    torch.manual_seed(0)
    return build_model(pose_stats=PUBLISHED_STATS, references=references, **SMALL_MODEL)


@pytest.fixture(scope="session")
def compact_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, references: PoseReferences
) -> Path:
    """A narrow model with random weights in 8 bits; 0.1 is its threshold."""
    torch.manual_seed(0)
    settings = SMALL_MODEL | {"face_score_threshold": 0.1}
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings)
    path = tmp_path_factory.mktemp("compact") / shipped.SHIPPED_NAME
    with open(path, "wb") as file:
        torch.save(pack_compact_model(model, "int8", "0" * 64), file)
    return path


@pytest.fixture
def shipped_stand_in(compact_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What commands take where no checkpoint is named: `compact_checkpoint`."""
    monkeypatch.setattr(shipped, "WEIGHTS_FOLDER", compact_checkpoint.parent)
    return compact_checkpoint


@pytest.fixture(scope="session")
def face_photographs(tmp_path_factory: pytest.TempPathFactory, references: PoseReferences) -> Path:
    """A folder of small pictures of the reference head with their `.pts` files."""
    return write_face_photographs(tmp_path_factory.mktemp("photographs"), references, count=6)


@pytest.fixture(scope="session")
def face_dataset(face_photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `train.lmdb`, `val.lmdb` and statistics, made by the commands."""
    return make_face_dataset(tmp_path_factory.mktemp("dataset"), face_photographs)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model, `model.pth`, and what the command exported of it.

    Exporting takes half a minute, so that one of pytest-xdist's workers does it for all.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    with FileLock(root / "exported.lock"):
        folder = root / "exported"
        folder.mkdir(exist_ok=True)
        return folder if (folder / EXPORTED).exists() else write_small_export(folder)
