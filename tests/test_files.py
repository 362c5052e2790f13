from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from img2pose.errors import InputError
from img2pose.files import (
    file_sha256,
    leftovers_of,
    replace_when_complete,
    write_bytes,
    write_csv,
    write_json,
    write_npy,
    write_text,
)


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


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, ("name", "x"), [("a,b", 1.5), ("ü", None)])
    content = path.read_bytes()
    assert content == 'name,x\r\n"a,b",1.5\r\nü,\r\n'.encode()

    def broken() -> Iterator[tuple[int]]:
        yield (1,)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_csv(path, ("x",), broken())
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"abc")
    assert file_sha256(tmp_path / "a", "").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")
    with pytest.raises(InputError, match=r"gone: cannot be read \(No such file.*\); look again"):
        file_sha256(tmp_path / "gone", "look again")


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "nan.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_those_of_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "written", "x")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_leftovers_of_a_killed_process_are_told_apart(tmp_path: Path) -> None:
    targets = [tmp_path / name for name in ("a.txt", "a.npy", "ab.txt", "a.b.txt", "a[0].txt")]
    parts = {}
    with ExitStack() as stack:
        for target in targets:
            parts[target] = stack.enter_context(replace_when_complete(target))
        for target in targets:
            assert leftovers_of(target) == [parts[target]]
    assert [leftovers_of(target) for target in targets] == [[]] * len(targets)
