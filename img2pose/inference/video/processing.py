"""A video from its first frame to its annotated copy, in steps that a stopped run goes on from."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.inference.video.records import FrameFaces, FrameLines, read_found
from img2pose.inference.video.results import VideoFiles
from img2pose.inference.video.segments import SegmentWriter, Sound, join_segments, segment_writer
from img2pose.inference.video.smoothing import PoseSmoother, SmoothingSettings
from img2pose.inference.video.sources import FrameSource, VideoFrame
from img2pose.inference.video.tracking import FaceTracker, TrackingSettings
from img2pose.references import PoseReferences

log = logging.getLogger(__name__)

Find = Callable[[list[np.ndarray]], list[FaceDetections]]
"""Pictures to the faces of each."""
Draw = Callable[[np.ndarray, FrameFaces], np.ndarray]
"""A frame's picture and faces to the picture that is shown."""


class Following:
    """Numbers and smooths the faces of frames in their order.

    Attributes:
        tracks: Whether faces get numbers.

    Args:
        tracking: None leaves faces without numbers.
        smoothing: None leaves poses as they are; else faces are tracked too.
        references: The reference face of the poses.
    """

    def __init__(
        self,
        tracking: TrackingSettings | None,
        smoothing: SmoothingSettings | None,
        references: PoseReferences,
    ) -> None:
        if tracking is None and smoothing is not None:
            tracking = TrackingSettings()
        self.tracks = tracking is not None
        self._tracker = None if tracking is None else FaceTracker(tracking)
        self._smoother = None if smoothing is None else PoseSmoother(smoothing, references)

    def update(self, number: int, ticks: int, time_s: float, found: FaceDetections) -> FrameFaces:
        """The next frame's faces with what is known of them from the frames before."""
        tracks, smoothed = None, None
        if self._tracker is not None:
            tracks = self._tracker.update(time_s, found.boxes)
            if self._smoother is not None:
                smoothed = self._smoother.update(time_s, tracks, found)
        return FrameFaces(number, ticks, time_s, found, tracks, smoothed)


@dataclass(frozen=True)
class VideoSummary:
    """What came of a video.

    Attributes:
        frames: How many there are.
        faces: In all of them.
        tracks: Different numbers among them; None without tracking.
        seconds: Length of the video.
        detected_frames: How many of the frames this run detected in.
        wall_s: What this run took, without joining.
        ended_early: See `FrameSource`.
    """

    frames: int
    faces: int
    tracks: int | None
    seconds: float
    detected_frames: int
    wall_s: float
    ended_early: str | None


class _AnnotatedVideo:
    """Draws frames into segments of equally many; those that are there are not drawn again."""

    def __init__(self, folder: Path, source: FrameSource, draw: Draw, frames_each: int) -> None:
        self._folder, self._source, self._draw = folder, source, draw
        self._frames_each = frames_each
        self._stack = ExitStack()
        self._writer: SegmentWriter | None = None
        self.paths: list[Path] = []

    def add(self, frame: VideoFrame, faces: FrameFaces) -> None:
        """Draws and codes the next frame."""
        if frame.number % self._frames_each == 0:
            self.finish()
            path = self._folder / f"{len(self.paths):06d}.nut"
            self.paths.append(path)
            if not path.exists():
                writer = segment_writer(
                    path, frame.picture.shape[:2], self._source.time_base, self._source.rate
                )
                self._writer = self._stack.enter_context(writer)
        if self._writer is not None:
            self._writer.write(self._draw(frame.picture, faces), frame.ticks)

    def finish(self) -> None:
        """Completes the segment that is being written."""
        self._writer = None
        self._stack.close()

    def __enter__(self) -> _AnnotatedVideo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an error the segment is incomplete, and goes.
        self._stack.__exit__(kind, error, traceback)


def process_video(
    source: FrameSource,
    find: Find,
    following: Following,
    files: VideoFiles,
    draw: Draw | None,
    *,
    batch_size: int = 1,
    max_frames: int | None = None,
    frames_each_segment: int = 250,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], object] = lambda frames: None,
) -> VideoSummary:
    """Finds the faces of a video's frames and writes lines and the annotated video.

    What `files.lines` and `files.segments` hold is taken for the work of a run that was stopped,
    with the same source and settings: its frames are read and followed again, but neither given
    to `find` nor, where their segment is complete, drawn. The results are those of a run that was
    not stopped.

    Args:
        source: Of the frames; a live one is joined to a whole video when it is stopped.
        find: Pictures of a batch to the faces of each.
        following: Fresh, of the settings for tracking and smoothing.
        files: Where results go.
        draw: What is shown of a frame; None where `files.video` is.
        batch_size: Frames given to `find` at a time.
        max_frames: Later ones are left out.
        frames_each_segment: What a stop loses of the annotated video, at most.
        should_stop: Asked between batches.
        progress: Called with the number of frames done since the last call.

    Raises:
        InputError: The lines belong to another video.
        OutputError: The disk is full, for example.
        KeyboardInterrupt: The run was asked to stop; the next one goes on.
    """
    known = read_found(files.lines)
    # The model may see to the last digit which pictures share a batch.
    known = known[: len(known) - len(known) % batch_size]
    frames, faces, tracks, last_ticks = 0, 0, set[int](), 0
    detected, started = 0, time.perf_counter()
    with ExitStack() as stack:
        lines = stack.enter_context(closing(FrameLines(files.lines, kept=len(known))))
        video = None
        if draw is not None:
            video = _AnnotatedVideo(files.segments, source, draw, frames_each_segment)
            stack.enter_context(video)
        remaining = islice(source.frames(), max_frames)
        while batch := list(islice(remaining, batch_size)):
            fresh = frames >= len(known)
            if not fresh:
                results = _known_faces(batch, known[frames : frames + len(batch)], files.lines)
                started = time.perf_counter()
            else:
                results = find([frame.picture for frame in batch])
                detected += len(batch)
            followed = [
                following.update(
                    frame.number, frame.ticks, float(frame.ticks * source.time_base), found
                )
                for frame, found in zip(batch, results, strict=True)
            ]
            if fresh:
                lines.append(followed)
            for frame, shown in zip(batch, followed, strict=True):
                if video is not None:
                    video.add(frame, shown)
                faces += len(shown.found)
                tracks |= set() if shown.tracks is None else set(shown.tracks.tolist())
            frames, last_ticks = frames + len(batch), batch[-1].ticks
            progress(len(batch))
            if should_stop():
                if source.is_live:
                    break
                log.info("stopped after frame %d; the same command goes on from there", frames)
                raise KeyboardInterrupt
        wall_s = time.perf_counter() - started
        seconds = last_ticks * source.time_base + 1 / source.rate
        if video is not None and files.video is not None:
            video.finish()
            sound = None
            if source.sound_path is not None:
                sound = Sound(source.sound_path, source.start_s, seconds)
            join_segments(files.video, video.paths, source.time_base, sound)
            shutil.rmtree(files.segments)
    return VideoSummary(
        frames,
        faces,
        len(tracks) if following.tracks else None,
        float(seconds),
        detected,
        wall_s,
        source.ended_early,
    )


def _known_faces(
    batch: Sequence[VideoFrame], known: Sequence[tuple[int, FaceDetections]], path: Path
) -> list[FaceDetections]:
    for frame, (ticks, found) in zip(batch, known, strict=False):
        if ticks != frame.ticks or found.size_hw != frame.picture.shape[:2]:
            raise InputError(
                f"{path}: frame {frame.number} is of another video; give --overwrite or another"
                " --output_path"
            )
    return [found for _, found in known]
