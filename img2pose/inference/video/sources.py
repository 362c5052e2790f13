"""Where frames come from: video files, streams of a URL, cameras.

Frames are upright uint8 RGB with square pixels, all of the first one's size, each with its own
time: nothing is assumed about the rate. PyAV (FFmpeg's libraries) reads files and URLs, OpenCV
cameras, since PyAV's wheels have no drivers for them.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.reformatter import Colorspace

from img2pose.errors import InputError
from img2pose.images import MAX_PIXELS_VARIABLE, max_pixels_of_environment

_DEFAULT_RATE = Fraction(25)
_CAMERA_TIME_BASE = Fraction(1, 90_000)
# Seconds by which a file may end before the time that its header promises.
_SHORTFALL_S = Fraction(1, 4)
_NETWORK_TIMEOUT_S = 15.0
_HD_HEIGHT = 720
# AVCOL_SPC_UNSPECIFIED of FFmpeg.
_UNSPECIFIED_COLOURS = 2
_CAMERA_INDEX = re.compile(r"\d{1,3}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One picture of a video.

    Attributes:
        number: Counted from 0.
        ticks: Time since the first frame in units of the source's time base; it grows.
        picture: (H, W, 3) uint8 RGB.
    """

    number: int
    ticks: int
    picture: np.ndarray


class FrameSource(Protocol):
    """What gives frames in their order, once.

    Attributes:
        name: Stem of the result files' names.
        time_base: Seconds of a tick.
        rate: Frames a second, on average or as announced.
        expected_frames: How many there may be; None where nobody knows.
        is_live: Cannot be read a second time.
        sound_path: File whose sound belongs to the frames; None where there is none.
        start_s: Time of the first frame on that file's clock, seconds.
        ended_early: After the last frame: why there are not as many as there should be.
    """

    name: str
    time_base: Fraction
    rate: Fraction
    expected_frames: int | None
    is_live: bool
    sound_path: str | None
    start_s: Fraction
    ended_early: str | None

    def frames(self) -> Iterator[VideoFrame]:
        """The frames; may be called once."""

    def close(self) -> None:
        """Lets go of file or device."""


def open_source(text: str) -> FrameSource:
    """Opens what a user named.

    Args:
        text: Path of a video file, URL of a stream, or the number of a camera.

    Raises:
        InputError: There is no such thing, or it has no pictures.
    """
    if _CAMERA_INDEX.fullmatch(text) and not Path(text).exists():
        return CameraFrames(cv2.VideoCapture(int(text)), f"camera_{int(text)}")
    return EncodedFrames(text)


def without_credentials(text: str) -> str:
    """A URL without user and password, for messages and files; a path as it is."""
    if not _URL.match(text):
        return text
    parts = urlsplit(text)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _name_of(text: str) -> str:
    if not _URL.match(text):
        return Path(text).stem
    parts = urlsplit(text)
    words = Path(parts.path).stem or parts.hostname or "stream"
    return re.sub(r"[^\w.-]+", "_", words)


class EncodedFrames:
    """Frames of a file or URL that FFmpeg's libraries decode; see `FrameSource`.

    The display matrix of phones' videos is applied, flips included, and pixels that are not
    square are widened. What follows damage is left out.
    """

    def __init__(self, path: str) -> None:
        self._shown_path = without_credentials(path)
        self.is_live = bool(_URL.match(path))
        self.name = _name_of(path)
        self.ended_early: str | None = None
        self._container = self._opened(path)
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            self._container.close()
            raise InputError(f"{self._shown_path}: has no pictures; give a video")
        best = self._container.streams.best("video")
        self._stream = next((stream for stream in streams if stream is best), streams[0])
        self._pixel_aspect = self._checked_pixel_aspect()
        # Decoders know how to share out their work among cores; the result is the same.
        self._stream.thread_type = "AUTO"
        self.time_base = Fraction(self._stream.time_base or 1 / _DEFAULT_RATE)
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = Fraction(rate) if rate else _DEFAULT_RATE
        self._promised_s = self._promised_duration()
        self.expected_frames = self._expected_frames()
        self.sound_path = None if self.is_live else path
        self.start_s = Fraction(0)
        self._frames = self._timed_frames()
        # A file that shows nothing is better known before a model is loaded.
        self._first = next(self._frames, None)
        if self._first is None:
            self._container.close()
            raise InputError(
                f"{self._shown_path}: no frame can be decoded; give a video that plays"
            )

    def _opened(self, path: str) -> av.container.InputContainer:
        # A file's name is no place for FFmpeg's protocols: concat:, pipe: and the like.
        source = path if self.is_live else f"file:{path}"
        if not self.is_live and not Path(path).is_file():
            raise InputError(f"{path}: no such video; check the path, URL or camera number")
        try:
            return av.open(source, timeout=_NETWORK_TIMEOUT_S if self.is_live else None)
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{self._shown_path}: cannot be read as a video ({reason}); give a video that plays"
            ) from error

    def _checked_pixel_aspect(self) -> Fraction:
        """Width of a pixel over its height; the picture's size is judged, too."""
        context = self._stream.codec_context
        aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        limit = max_pixels_of_environment()
        if not (context.width and context.height and aspect > 0):
            self._container.close()
            raise InputError(
                f"{self._shown_path}: has pictures that cannot be decoded; give another video"
            )
        width = round(context.width * aspect)
        if max(width, context.width) * context.height > limit:
            self._container.close()
            raise InputError(
                f"{self._shown_path}: {width} x {context.height} pixels are more than the limit"
                f" of {limit}; shrink it, or set {MAX_PIXELS_VARIABLE} if you trust it"
            )
        return aspect

    def _promised_duration(self) -> Fraction | None:
        if self._stream.duration:
            return self._stream.duration * self.time_base
        # Matroska keeps it as text.
        tag = self._stream.metadata.get("DURATION", "")
        found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tag)
        if not found:
            return None
        return int(found[1]) * 3600 + int(found[2]) * 60 + Fraction(found[3])

    def _expected_frames(self) -> int | None:
        if self._stream.frames:
            return int(self._stream.frames)
        if self._promised_s is None:
            return None
        return max(1, round(self._promised_s * self.rate))

    def frames(self) -> Iterator[VideoFrame]:
        """See `FrameSource`."""
        if self._first is not None:
            yield self._first
        yield from self._frames

    def _timed_frames(self) -> Iterator[VideoFrame]:
        number, last_ticks = 0, -1
        first_pts: int | None = None
        size_hw: tuple[int, int] | None = None
        step = max(1, round(1 / (self.rate * self.time_base)))
        for frame in self._decoded():
            if frame.pts is None:
                ticks = number * step
            else:
                if first_pts is None:
                    first_pts = frame.pts - number * step
                    self.start_s = first_pts * self.time_base
                ticks = frame.pts - first_pts
            # Damaged headers may repeat a time, and no player or encoder takes that.
            ticks = max(ticks, last_ticks + 1)
            picture = _upright(frame, self._pixel_aspect)
            if size_hw is None:
                size_hw = picture.shape[:2]
            elif picture.shape[:2] != size_hw:
                picture = cv2.resize(picture, size_hw[::-1], interpolation=cv2.INTER_AREA)
            yield VideoFrame(number, ticks, picture)
            last_ticks, number = ticks, number + 1
        self._judge_end(number, (last_ticks + step) * self.time_base, step * self.time_base)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        stream = self._stream
        try:
            for packet in self._container.demux(stream):
                if packet.is_corrupt:
                    self.ended_early = "damaged or cut off there"
                    break
                yield from packet.decode()
            else:
                return
        except (av.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            self.ended_early = f"damaged there: {reason}"
        # The decoder's threads still hold frames from before the damage.
        with contextlib.suppress(av.FFmpegError, OSError):
            yield from stream.codec_context.decode(None)

    def _judge_end(self, count: int, end_s: Fraction, step_s: Fraction) -> None:
        if self.ended_early is not None or self.is_live:
            return
        promised_s, promised_frames = self._promised_s, int(self._stream.frames)
        if promised_s is not None and promised_s - end_s > max(_SHORTFALL_S, 3 * step_s):
            self.ended_early = f"cut off there: its header promises {float(promised_s):.2f} s"
        elif count < 0.9 * promised_frames:
            self.ended_early = f"cut off there: its header promises {promised_frames} frames"

    def close(self) -> None:
        """Closes the file."""
        self._container.close()


def _upright(frame: av.VideoFrame, pixel_aspect: Fraction) -> np.ndarray:
    """A decoded frame as it is to be shown: (H, W, 3) uint8 RGB."""
    # Where nothing is said of them, pictures as high as HD have HD's colours.
    is_hd = frame.colorspace == _UNSPECIFIED_COLOURS and frame.height >= _HD_HEIGHT
    shown = frame.reformat(
        width=max(1, round(frame.width * pixel_aspect)),
        height=frame.height,
        format="rgb24",
        src_colorspace=Colorspace.ITU709 if is_hd else None,
    ).to_ndarray()
    data = frame.side_data.get("DISPLAYMATRIX")
    if isinstance(data, SideData):
        shown = turned_as_shown(shown, np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2])
    return np.ascontiguousarray(shown)


def turned_as_shown(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turned and mirrored by whole quarter turns, as a container's display matrix asks for.

    Args:
        picture: (H, W, 3).
        matrix: (2, 2); row vectors (x, y) of the stored picture times it are those shown.

    Source: ISO/IEC 14496-12, 8.3.2 (the track header's matrix).
    """
    signs = np.where(np.abs(matrix) * 2 > np.abs(matrix).max(), np.sign(matrix), 0)
    # A matrix of zeros asks for nothing.
    if signs[0, 0] == 0 and signs[0, 1] != 0:
        picture, signs = picture.swapaxes(0, 1), signs[::-1]
    if signs[0, 0] < 0:
        picture = picture[:, ::-1]
    if signs[1, 1] < 0:
        picture = picture[::-1]
    return picture


class CameraFrames:
    """Frames of a camera, with the time at which each was fetched; see `FrameSource`.

    Whoever fetches more slowly than the camera films gets fewer frames.
    """

    time_base = _CAMERA_TIME_BASE
    expected_frames: int | None = None
    is_live = True
    sound_path: str | None = None
    start_s = Fraction(0)

    def __init__(self, capture: cv2.VideoCapture, name: str) -> None:
        self.name = name
        self.ended_early: str | None = None
        self._capture = capture
        if not capture.isOpened():
            raise InputError(f"{name.replace('_', ' ')}: is not there; give another number")
        rate = capture.get(cv2.CAP_PROP_FPS)
        usable = np.isfinite(rate) and 1 <= rate <= 1000
        self.rate = Fraction(rate).limit_denominator(1001) if usable else _DEFAULT_RATE

    def frames(self) -> Iterator[VideoFrame]:
        """See `FrameSource`."""
        start = time.monotonic()
        number, last_ticks = 0, -1
        while True:
            there, picture = self._capture.read()
            if not there:
                break
            seconds = time.monotonic() - start if number else 0.0
            start = start if number else time.monotonic()
            ticks = max(last_ticks + 1, round(seconds / self.time_base))
            yield VideoFrame(number, ticks, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            last_ticks, number = ticks, number + 1
        if not number:
            raise InputError(f"{self.name.replace('_', ' ')}: gives no picture; is it in use?")
        self.ended_early = "the camera gave no more pictures"

    def close(self) -> None:
        """Lets the camera go."""
        self._capture.release()
