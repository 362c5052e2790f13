"""One run a folder, and what is left there of one that was killed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from img2pose.config import TrainConfig, config_from_mapping, read_config
from img2pose.errors import InputError
from img2pose.files import replace_when_complete, unfinished_files
from img2pose.training.run import plain_values
from img2pose.training.run_folder import NEUTRAL_FIELDS, RunFolder, differences

# Claims a folder, says so, and stays until it is killed.
CLAIM = """
import sys
from pathlib import Path
from img2pose.training.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).claimed():
    print("claimed", flush=True)
    sys.stdin.read()
"""


def claim_elsewhere(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_another_process_is_kept_out_as_long_as_the_first_lives(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "run")
    with claim_elsewhere(folder.path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        leftover = folder.path / ".last.abc.part.pth"
        leftover.write_bytes(b"being written")
        with pytest.raises(InputError, match=r"deep/run: another process trains here") as error:
            folder.claimed().__enter__()
        assert len(str(error.value).splitlines()) == 1
        # Files of the living are not leftovers.
        assert leftover.exists()
        other.kill()
    with folder.claimed():
        assert not leftover.exists()
        # Nor does a second one in the same process get in.
        with pytest.raises(InputError, match="another process"), folder.claimed():
            pass
        folder.last.write_bytes(b"weights")
    with folder.claimed():
        assert folder.last.exists()


def test_unfinished_files_go_and_others_stay(tmp_path: Path) -> None:
    names = ["best.pth", "last.pth", ".hidden", "a.part", "metrics.jsonl"]
    for name in names:
        (tmp_path / name).write_bytes(b"kept")
    with pytest.raises(RuntimeError, match="killed"), replace_when_complete(tmp_path / "last.pth"):
        (leftover,) = unfinished_files(tmp_path)
        (tmp_path / f"{leftover.name}.pth").write_bytes(b"half")
        raise RuntimeError("killed")
    assert len(unfinished_files(tmp_path)) == 1
    with RunFolder(tmp_path).claimed():
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"kept"}


def test_a_new_folder_without_files_goes_with_its_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(RuntimeError, match="mine"), folder.claimed():
        assert folder.path.is_dir()
        raise RuntimeError("mine")
    assert not folder.path.exists()
    with pytest.raises(RuntimeError, match="mine"), folder.claimed():
        folder.last.write_bytes(b"weights")
        raise RuntimeError("mine")
    assert folder.last.read_bytes() == b"weights"
    old = tmp_path / "old"
    old.mkdir()
    with RunFolder(old).claimed():
        pass
    assert old.is_dir()


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(InputError, match="file: is a file"),
        RunFolder(tmp_path / "file" / "run").claimed(),
    ):
        pass


def test_names_of_files() -> None:
    folder = RunFolder(Path("runs/first"))
    assert [str(path) for path in (folder.best, folder.last, folder.of_epoch(7))] == [
        "runs/first/best.pth",
        "runs/first/last.pth",
        "runs/first/epoch_0007.pth",
    ]


def test_the_description_reads_back(tmp_path: Path) -> None:
    config = read_config(TrainConfig, None, {"model.depth": "34", "optim.frozen": "backbone, rpn"})
    facts = {"starts": [{"command": "train.py --lr 1"}]}
    RunFolder(tmp_path).describe(plain(config), facts)
    stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config_from_mapping(TrainConfig, stored) == config
    assert json.loads((tmp_path / "run.json").read_text()) == facts


def plain(config: TrainConfig) -> dict[str, Any]:
    values: dict[str, Any] = plain_values(dataclasses.asdict(config))
    return values


def changed(name: str) -> tuple[Any, dict[str, Any]]:
    """A default configuration's value of a field, and the configuration with another one."""
    values = plain(TrainConfig())
    *parents, last = name.split(".")
    level = values
    for parent in parents:
        level = level[parent]
    before = level[last]
    level[last] = "other"
    return before, values


def all_fields() -> list[str]:
    names = []
    for name, value in plain(TrainConfig()).items():
        names += [f"{name}.{part}" for part in value] if isinstance(value, dict) else [name]
    return names


@pytest.mark.parametrize("name", all_fields())
def test_differences_are_told_but_for_those_that_change_nothing(name: str) -> None:
    before, values = changed(name)
    expected = [] if name in NEUTRAL_FIELDS else [f"{name} {before}, now other"]
    assert differences(plain(TrainConfig()), values) == expected


def test_neutral_fields_are_fields() -> None:
    assert set(NEUTRAL_FIELDS) <= set(all_fields())


def test_fields_that_one_version_lacks_differ() -> None:
    assert differences({"optim": {"lr": 1, "old": 2}}, {"optim": {"lr": 1, "new": 3}}) == [
        "optim.new None, now 3",
        "optim.old 2, now None",
    ]
    assert differences({}, {}) == []
