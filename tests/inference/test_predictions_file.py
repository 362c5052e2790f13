from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from img2pose.errors import InputError
from img2pose.inference.predictions_file import read_predictions
from tests.visualization.poses import detections_of


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def entry(**changes: Any) -> dict[str, Any]:
    found = detections_of([[0, 0.1, 0, 0, 0, 6.0], [0, 0, 0, 0.3, 0, 9]])
    return {"image": "a.jpg", "drawing": "a_faces.jpg", **found.to_dict(), **changes}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    empty = {"image": "b/c.png", **detections_of([], (30, 40)).to_dict()}
    first, second = read_predictions(written(tmp_path / "p.json", [entry(), empty]))
    expected = detections_of([[0, 0.1, 0, 0, 0, 6.0], [0, 0, 0, 0.3, 0, 9]])
    for name in ("poses", "boxes", "scores", "intrinsics"):
        np.testing.assert_array_equal(
            getattr(first.detections, name), getattr(expected, name), err_msg=name
        )
    assert first.image == Path("a.jpg") and second.image == Path("b/c.png")
    assert second.detections.size_hw == (30, 40) and len(second.detections) == 0


FACE = {"score": 0.5, "box": [0, 0, 9, 9], "pose": [0, 0, 0, 0, 0, 5]}


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "text",
        [3],
        [entry(image=3)],
        [entry(image="a\0b")],
        [entry(faces={})],
        [entry(faces=[3])],
        [entry(faces=[{"score": 0.5}])],
        [entry(faces=[{**FACE, "pose": [0, 0, 0]}])],
        [entry(faces=[{**FACE, "pose": [0, 0, 0, 0, 0, "5"]}])],
        [entry(faces=[{**FACE, "pose": [0, 0, 0, 0, 0, float("nan")]}])],
        [entry(faces=[{**FACE, "score": True}])],
        [entry(faces=[{**FACE, "score": 10**400}])],
        [entry(faces=[FACE, {**FACE, "box": [1]}])],
        [entry(size_hw=[0, 4])],
        [entry(size_hw=[2.5, 4])],
        [entry(size_hw=None)],
        [entry(intrinsics=[[1, 0, 0], [0, 1, 0]])],
        [entry(intrinsics=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]])],
        [entry(intrinsics=[[1, 0, 0], [0, 1, 0], [0, 0, 2]])],
        [{key: value for key, value in entry().items() if key != "intrinsics"}],
    ],
)
def test_malformed_files_are_named_in_one_line(tmp_path: Path, value: Any) -> None:
    path = written(tmp_path / "p.json", value)
    with pytest.raises(InputError) as error:
        read_predictions(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value) and "predict.py" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[", b"\xff\xfe\xff", b"[" * 100_000, b"[1e999]"])
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content)
    for target in (path, tmp_path / "gone.json", tmp_path):
        with pytest.raises(InputError):
            read_predictions(target)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["image", "faces", "size_hw", "intrinsics"]), value=JSON)
def test_any_value_is_read_or_refused(tmp_path: Path, key: str, value: Any) -> None:
    path = written(tmp_path / "p.json", [entry(**{key: value})])
    try:
        (read,) = read_predictions(path)
    except InputError:
        return
    assert np.isfinite(read.detections.poses).all()
