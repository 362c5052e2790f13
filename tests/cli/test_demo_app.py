"""The command that serves the page; what needs Gradio is skipped where that is not installed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.cli.demo_app import main
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model

ROOT = Path(__file__).resolve().parents[2]
with_gradio = pytest.mark.skipif(
    find_spec("gradio") is None, reason="gradio is not installed (pip install '.[demo]')"
)


@pytest.fixture
def folder(tmp_path: Path, small_model: Img2Pose, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `model.pth`."""
    monkeypatch.chdir(tmp_path)
    torch.save(pack_model(small_model), "model.pth")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str], Path]]:
    """Address of a page that is served, its process, and where that keeps its files."""
    temporary = folder / "temporary"
    temporary.mkdir()
    command = [sys.executable, str(ROOT / "scripts" / "demo_app.py"), "--checkpoint", "model.pth"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--device", "cpu", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["page"], process, temporary
    process.kill()
    process.wait()


@with_gradio
@pytest.mark.timeout(600)
def test_the_page_answers_and_leaves_nothing_behind(
    folder: Path, server: tuple[str, subprocess.Popen[str], Path]
) -> None:
    from gradio_client import Client, handle_file

    address, process, temporary = server
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("a.b.png")
    Path("words.jpg").write_text("words")
    client = Client(address, verbose=False, download_files=str(folder / "downloads"))

    def ask(path: str, threshold: float) -> list[Any]:
        return list(client.predict(handle_file(path), threshold, api_name="/faces"))

    message, drawn, rendered, crops, table, download = ask("a.b.png", 0.3)
    detector = Detector.from_checkpoint("model.pth", device="cpu", score_threshold=0.3)
    expected = detector.predict("a.b.png")
    assert message.startswith(f"{len(expected)} faces with a score above 0.3")
    assert len(crops) == len(table["data"]) == len(expected) > 0
    for picture in (drawn, rendered):
        with Image.open(picture) as image:
            assert image.size == (80, 60)
    file = Path(download["value"] if isinstance(download, dict) else download)
    assert file.name == "a.b_faces.json"
    found = json.loads(file.read_text())
    assert found["image"] == "a.b.png"
    np.testing.assert_allclose(found["faces"][0]["pose"], expected.poses[0], atol=1e-4)
    assert len(ask("a.b.png", 0.95)[4]["data"]) == 0
    message, drawn, *_ = ask("words.jpg", 0.5)
    assert "words.jpg" in message
    assert drawn is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert list(temporary.iterdir()) == []


@with_gradio
def test_a_port_that_is_taken_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["--checkpoint", "model.pth", "--device", "cpu", "--port", port]) == 2
    assert f"--port {port}" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("gradio") is not None, reason="gradio is installed")
def test_without_gradio_it_is_told_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", "model.pth"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert ".[demo]" in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "70000"], "--port"),
        (["--score_threshold", "0"], "--score_threshold"),
        (["--score_threshold", "nan"], "--score_threshold"),
    ],
)
def test_bad_values_are_named(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--checkpoint", "model.pth", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
