"""Segments and the video they are joined to."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from img2pose.inference.video.segments import (
    Sound,
    join_segments,
    segment_writer,
    sounds_of,
    suffix_for_sounds,
)
from tests.videos import NTSC, decoded, write_video

BASE = Fraction(1, 30000)
# 29.97 frames a second, with a gap and a jitter.
TICKS = [0, 1001, 2002, 3003, 9009, 10010, 11000, 12012, 13013, 14014]


def gradient(number: int, size_hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    picture = np.stack([rows * 4, columns * 3, np.full(size_hw, 12 * number)], axis=-1)
    return picture.clip(0, 255).astype(np.uint8)


def write_segments(
    folder: Path, each: int, size_hw: tuple[int, int] = (48, 64), ticks: Sequence[int] = TICKS
) -> list[Path]:
    paths = []
    for start in range(0, len(ticks), each):
        path = folder / f"{start}.nut"
        with segment_writer(path, size_hw, BASE, NTSC) as writer:
            for number in range(start, min(start + each, len(ticks))):
                writer.write(gradient(number, size_hw), ticks[number])
        paths.append(path)
    return paths


@pytest.mark.parametrize("each", [1, 4, 10])
def test_times_and_pictures_are_those_written(tmp_path: Path, each: int) -> None:
    target = tmp_path / "joined.mp4"
    join_segments(target, write_segments(tmp_path, each), BASE, None)
    pictures, times = decoded(target)
    assert times == [tick * BASE for tick in TICKS]
    for number, picture in enumerate(pictures):
        assert np.abs(picture.astype(int) - gradient(number)).mean() < 3
    with av.open(str(target)) as container:
        assert float(container.streams.video[0].duration * BASE) == pytest.approx(0.5, abs=0.01)


def test_odd_sides_repeat_a_row_and_a_column(tmp_path: Path) -> None:
    target = tmp_path / "joined.mp4"
    join_segments(target, write_segments(tmp_path, 5, (47, 63)), BASE, None)
    pictures, _ = decoded(target)
    assert pictures[0].shape == (48, 64, 3)
    assert np.abs(pictures[3][:47, :63].astype(int) - gradient(3, (47, 63))).mean() < 3


def test_a_segment_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "parts" / "0.nut"
    with (
        pytest.raises(KeyboardInterrupt),
        segment_writer(path, (48, 64), BASE, NTSC) as writer,
    ):
        writer.write(gradient(0), 0)
        raise KeyboardInterrupt
    assert not path.parent.exists()


def test_joining_removes_what_a_killed_process_left_of_the_same_video(tmp_path: Path) -> None:
    left, other = tmp_path / ".joined.a1b2c3d4.part.mp4", tmp_path / ".else.a1b2c3d4.part.mp4"
    left.write_bytes(b"half")
    other.write_bytes(b"half")
    join_segments(tmp_path / "joined.mp4", write_segments(tmp_path, 5), BASE, None)
    assert not left.exists()
    assert other.exists()


def packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """Times and content of the first sound track's packets."""
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(audio=0)
            if packet.dts is not None
        ]


def with_sound(folder: Path, codec: str, suffix: str) -> Path:
    pictures = (gradient(number) for number in range(30))
    return write_video(folder / f"a.{suffix}", pictures, sound_codec=codec, sound_s=1.0)


@pytest.mark.parametrize(
    ("codec", "suffix", "wanted"),
    [("aac", "mp4", ".mp4"), ("libmp3lame", "mkv", ".mp4"), ("pcm_u8", "mkv", ".mkv")],
)
def test_sound_is_copied_up_to_the_pictures_end(
    tmp_path: Path, codec: str, suffix: str, wanted: str
) -> None:
    original = with_sound(tmp_path, codec, suffix)
    assert suffix_for_sounds(sounds_of(str(original))) == wanted
    target = tmp_path / f"joined{wanted}"
    sound = Sound(str(original), Fraction(0), Fraction(1, 2))
    join_segments(target, write_segments(tmp_path, 4), BASE, sound)
    _, times = decoded(target)
    tolerance = 0 if wanted == ".mp4" else Fraction(1, 1000)
    assert max(abs(t - tick * BASE) for t, tick in zip(times, TICKS, strict=True)) <= tolerance
    expected = [(t, c) for t, c in packets(original) if 0 <= t < Fraction(1, 2)]
    found = packets(target)
    assert [content for _, content in found] == [content for _, content in expected]
    assert len(found) > 10
    for (time, _), (before, _) in zip(found, expected, strict=True):
        assert abs(time - before) < Fraction(1, 400)


def test_sound_before_the_first_picture_is_left_out(tmp_path: Path) -> None:
    original = with_sound(tmp_path, "aac", "mp4")
    start = Fraction(1, 4)
    target = tmp_path / "joined.mp4"
    sound = Sound(str(original), start, Fraction(1, 2))
    join_segments(target, write_segments(tmp_path, 4), BASE, sound)
    expected = [(t - start, c) for t, c in packets(original) if start <= t < start + Fraction(1, 2)]
    found = packets(target)
    assert [content for _, content in found] == [content for _, content in expected]
    assert abs(found[0][0] - expected[0][0]) < Fraction(1, 400)


def test_a_silent_video_has_no_sounds(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [gradient(0)])
    assert sounds_of(str(path)) == []
    assert suffix_for_sounds([]) == ".mp4"
    assert sounds_of(str(tmp_path / "gone.mp4")) == []
