"""The checkpoint that comes with the package."""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path

import pytest

import img2pose
from img2pose.errors import InputError
from img2pose.evaluation.model_card import FIGURES_BEGIN, FIGURES_END
from img2pose.models import shipped
from img2pose.models.weights import load_model, read_checkpoint
from img2pose.references import PoseReferences

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = shipped.WEIGHTS_FOLDER / shipped.SHIPPED_NAME
CARD = shipped.WEIGHTS_FOLDER / "MODEL_CARD.md"


def test_it_is_what_a_detector_takes_where_none_is_named(shipped_stand_in: Path) -> None:
    assert img2pose.shipped_checkpoint() == shipped_stand_in
    detector = img2pose.Detector.from_checkpoint(device="cpu")
    assert detector.model.config == load_model(shipped_stand_in).config
    assert detector.score_threshold == 0.1


def test_an_installation_without_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(InputError, match=f"{shipped.SHIPPED_NAME}.*--checkpoint"):
        img2pose.Detector.from_checkpoint()


def test_the_card_has_a_place_for_figures() -> None:
    lines = CARD.read_text(encoding="utf-8").splitlines()
    assert lines.count(FIGURES_BEGIN) == lines.count(FIGURES_END) == 1


def test_only_this_file_may_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = runpy.run_path(str(ROOT / "scripts" / "check_large_files.py"))["main"]
    monkeypatch.chdir(tmp_path)
    name = SHIPPED.relative_to(ROOT).as_posix()
    Path(name).parent.mkdir(parents=True)
    for size, path, code in (
        (2_000_001, "other.pth", 1),
        (2_000_000, "other.pth", 0),
        (25_000_000, name, 0),
        (25_000_001, name, 1),
    ):
        with open(path, "wb") as file:
            file.truncate(size)
        assert check([path]) == code


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there yet")
def test_the_file_is_the_one_that_the_card_describes() -> None:
    content = SHIPPED.read_bytes()
    assert len(content) <= 25_000_000
    assert hashlib.sha256(content).hexdigest() in CARD.read_text(encoding="utf-8")
    model = load_model(SHIPPED)
    config = model.config
    assert (config.depth, config.norm, config.fpn_channels) == (18, "group_norm", 96)
    assert model.references.sha256 == PoseReferences.default().sha256
    assert "training" not in read_checkpoint(SHIPPED)
