"""Detectors by name and options."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from img2pose.annotators.choice import DetectorChoice, parse_options
from img2pose.annotators.yunet import YuNet
from img2pose.errors import InputError

MODULE = """
class Mine:
    def __init__(self, weights, threshold=0.5):
        if threshold > 1:
            raise ValueError("threshold must be at most 1")
        self.threshold = threshold

    def __call__(self, image_rgb):
        return [], [], []


class NotCallable:
    pass


def function(image_rgb):
    return [], [], []
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a detector of the user's and its weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_detector_1.py").write_text(MODULE)
    (tmp_path / "broken_detector_1.py").write_text("class Mine(:\n")
    (tmp_path / "lacking_detector_1.py").write_text("from pathlib import no_such_name\n")
    (tmp_path / "weights.bin").write_bytes(b"weights")
    yield tmp_path
    sys.modules.pop("own_detector_1", None)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("a=0.5", 0.5),
        ("a=640", 640),
        ("a=640, 1280", [640, 1280]),
        ("a=[1]", [1]),
        ("a=false", False),
        ("a=null", None),
        ("a=cuda:0", "cuda:0"),
        ("a=x=y", "x=y"),
        ("a=NaN", "NaN"),
        ("a=" + "[" * 100_000, "[" * 100_000),
        ("a=", []),
    ],
)
def test_options_are_numbers_lists_and_words(entry: str, value: Any) -> None:
    assert parse_options([entry]) == {"a": value}


@pytest.mark.parametrize("entries", [["a"], ["=3"], ["a b=3"], ["a=1", "a=2"]])
def test_options_need_a_key_each_and_one_only(entries: list[str]) -> None:
    with pytest.raises(InputError, match="--detector_options"):
        parse_options(entries)


def test_a_class_in_the_current_folder_is_built_with_its_options(folder: Path) -> None:
    choice = DetectorChoice("own_detector_1:Mine", {"weights": "weights.bin", "threshold": 0.75})
    detector: Any = choice.build()
    assert detector.threshold == 0.75
    digest = hashlib.sha256(b"weights").hexdigest()
    assert choice.label_source() == f"own_detector_1:Mine weights.bin sha256:{digest[:8]}"


def test_settings_tell_contents_and_defaults_apart_but_not_places(folder: Path) -> None:
    def settings(**options: Any) -> dict[str, Any]:
        return DetectorChoice(
            "own_detector_1:Mine", {"weights": "weights.bin", **options}
        ).settings()

    first = settings()
    assert first["options"]["threshold"] == 0.5
    assert settings(threshold=0.5) == first
    assert settings(threshold=0.6) != first
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/weights.bin").write_bytes(b"weights")
    assert settings(weights="elsewhere/weights.bin") == first
    (folder / "weights.bin").write_bytes(b"others")
    assert settings() != first
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "own_detector_1.py").write_text(MODULE + "\n# changed\n")
    assert settings() != first


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("retina", {}, "choose yunet, img2pose or a class of your own"),
        ("own_detector_1:", {}, "module:Class"),
        ("no_such_module:Mine", {}, "no_such_module.*current folder"),
        ("broken_detector_1:Mine", {}, "broken_detector_1 cannot be imported.*line 1"),
        ("lacking_detector_1:Mine", {}, "lacking_detector_1 cannot be imported.*no_such_name"),
        ("own_detector_1:Other", {}, "no class Other"),
        ("own_detector_1:function", {}, "no class function"),
        ("own_detector_1:NotCallable", {}, "cannot be called"),
        ("own_detector_1:Mine", {}, "weights.*its options are weights, threshold"),
        ("own_detector_1:Mine", {"weights": "", "size": 3}, "size.*options are weights"),
        ("own_detector_1:Mine", {"weights": "", "threshold": 2}, "at most 1"),
        ("yunet", {}, "model_path.*--model_path"),
        ("yunet", {"model_path": "none.onnx"}, "none.onnx: is not there.*OpenCV Zoo"),
        ("yunet", {"model_path": "weights.bin"}, "weights.bin: OpenCV cannot use it"),
        ("img2pose", {"model_path": "none.pth"}, "none.pth"),
        ("img2pose", {"model_path": "none.pth", "score_threshold": 3}, "score_threshold"),
    ],
)
def test_what_cannot_be_built_is_refused(
    folder: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        DetectorChoice(name, options).build()


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": []},
        {"sizes": "640"},
        {"sizes": [640, 0.5]},
        {"sizes": [True]},
        {"sizes": 8},
        {"mirror": 1},
        {"score_threshold": 1.5},
        {"nms_threshold": "0.3"},
    ],
)
def test_yunet_refuses_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        YuNet(model_path="none.onnx", **options)
