"""Frames of files, streams and cameras."""

from __future__ import annotations

import functools
import http.server
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from img2pose.errors import InputError
from img2pose.inference.video.sources import (
    CameraFrames,
    EncodedFrames,
    VideoFrame,
    open_source,
    turned_as_shown,
    without_credentials,
)
from tests.videos import NTSC, write_video

SIZE_HW = (48, 64)


def moving_square(frames: int, size_hw: tuple[int, int] = SIZE_HW) -> Iterator[np.ndarray]:
    """A bright square that moves to the right on noise, which is expensive to code."""
    noise = np.random.default_rng(0).integers(0, 120, (*size_hw, 3), dtype=np.uint8)
    for number in range(frames):
        picture = np.roll(noise, number, axis=0)
        picture[8:24, 2 * number % 40 :][:, :16] = (250, 60, 20)
        yield picture


def frames_of(path: Path) -> tuple[list[VideoFrame], EncodedFrames]:
    with closing(EncodedFrames(str(path))) as source:
        return list(source.frames()), source


def test_frames_come_with_their_numbers_and_exact_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(12))
    frames, source = frames_of(path)
    assert [frame.number for frame in frames] == list(range(12))
    assert [frame.ticks * source.time_base for frame in frames] == [n / NTSC for n in range(12)]
    assert (source.rate, source.expected_frames, source.ended_early) == (NTSC, 12, None)
    assert (source.name, source.is_live, source.start_s) == ("a", False, 0)
    for frame, picture in zip(frames, moving_square(12), strict=True):
        assert frame.picture.dtype == np.uint8
        square = picture == [250, 60, 20]
        assert np.abs(frame.picture[square].mean() - picture[square].mean()) < 12


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts"])
def test_a_variable_rate_is_kept(tmp_path: Path, suffix: str) -> None:
    ticks = [0, 7, 8, 40, 41, 100, 101, 180]
    path = write_video(
        tmp_path / f"a.{suffix}", moving_square(8), ticks=ticks, time_base=Fraction(1, 1000)
    )
    frames, source = frames_of(path)
    assert [frame.ticks * source.time_base for frame in frames] == [
        Fraction(t, 1000) for t in ticks
    ]


def test_times_begin_with_the_first_frame(tmp_path: Path) -> None:
    base = Fraction(1, 600)
    ticks = [60 + 20 * number for number in range(5)]
    path = write_video(tmp_path / "a.mkv", moving_square(5), ticks=ticks, time_base=base)
    frames, source = frames_of(path)
    assert frames[0].ticks == 0
    assert source.start_s == Fraction(1, 10)


ORIENTATIONS: list[tuple[dict[str, Any], Callable[[Image.Image], Image.Image]]] = [
    ({"degrees": 0}, lambda image: image),
    ({"degrees": -90}, lambda image: image.transpose(Image.Transpose.ROTATE_270)),
    ({"degrees": 90}, lambda image: image.transpose(Image.Transpose.ROTATE_90)),
    ({"degrees": 180}, lambda image: image.transpose(Image.Transpose.ROTATE_180)),
    ({"degrees": 0, "hflip": True}, ImageOps.mirror),
    ({"degrees": 0, "vflip": True}, ImageOps.flip),
    (
        {"degrees": 90, "hflip": True},
        lambda image: ImageOps.mirror(image.transpose(Image.Transpose.ROTATE_90)),
    ),
    (
        {"degrees": -90, "hflip": True},
        lambda image: ImageOps.mirror(image.transpose(Image.Transpose.ROTATE_270)),
    ),
]


@pytest.mark.parametrize(("orientation", "expected"), ORIENTATIONS)
def test_phones_orientations_are_applied(
    tmp_path: Path,
    orientation: dict[str, Any],
    expected: Callable[[Image.Image], Image.Image],
) -> None:
    picture = np.zeros((*SIZE_HW, 3), np.uint8)
    picture[:16, :16], picture[:16, -16:] = (255, 0, 0), (0, 255, 0)
    path = write_video(
        tmp_path / "a.mp4",
        [picture] * 2,
        prepare=lambda stream: stream.set_display_rotation(**orientation),
    )
    frames, _ = frames_of(path)
    shown = np.asarray(expected(Image.fromarray(picture)))
    assert frames[0].picture.shape == shown.shape
    assert np.abs(frames[0].picture.astype(int) - shown).mean() < 12


def test_a_matrix_of_zeros_turns_nothing() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(turned_as_shown(picture, np.zeros((2, 2))), picture)


def test_pixels_that_are_not_square_are_widened(tmp_path: Path) -> None:
    def widen(stream: Any) -> None:
        stream.sample_aspect_ratio = Fraction(4, 3)

    path = write_video(tmp_path / "a.mp4", moving_square(2), prepare=widen)
    assert frames_of(path)[0][0].picture.shape == (48, 85, 3)


def test_what_comes_before_damage_is_kept_and_the_damage_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(60))
    whole, _ = frames_of(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    frames, source = frames_of(path)
    assert 10 < len(frames) < 50
    assert source.ended_early is not None
    assert "damaged" in source.ended_early
    for frame, before in zip(frames[:-3], whole, strict=False):
        np.testing.assert_array_equal(frame.picture, before.picture)


@pytest.mark.parametrize(
    ("name", "options"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {}), ("a.avi", {})]
)
def test_what_comes_before_a_cut_is_kept_and_the_cut_told(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, moving_square(60), options=options)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    frames, source = frames_of(path)
    assert 10 < len(frames) < 50
    assert source.ended_early is not None
    assert "cut off" in source.ended_early


def test_frames_of_another_size_become_like_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.h264"
    parts = [
        write_video(tmp_path / f"{n}.h264", moving_square(3, size)).read_bytes()
        for n, size in enumerate([SIZE_HW, (96, 128)])
    ]
    path.write_bytes(b"".join(parts))
    frames, _ = frames_of(path)
    assert len(frames) == 6
    assert {frame.picture.shape for frame in frames} == {(*SIZE_HW, 3)}
    assert [frame.ticks for frame in frames] == sorted({frame.ticks for frame in frames})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.mp4", b"no video\n" * 40),
        ("empty.mp4", b""),
        ("noise.mkv", bytes(np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8))),
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        open_source(str(tmp_path / name))


def test_missing_files_sound_alone_and_large_pictures_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"gone\.mp4: no such video"):
        open_source(str(tmp_path / "gone.mp4"))
    with pytest.raises(InputError, match="no such video"):
        open_source(str(tmp_path))
    with wave.open(str(tmp_path / "song.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    with pytest.raises(InputError, match=r"song\.wav: has no pictures"):
        open_source(str(tmp_path / "song.wav"))
    path = write_video(tmp_path / "a.mp4", moving_square(2))
    monkeypatch.setenv("IMG2POSE_MAX_PIXELS", "1000")
    with pytest.raises(InputError, match=r"a\.mp4: 64 x 48 pixels"):
        open_source(str(path))


def test_a_camera_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="camera 97"):
        open_source("97")


def test_a_file_with_a_number_for_a_name_is_no_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", moving_square(3)).rename("7")
    with closing(open_source("7")) as source:
        assert len(list(source.frames())) == 3


def test_a_cameras_frames_are_rgb_with_growing_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(6))
    source = CameraFrames(cv2.VideoCapture(str(path)), "camera_0")
    assert source.is_live
    frames = list(source.frames())
    source.close()
    assert [frame.number for frame in frames] == list(range(6))
    assert frames[0].ticks == 0
    assert all(np.diff([frame.ticks for frame in frames]) > 0)
    red, _, blue = frames[0].picture[12:20, 4:12].mean((0, 1))
    assert red > 200 > 100 > blue
    assert source.ended_early is not None


def test_a_camera_that_gives_no_picture_is_told_in_one_line(tmp_path: Path) -> None:
    # A capture at its end is there and gives nothing, as a camera that another program holds.
    capture = cv2.VideoCapture(str(write_video(tmp_path / "a.mp4", moving_square(3))))
    while capture.read()[0]:
        pass
    source = CameraFrames(capture, "camera_0")
    with pytest.raises(InputError, match="camera 0: gives no picture"):
        next(source.frames())
    source.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_stream_is_read_from_its_url(tmp_path: Path, address: str) -> None:
    write_video(tmp_path / "street 1.ts", moving_square(8))
    with closing(open_source(f"{address}/street%201.ts")) as source:
        assert (source.is_live, source.sound_path) == (True, None)
        assert source.name == "street_201"
        assert len(list(source.frames())) == 8


def test_a_stream_that_is_not_there_is_named_without_its_password(address: str) -> None:
    secret = address.replace("//", "//me:secret@")
    with pytest.raises(InputError, match=address) as error:
        open_source(f"{secret}/gone.ts")
    assert "secret" not in str(error.value)


def test_credentials_are_taken_out_of_urls_only() -> None:
    assert without_credentials("rtsp://a:b@c.d:5/e?f") == "rtsp://c.d:5/e?f"
    assert without_credentials("me@home/a.mp4") == "me@home/a.mp4"
