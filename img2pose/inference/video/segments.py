"""The annotated video: written in segments, which are joined without coding them anew.

Each segment is a file that appears whole, so that a stopped run loses at most one. A segment's
first frame is a key frame and no frame refers to a later one; so the segments' packets, one after
the other, are the video. NUT keeps times as they are, where MP4 would round them.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.codec.context import Flags
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from img2pose.errors import InputError
from img2pose.files import leftovers_of, replace_when_complete, told_when_unwritable

TimedPacket: TypeAlias = tuple[Fraction, "av.Packet[Any]"]

# Quality that hides the coding from most eyes, at a speed that does not hold up detection.
_X264_OPTIONS = {"crf": "20", "preset": "veryfast", "bf": "0"}


def _encoder() -> tuple[str, dict[str, str]]:
    """Name and options of an H.264 encoder.

    Raises:
        InputError: FFmpeg was built without one.
    """
    for name, options in (("libx264", _X264_OPTIONS), ("h264", {"bf": "0"})):
        try:
            av.Codec(name, "w")
        except UnknownCodecError:
            continue
        return name, options
    raise InputError(
        "the FFmpeg of the package av cannot write H.264; install av's wheels from PyPI, or give"
        " --draw none"
    )


class SegmentWriter:
    """Codes the frames of one segment; see `segment_writer`."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        size_hw: tuple[int, int],
        time_base: Fraction,
        rate: Fraction,
    ) -> None:
        name, options = _encoder()
        stream = cast(av.VideoStream, container.add_stream(name, rate=rate, options=options))
        height, width = size_hw
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = time_base
        # MP4 wants once, in its header, what key frames would repeat.
        context.flags |= Flags.global_header
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.color_range = ColorRange.MPEG
        self._container, self._stream, self._time_base = container, stream, time_base

    def write(self, picture: np.ndarray, ticks: int) -> None:
        """Adds a frame.

        Args:
            picture: (H, W, 3) uint8 RGB of the segment's size.
            ticks: Its time, greater than the last one's.
        """
        height, width = picture.shape[:2]
        if height % 2 or width % 2:
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = ticks, self._time_base
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        self._container.mux(self._stream.encode())


@contextmanager
def segment_writer(
    path: Path, size_hw: tuple[int, int], time_base: Fraction, rate: Fraction
) -> Iterator[SegmentWriter]:
    """Writes a segment that is there, whole, once the context is left without an error.

    Args:
        path: Of the segment.
        size_hw: Height and width of the pictures; a last row or column is repeated where they
            are odd, since colours are stored for two by two pixels.
        time_base: Seconds of a tick.
        rate: Frames a second, roughly; what counts is each frame's own time.

    Raises:
        InputError: There is no encoder.
        OutputError: The disk is full, for example.
    """
    with (
        told_when_unwritable(path),
        replace_when_complete(path) as part,
        av.open(str(part), "w", format="nut") as container,
    ):
        writer = SegmentWriter(container, size_hw, time_base, rate)
        yield writer
        writer.finish()


def sounds_of(path: str) -> list[str]:
    """Codec names of a video's sound tracks, in their order; none where it cannot be read."""
    try:
        with av.open(f"file:{path}") as container:
            return [stream.codec_context.name for stream in container.streams.audio]
    except (av.FFmpegError, OSError, AttributeError):
        return []


def suffix_for_sounds(codecs: Sequence[str]) -> str:
    """`.mp4` where it takes sound of these codecs, else `.mkv`, which takes any."""
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        return ".mp4" if container.supported_codecs.issuperset(codecs) else ".mkv"


@dataclass(frozen=True)
class Sound:
    """Where the joined video's sound comes from.

    Attributes:
        path: Video file.
        start_s: Time of the first picture on the file's clock, seconds.
        duration_s: Sound after the last picture is left out.
    """

    path: str
    start_s: Fraction
    duration_s: Fraction


def join_segments(
    target: Path, segments: Sequence[Path], time_base: Fraction, sound: Sound | None
) -> None:
    """Writes the packets of the segments and those of the sound into one file.

    What a killed process left of the same file goes.

    Args:
        target: `.mp4` or `.mkv`; whole or not at all.
        segments: At least one, in their order.
        time_base: Seconds of a tick.
        sound: None for a video without.

    Raises:
        OutputError: The disk is full, for example.
    """
    for leftover in leftovers_of(target):
        leftover.unlink(missing_ok=True)
    with told_when_unwritable(target), replace_when_complete(target) as part, ExitStack() as stack:
        # Players may begin before a file is there to its end.
        options = {"movflags": "faststart"} if target.suffix == ".mp4" else {}
        output = stack.enter_context(av.open(str(part), "w", options=options))
        first = stack.enter_context(av.open(str(segments[0])))
        video = output.add_stream_from_template(first.streams.video[0])
        video.time_base = time_base
        tracks = [_picture_packets(segments, video)]
        if sound is not None:
            source = stack.enter_context(av.open(f"file:{sound.path}"))
            if source.streams.audio:
                copies = {
                    stream.index: output.add_stream_from_template(stream)
                    for stream in source.streams.audio
                }
                tracks.append(_sound_packets(source, copies, sound))
        for _, packet in heapq.merge(*tracks, key=lambda item: item[0]):
            output.mux(packet)


def _picture_packets(segments: Sequence[Path], stream: av.VideoStream) -> Iterator[TimedPacket]:
    for path in segments:
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                # The last packet of all is an empty one, for decoders.
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                seconds = packet.pts * packet.time_base
                packet.stream = stream
                yield seconds, packet


def _sound_packets(
    source: av.container.InputContainer, copies: Mapping[int, av.AudioStream], sound: Sound
) -> Iterator[TimedPacket]:
    # Damage ends the sound as it ends the pictures.
    with suppress(av.FFmpegError, OSError):
        for packet in source.demux(*source.streams.audio):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            offset = round(sound.start_s / packet.time_base)
            packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
            seconds = packet.pts * packet.time_base
            if packet.pts < 0 or packet.is_corrupt:
                continue
            if seconds >= sound.duration_s:
                break
            packet.stream = copies[packet.stream.index]
            yield seconds, packet
