"""Videos of our own for tests: pans and zooms over pictures, written with exact times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

NTSC = Fraction(30000, 1001)


def pans_over(
    pictures: Sequence[np.ndarray], size_hw: tuple[int, int], frames: int
) -> Iterator[np.ndarray]:
    """A slow pan and zoom over each picture in turn.

    Args:
        pictures: (H, W, 3) uint8 RGB each.
        size_hw: Of the frames.
        frames: In all.

    Yields:
        (H, W, 3) uint8 RGB.
    """
    height, width = size_hw
    each = -(-frames // len(pictures))
    for number in range(frames):
        picture = pictures[number // each]
        share = (number % each) / max(1, each - 1)
        # The whole picture fits in at first; then the view moves to the right and closer.
        scale = min(height / picture.shape[0], width / picture.shape[1]) * (0.9 + 0.3 * share)
        centre = np.array(picture.shape[1::-1]) * (0.5 + 0.06 * (share - 0.5))
        matrix = np.array(
            [
                [scale, 0, width / 2 - scale * centre[0]],
                [0, scale, height / 2 - scale * centre[1]],
            ]
        )
        yield cv2.warpAffine(
            picture,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )


def write_video(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    rate: Fraction = NTSC,
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    sound_codec: str | None = None,
    sound_s: float = 0.0,
    options: dict[str, str] | None = None,
    prepare: Any = None,
) -> Path:
    """Writes a video in the format of the path's suffix.

    Args:
        path: Target.
        pictures: (H, W, 3) uint8 RGB each, with even sides.
        rate: Frames a second.
        ticks: Time of each frame in units of `time_base`; None for a constant rate.
        time_base: Seconds of a tick.
        codec: Of the pictures.
        sound_codec: A tone of 440 Hz in this codec; None for a silent video.
        sound_s: Length of the tone in seconds.
        options: Of the container.
        prepare: Called with the video stream before the first frame.
    """
    base = 1 / rate if time_base is None else time_base
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        sound: Any = None if sound_codec is None else container.add_stream(sound_codec, rate=48000)
        if sound is not None:
            sound.layout = "mono"
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
                if prepare is not None:
                    prepare(stream)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number if ticks is None else ticks[number], base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            wave = np.sin(2 * np.pi * 440 / 48000 * np.arange(round(48000 * sound_s)))
            samples = (8000 * wave).astype(np.int16)[None]
            for start in range(0, samples.shape[1], 1024):
                part = np.ascontiguousarray(samples[:, start : start + 1024])
                audio = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                audio.sample_rate, audio.pts = 48000, start
                container.mux(sound.encode(audio))
            container.mux(sound.encode())
    return path


def decoded(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    """Pictures (H, W, 3) as they are stored, and times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
        return pictures, [frame.pts * Fraction(frame.time_base) for frame in frames]
