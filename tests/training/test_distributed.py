"""Several processes: torchrun with Gloo, on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest
import torch

from img2pose.cli.train import main
from img2pose.distributed import ALONE, joined_processes
from img2pose.errors import InputError
from img2pose.models.weights import load_model
from img2pose.training.checkpoint import load_training_state
from tests.settings import SMALL_MODEL
from tests.training import kill_and_resume
from tests.training.first_steps import ROOT, configuration, in_processes, take_steps

# Later, rounding decides otherwise between two proposals of nearly equal score, and so on.
STEPS = 3


def assert_same_course(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for one, other in zip(found["losses"], expected["losses"], strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert one[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, gradient in expected["gradients"].items():
        torch.testing.assert_close(found["gradients"][name], gradient, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def one_process(face_dataset: Path) -> dict[str, Any]:
    return take_steps(configuration(face_dataset, {}), STEPS, ALONE)


def test_two_processes_take_the_steps_of_one(
    face_dataset: Path, tmp_path: Path, one_process: dict[str, Any]
) -> None:
    halves = {"optim.batch_size": 2}
    found = in_processes(2, face_dataset, tmp_path / "two.pt", STEPS, halves)
    assert_same_course(found, one_process)


def test_accumulated_batches_take_the_steps_of_one_large(
    face_dataset: Path, one_process: dict[str, Any]
) -> None:
    settings = {"optim.batch_size": 1, "optim.accumulation_steps": 4}
    assert_same_course(take_steps(configuration(face_dataset, settings), STEPS, ALONE), one_process)


def test_processes_and_accumulation_together(
    face_dataset: Path, tmp_path: Path, one_process: dict[str, Any]
) -> None:
    settings = {"optim.batch_size": 1, "optim.accumulation_steps": 2}
    found = in_processes(2, face_dataset, tmp_path / "four.pt", STEPS, settings)
    assert_same_course(found, one_process)


def test_counting_ahead_leaves_the_norms_statistics(face_dataset: Path) -> None:
    settings = {"model.norm": "batch_norm", "model.pose_norm": "batch_norm"}
    settings |= {"optim.batch_size": "2", "optim.accumulation_steps": "2"}
    weights = take_steps(configuration(face_dataset, settings), 1, ALONE)["weights"]
    assert weights["backbone.body.bn1.num_batches_tracked"] == 2


def torchrun(
    *arguments: str, count: int = 2, script: Path = ROOT / "train.py"
) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={count}"]
    return subprocess.run(
        [*launcher, "--standalone", str(script), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=250,
        check=False,
    )


def flags(dataset: Path, workspace: Path, **settings: Any) -> list[str]:
    values = {
        "data.train_source": dataset / "train.lmdb",
        "data.val_source": dataset / "val.lmdb",
        "data.workers": 0,
        "data.mosaic_max_side": 1,
        "data.mosaic_canvas": 96,
        "optim.batch_size": 1,
        "optim.epochs": 2,
        "evaluators": "landmarks",
        "log_every_steps": 1,
        **{f"model.{name}": value for name, value in SMALL_MODEL.items()},
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    found = ["--workspace", str(workspace), "--prefix", "run", "--device", "cpu", "--threads", "1"]
    for name, value in values.items():
        found += ["--set", f"{name}={value}"]
    return found


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_of_two_processes_goes_on_in_one(face_dataset: Path, tmp_path: Path) -> None:
    done = torchrun(*flags(face_dataset, tmp_path, optim__epochs=1), "--distributed")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    # One of them speaks, and writes each file once.
    assert done.stdout.count("best checkpoint") == 1
    lines = metrics(folder)
    assert [line["group"] for line in lines] == ["train", "train", "validation", "landmarks"]
    assert json.loads((folder / "run.json").read_text())["starts"][0]["processes"] == 2
    assert all(
        not name.startswith("module.") for name in load_model(folder / "best.pth").state_dict()
    )
    # The figures are those of all pictures, whoever looked at them.
    alone = tmp_path / "alone"
    validated = flags(face_dataset, alone, optim__epochs=1, optim__lr=1e-12, optim__batch_size=2)
    assert main([*validated, "--pretrained_path", str(folder / "best.pth")]) == 0
    again = [
        json.loads(line) for line in (alone / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert again[-1]["recall_at_50"] == lines[-1]["recall_at_50"]
    settings = flags(face_dataset, tmp_path, optim__epochs=2, optim__batch_size=2)
    assert main([*settings, "--resume_path", str(folder / "last.pth")]) == 0
    assert load_training_state(folder / "last.pth").epoch == 2


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group_norm", "batch_norm"])
def test_three_processes_go_on_bit_for_bit(face_dataset: Path, tmp_path: Path, norm: str) -> None:
    settings: dict[str, Any] = {
        "data__train_weights": 3,
        "keep_every_epochs": 1,
        "model__norm": norm,
    }
    settings["optim__ema_decay"] = 0.9
    for name in ("whole", "halves"):
        done = torchrun(*flags(face_dataset, tmp_path / name, **settings), count=3)
        assert done.returncode == 0, done.stderr
    folder = tmp_path / "halves" / "run"
    (folder / "epoch_0001.pth").replace(folder / "last.pth")
    done = torchrun(*flags(face_dataset, tmp_path / "halves", **settings), count=3)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole" / "run"
    for name in ("last.pth", "best.pth"):
        assert kill_and_resume.differing(whole / name, folder / name) == []


def test_a_process_that_fails_ends_the_run_with_its_error(
    face_dataset: Path, tmp_path: Path
) -> None:
    # Cuts the picture of one record: only the process that reads it notices.
    broken = tmp_path / "train.lmdb"
    broken.write_bytes((face_dataset / "train.lmdb").read_bytes())
    for name in ("mean", "stddev"):
        source = face_dataset / f"train_pose_{name}.npy"
        (tmp_path / source.name).write_bytes(source.read_bytes())
    with (
        lmdb.open(str(broken), subdir=False, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        record = msgpack.unpackb(transaction.get(b"2"))
        transaction.put(b"2", msgpack.packb([record[0][:200], *record[1:]]))
    arguments = flags(face_dataset, tmp_path, data__train_source=broken)
    began = time.monotonic()
    done = torchrun(*arguments)
    assert done.returncode != 0
    assert time.monotonic() - began < 120
    errors = [
        line for line in done.stderr.splitlines() if "error: " in line and "train.lmdb" in line
    ]
    assert len(errors) == 1
    assert "record 2" in errors[0]
    assert "Traceback" not in done.stderr.split(errors[0])[0]
    skipping = torchrun(*arguments, "--set", "data.unreadable_records=skip")
    assert skipping.returncode == 0, skipping.stderr
    assert "record 2" in skipping.stderr.split("skipped: ")[1]


def test_bad_input_is_told_once(face_dataset: Path, tmp_path: Path) -> None:
    done = torchrun(*flags(face_dataset, tmp_path), "--depth", "20")
    assert done.returncode != 0
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert not (tmp_path / "run").exists()


APART = """
import os, sys
from img2pose.cli.train import main
# As on machines that share no storage: each process has a workspace of its own.
sys.exit(main([*sys.argv[2:], "--workspace", sys.argv[1] + os.environ["RANK"]]))
"""


def test_processes_that_see_different_checkpoints_are_refused(
    face_dataset: Path, tmp_path: Path
) -> None:
    script = tmp_path / "apart.py"
    script.write_text(APART)
    # One process began the run alone.
    settings = flags(face_dataset, tmp_path / "workspace", optim__epochs=1)
    assert main([*settings, "--workspace", str(tmp_path / "workspace0")]) == 0
    settings = flags(face_dataset, tmp_path / "workspace", optim__epochs=1)
    done = torchrun(str(tmp_path / "workspace"), *settings, script=script)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "that all machines share" in errors[0]


def test_without_torchrun_there_is_one_process(
    face_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with joined_processes() as processes:
        assert processes == ALONE
        assert processes.gather("own") == ["own"]
        with pytest.raises(InputError, match="mine"), processes.one_error():
            raise InputError("mine")
    assert main([*flags(face_dataset, tmp_path), "--distributed"]) == 2
    assert "torchrun" in capsys.readouterr().err
