"""The command that finds the faces of videos."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from img2pose.cli import run_video
from img2pose.cli.run_video import DRAWINGS, main, parse_drawings
from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.inference.detector import Detector
from img2pose.inference.video.sources import EncodedFrames
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model
from tests.videos import NTSC, decoded, pans_over, write_video

FRAMES = 11
SIZE_HW = (60, 80)
# Random weights then find some faces in each frame, and not fifty.
SCORE = "0.56"


@pytest.fixture
def folder(tmp_path: Path, small_model: Img2Pose, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `model.pth` and a video `in/a.mp4` of 11 frames with sound."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_video, "FRAMES_EACH_SEGMENT", 4)
    torch.save(pack_model(small_model), "model.pth")
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = noise.repeat(9, axis=0).repeat(9, axis=1)
    Path("in").mkdir()
    write_video(
        Path("in/a.mp4"), pans_over([picture], SIZE_HW, FRAMES), sound_codec="aac", sound_s=0.3
    )
    return tmp_path


def video(*arguments: str, source: str = "in/a.mp4", out: str = "out") -> int:
    flags = ["--checkpoint", "model.pth", "--output_path", out, "--device", "cpu"]
    return main([source, *flags, "--score_threshold", SCORE, *arguments])


def results(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def lines(folder: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "a_faces.jsonl").read_text().splitlines()]


def test_each_frame_gets_a_line_and_is_drawn(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video("--track", "--smooth", "--batch_size", "3") == 0
    assert set(results("out")) == {"a_faces.jsonl", "a_faces.mp4", "a_run.json"}
    entries = lines()
    assert [entry["frame"] for entry in entries] == list(range(FRAMES))
    assert [entry["time_s"] for entry in entries] == [float(n / NTSC) for n in range(FRAMES)]
    detector = Detector.from_checkpoint("model.pth", device="cpu", score_threshold=float(SCORE))
    source = EncodedFrames("in/a.mp4")
    frames = list(source.frames())
    source.close()
    for entry, frame in zip(entries, frames, strict=True):
        found = FaceDetections.from_dict(entry)
        expected = detector.predict(frame.picture)
        assert len(found) == len(expected) > 0
        np.testing.assert_allclose(found.poses, expected.poses, atol=1e-4)
        assert all({"track", "smoothed"} <= face.keys() for face in entry["faces"])
    drawn, times = decoded(Path("out/a_faces.mp4"))
    originals, _ = decoded(Path("in/a.mp4"))
    assert times == [n / NTSC for n in range(FRAMES)]
    assert all((a != b).any() for a, b in zip(drawn, originals, strict=True))
    out = capsys.readouterr().out
    faces = sum(len(entry["faces"]) for entry in entries)
    tracks = {face["track"] for entry in entries for face in entry["faces"]}
    assert out.startswith(f"frames: {FRAMES}\nfaces: {faces}\ntracks: {len(tracks)}\n")
    assert "frames per second: " in out
    assert json.loads(Path("out/a_run.json").read_text())["summary"]["ended_early"] is None


def test_two_runs_are_equal_to_the_byte(folder: Path) -> None:
    for out in ("first", "second"):
        assert video("--smooth", "--batch_size", "4", out=out) == 0
    assert results("first") == results("second")


@pytest.mark.parametrize(("asked_at", "kept"), [(1, 4), (2, 8)])
def test_a_stopped_run_goes_on_to_the_results_of_one_that_was_not(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked_at: int,
    kept: int,
) -> None:
    arguments = ("--smooth", "--batch_size", "4", "--draw", "rectangle,axes")
    assert video(*arguments, out="whole") == 0
    capsys.readouterr()
    predict = Detector.predict
    calls = 0

    def stopping(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == asked_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return predict(*given, **named)

    monkeypatch.setattr(Detector, "predict", stopping)
    assert video(*arguments) == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(run_video, "FRAMES_EACH_SEGMENT", 4)
    assert "stopped" in capsys.readouterr().err
    assert len(lines()) == kept
    assert not Path("out/a_faces.mp4").exists()
    # What a kill while writing leaves besides.
    with open("out/a_faces.jsonl", "ab") as file:
        file.write(b'{"frame": 11, "tic')
    assert video(*arguments) == 0
    assert results("out") == results("whole")


def test_what_is_complete_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video() == 0
    told = capsys.readouterr().out
    before = results("out")
    monkeypatch.setattr(Detector, "predict", None)
    assert video() == 0
    assert results("out") == before
    again = capsys.readouterr().out
    assert told.startswith(again)
    assert "frames per second" not in again


def test_other_drawings_need_no_detection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert video("--batch_size", str(FRAMES)) == 0
    before = results("out")
    monkeypatch.setattr(Detector, "predict", None)
    assert video("--batch_size", str(FRAMES), "--draw", "overlay,box") == 0
    after = results("out")
    assert after["a_faces.jsonl"] == before["a_faces.jsonl"]
    assert after["a_faces.mp4"] != before["a_faces.mp4"]


@pytest.mark.parametrize("name", DRAWINGS)
def test_each_drawing_is_seen(folder: Path, name: str) -> None:
    assert video("--draw", name, "--max_frames", "2") == 0
    drawn, _ = decoded(Path("out/a_faces.mp4"))
    originals, _ = decoded(Path("in/a.mp4"))
    assert len(drawn) == 2
    changed = (np.abs(drawn[0].astype(int) - originals[0]).max(-1) > 40).mean()
    assert changed > 0.01


def test_without_a_video_nothing_is_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert video("--draw", "none", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["video"], told["tracks"]) == (FRAMES, None, None)
    assert told["faces"] == sum(len(entry["faces"]) for entry in lines())
    assert set(results("out")) == {"a_faces.jsonl", "a_run.json"}
    assert len(lines()) == FRAMES


def test_a_users_camera_re_expresses_the_poses(folder: Path) -> None:
    assert video("--intrinsics", "200,210,40,30", "--draw", "none", "--max_frames", "1") == 0
    (entry,) = lines()
    assert entry["intrinsics"] == [[200, 0, 40], [0, 210, 30], [0, 0, 1]]


def test_other_settings_need_to_be_told_to_overwrite(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video("--max_frames", "3") == 0
    before = results("out")
    capsys.readouterr()
    assert video("--max_frames", "4") == 2
    error = capsys.readouterr().err
    assert "made with other max_frames" in error
    assert "--overwrite" in error
    assert results("out") == before
    assert video("--max_frames", "4", "--overwrite") == 0
    assert len(lines()) == 4


def test_damage_is_told_and_what_came_before_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (60, *SIZE_HW, 3), dtype=np.uint8)
    path = write_video(Path("in/b.mp4"), noise[:20], options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_video, "FRAMES_EACH_SEGMENT", 250)
        assert video("--draw", "axes", source="in/b.mp4") == 0
    summary = json.loads(Path("out/b_run.json").read_text())["summary"]
    assert "cut off" in summary["ended_early"]
    assert 3 < summary["frames"] < 20
    assert len(decoded(Path("out/b_faces.mp4"))[0]) == summary["frames"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory="in")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_stream_is_recorded_until_it_is_stopped(
    folder: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_video(Path("in/live.ts"), decoded(Path("in/a.mp4"))[0])
    predict = Detector.predict
    calls = 0

    def stopping(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return predict(*given, **named)

    monkeypatch.setattr(Detector, "predict", stopping)
    url = f"{address.replace('//', '//me:secret@')}/live.ts"
    assert video(source=url) == 0
    assert len(decoded(Path("out/live_faces.mp4"))[0]) == 6
    run = Path("out/live_run.json").read_text()
    assert json.loads(run)["faces"]["source"] == f"{address}/live.ts"
    assert "secret" not in run
    assert video(source=url) == 2
    assert "recording" in capsys.readouterr().err


def test_drawings_are_listed_in_their_order_once() -> None:
    assert parse_drawings("axes, overlay,axes") == ("overlay", "axes")
    assert parse_drawings("none") == ()
    for text in ("", ",", "axes,hat", "none,axes"):
        with pytest.raises(InputError, match="--draw"):
            parse_drawings(text)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["in/gone.mp4"], "gone.mp4"),
        (["in/text.mp4"], "text.mp4"),
        (["in"], "in"),
        (["97"], "camera 97"),
        (["in/a.mp4", "--checkpoint", "gone.pth"], "gone.pth"),
        (["in/a.mp4", "--checkpoint", "in/text.mp4"], "text.mp4"),
        (["in/a.mp4", "--output_path", "model.pth"], "model.pth"),
        (["in/a.mp4", "--draw", "hat"], "hat"),
        (["in/a.mp4", "--batch_size", "0"], "--batch_size"),
        (["in/a.mp4", "--max_frames", "0"], "--max_frames"),
        (["in/a.mp4", "--track_iou", "2"], "--track_iou"),
        (["in/a.mp4", "--smooth_cutoff", "-1"], "--smooth_cutoff"),
        (["in/a.mp4", "--smooth_beta", "-1"], "--smooth_beta"),
        (["in/a.mp4", "--intrinsics", "1,2"], "--intrinsics"),
        (["in/a.mp4", "--score_threshold", "2"], "--score_threshold"),
        (["in/a.mp4", "--device", "toaster"], "toaster"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    Path("in/text.mp4").write_text("words\n" * 50)
    before = sorted(folder.rglob("*"))
    flags = ["--checkpoint", "model.pth", "--output_path", "out", "--device", "cpu"]
    assert main([*flags, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("content", ["words", "[]", '{"format": "other"}'])
def test_a_run_file_of_something_else_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    Path("out").mkdir()
    Path("out/a_run.json").write_text(content)
    assert video() == 2
    assert "a_run.json" in capsys.readouterr().err


def test_lines_without_their_run_file_are_not_gone_on_with(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video("--max_frames", "1") == 0
    Path("out/a_run.json").unlink()
    assert video("--max_frames", "1") == 2
    assert "a_faces.jsonl" in capsys.readouterr().err


@pytest.mark.slow
def test_ten_seconds_over_photographs_twice(folder: Path, shared: Path) -> None:
    """A 10-second video over Helen's photographs, with sound: two runs are equal."""
    from img2pose.images import find_images, read_image

    images = find_images([shared / "data" / "helen"])[:200:20]
    pictures = [read_image(image) for image in images]
    frames = pans_over(pictures, (240, 320), 300)
    write_video(Path("in/helen.mp4"), frames, sound_codec="aac", sound_s=10.01)
    for out in ("first", "second"):
        arguments = ("--smooth", "--batch_size", "8", "--draw", "overlay,landmarks,rectangle,axes")
        assert video(*arguments, source="in/helen.mp4", out=out) == 0
    assert results("first") == results("second")
    assert len(decoded(Path("first/helen_faces.mp4"))[0]) == 300
    shutil.rmtree("first")
