"""Lines of frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.inference.video.records import FrameFaces, FrameLines, read_found
from tests.visualization.poses import detections_of

POSES = [[0.1, 0.2, 1 / 3, 0, 0, 6.0], [0, -0.7, 0, 0.4, 0, 9.0]]


def frame(number: int, faces: int = 2) -> FrameFaces:
    found = detections_of(POSES[:faces])
    return FrameFaces(number, 1001 * number, 1001 * number / 30000, found)


def write(path: Path, frames: list[FrameFaces], kept: int = 0) -> bytes:
    lines = FrameLines(path, kept)
    lines.append(frames)
    lines.close()
    return path.read_bytes()


def test_a_line_holds_all_that_is_known_and_reads_as_detections() -> None:
    found = detections_of(POSES)
    moved = detections_of([[0.1, 0.1, 0, 0, 0, 6.5], [0, -0.6, 0, 0.4, 0, 9.0]])
    line = FrameFaces(4, 4004, 0.1335, found, np.array([7, 2]), moved).to_line()
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    entry = json.loads(line)
    assert (entry["frame"], entry["ticks"], entry["time_s"]) == (4, 4004, 0.1335)
    read = FaceDetections.from_dict(entry)
    np.testing.assert_array_equal(read.poses, found.poses)
    np.testing.assert_array_equal(read.boxes, found.boxes)
    second = entry["faces"][1]
    assert second["track"] == 2
    assert second["smoothed"]["pose"] == moved.poses[1].tolist()
    assert second["smoothed"]["box"] == moved.boxes[1].tolist()
    for angles, faces in (
        (second["euler_aflw2000_deg"], found),
        (second["smoothed"]["euler_aflw2000_deg"], moved),
    ):
        assert list(angles.values()) == faces.euler_deg()[1].tolist()


def test_only_what_was_asked_for_is_in_a_line() -> None:
    assert set(json.loads(frame(0).to_line())["faces"][0]) == {
        "score",
        "box",
        "pose",
        "euler_aflw2000_deg",
    }
    assert json.loads(frame(0, faces=0).to_line())["faces"] == []


def test_whole_lines_are_read_back_and_the_beginning_of_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    assert read_found(path) == []
    content = write(path, [frame(0), frame(1, faces=0), frame(2)])
    for cut in (0, 1, 40):
        path.write_bytes(content[: len(content) - cut])
        found = read_found(path)
        assert [ticks for ticks, _ in found] == ([0, 1001, 2002] if cut == 0 else [0, 1001])
        np.testing.assert_array_equal(found[0][1].poses, frame(0).found.poses)
        assert len(found[1][1]) == 0


def test_going_on_gives_the_bytes_of_writing_at_once(tmp_path: Path) -> None:
    frames = [frame(number, faces=number % 3) for number in range(6)]
    whole = write(tmp_path / "a.jsonl", frames)
    path = tmp_path / "b.jsonl"
    write(path, frames[:4])
    with open(path, "ab") as file:
        file.write(b'{"frame": 4, "ti')
    assert write(path, frames[3:], kept=3) == whole


@pytest.mark.parametrize(
    "line",
    [
        b"words\n",
        b"[]\n",
        b'{"frame": 5, "ticks": 0}\n',
        b'{"frame": 0, "ticks": 0, "faces": []}\n',
        b'{"frame": 0, "ticks": Infinity, "faces": []}\n',
        b'{"frame": 0, "ticks": null, "faces": [], "size_hw": [1, 1], "intrinsics": []}\n',
        b"[" * 200_000 + b"\n",
    ],
)
def test_other_lines_are_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line)
    with pytest.raises(InputError, match=r"a\.jsonl: line 1"):
        read_found(path)
