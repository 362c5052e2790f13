from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from img2pose.files import replace_when_complete, write_json, write_npy, write_text


def test_a_file_appears_whole_and_makes_its_folder(tmp_path: Path) -> None:
    target = tmp_path / "new" / "value.json"
    write_json(target, {"a": [1, 2.5]})
    assert json.loads(target.read_text()) == {"a": [1, 2.5]}
    write_npy(tmp_path / "array.npy", np.arange(3))
    np.testing.assert_array_equal(np.load(tmp_path / "array.npy"), [0, 1, 2])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["array.npy", "new"]


def test_an_error_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    target = tmp_path / "value.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replace_when_complete(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["value.txt"]


def test_an_error_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replace_when_complete(tmp_path / "new" / "value.txt"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "nan.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_those_of_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "written", "x")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode
