"""What is written of pictures and their faces, and how files of it are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from img2pose.errors import InputError
from img2pose.inference.predictions_file import ImageFaces, read_predictions
from img2pose.references import PoseReferences
from tests.visualization.poses import detections_of

POSES = [[0, 0.1, 0, 0, 0, 6.0], [0, 0, 0, 0.3, 0, 9]]
OWN = PoseReferences.default()
OTHER = PoseReferences(OWN.points_68 * 1.1, OWN.points_5 * 1.1)


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def entry(references: PoseReferences = OWN, **changes: Any) -> dict[str, Any]:
    found = ImageFaces(Path("a.jpg"), detections_of(POSES), references)
    return {"drawing": "a_faces.jpg", **found.to_dict(), **changes}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    empty = ImageFaces(Path("b/c.png"), detections_of([], (30, 40)), OWN).to_dict()
    first, second = read_predictions(written(tmp_path / "p.json", [entry(), empty]))
    expected = detections_of(POSES)
    for name in ("poses", "boxes", "scores", "intrinsics"):
        np.testing.assert_array_equal(
            getattr(first.detections, name), getattr(expected, name), err_msg=name
        )
    assert first.image == Path("a.jpg") and second.image == Path("b/c.png")
    assert second.detections.size_hw == (30, 40) and len(second.detections) == 0


def test_the_projects_own_reference_points_are_a_hash_and_others_are_written_out(
    tmp_path: Path,
) -> None:
    own, other = entry(), entry(OTHER)
    assert own["references"] == {"sha256": OWN.sha256}
    assert other["references"]["points_68"] == OTHER.points_68.tolist()
    older = {key: value for key, value in own.items() if key != "references"}
    read = read_predictions(written(tmp_path / "p.json", [own, other, older]))
    assert [one.references.sha256 for one in read] == [OWN.sha256, OTHER.sha256, OWN.sha256]
    np.testing.assert_array_equal(read[1].references.points_68, OTHER.points_68)
    np.testing.assert_array_equal(read[1].references.points_5, OTHER.points_5)


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ([], "references must be an object"),
        ({"sha256": 3}, "references must be an object"),
        ({"sha256": "0" * 64}, "other reference points"),
        ({**entry(OTHER)["references"], "sha256": "0" * 64}, "not those of the sha256"),
        ({**entry(OTHER)["references"], "points_5": [[1, 2, 3]]}, "points_5"),
        ({**entry(OTHER)["references"], "points_68": {"a": 1}}, "references"),
    ],
)
def test_unknown_reference_points_are_refused(
    tmp_path: Path, references: Any, message: str
) -> None:
    path = written(tmp_path / "p.json", [{**entry(), "references": references}])
    with pytest.raises(InputError, match=message):
        read_predictions(path)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "text",
        [3],
        [entry(image=3)],
        [entry(image="a\0b")],
        [entry(), entry(faces=[{"score": 0.5}])],
        [{key: value for key, value in entry().items() if key != "intrinsics"}],
        [{key: value for key, value in entry().items() if key != "image"}],
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
