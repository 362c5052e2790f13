"""Finds the faces of a video, frame by frame: a line of JSON a frame and an annotated copy."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from img2pose.cli.detection_arguments import parse_intrinsics
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import (
    add_model_arguments,
    add_score_threshold_argument,
    load_detector,
)
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.prediction_arguments import model_provenance
from img2pose.errors import InputError
from img2pose.files import check_output_folder, file_sha256
from img2pose.inference.detector import Detector
from img2pose.inference.video.records import FrameFaces
from img2pose.inference.video.results import VideoFiles
from img2pose.inference.video.smoothing import SmoothingSettings
from img2pose.inference.video.tracking import TrackingSettings
from img2pose.interrupts import stop_on_signals
from img2pose.references import PoseReferences
from img2pose.visualization import (
    draw_dense_points,
    draw_faces,
    draw_landmarks,
    draw_overlay,
    draw_pose_boxes,
    draw_wireframe,
)

if TYPE_CHECKING:
    from img2pose.inference.video.processing import VideoSummary
    from img2pose.inference.video.sources import FrameSource

log = logging.getLogger(__name__)

FRAMES_EACH_SEGMENT = 250
"""What a stop loses of the annotated video, at most."""

# What is drawn first lies below.
_BELOW: Mapping[str, Callable[[np.ndarray, FrameFaces, PoseReferences], np.ndarray]] = {
    "overlay": lambda picture, faces, _: draw_overlay(picture, faces.shown, supersampling=1),
    "wireframe": lambda picture, faces, _: draw_wireframe(picture, faces.shown),
    "dense": lambda picture, faces, _: draw_dense_points(picture, faces.shown),
    "landmarks": lambda picture, faces, references: draw_landmarks(
        picture, faces.shown, references
    ),
    "box": lambda picture, faces, references: draw_pose_boxes(picture, faces.shown, references),
}
DRAWINGS = (*_BELOW, "rectangle", "axes")
_NEED_MESH = ("overlay", "wireframe", "dense", "landmarks")


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/run_video.py",
        "Find the faces of a video and their poses. Writes NAME_faces.jsonl, a line a frame with"
        " its time and faces (score, box, pose, Euler angles, and if asked for track and smoothed"
        " pose), NAME_faces.mp4, the annotated video with the sound of the original (.mkv where"
        " MP4 cannot take that sound), and NAME_run.json, what they were made with. A run that was"
        " stopped goes on when the same command is given again, and its results are those of a run"
        " that was not. A camera or stream is recorded, without sound, until Ctrl-C, --max_frames"
        " or its end. Needs PyAV: pip install '.[video]'.",
        "party.mp4",
        "party.mp4 --checkpoint best.pth --output_path out --track --smooth --batch_size 8",
        "0 --checkpoint best.pth --output_path out --max_frames 900 --draw overlay",
    )
    parser.add_argument(
        "source", metavar="VIDEO", help="file, URL of a stream, or number of a camera (0 is first)"
    )
    parser.add_argument(
        "--output_path",
        default="img2pose_out",
        help="folder for the results (default %(default)s); what is there of another source or"
        " with other settings is not overwritten without --overwrite",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="begin anew where there are results; without, they are completed, if source, model"
        " and settings are the same",
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        default=1,
        help="frames given to the model at a time (default %(default)s)",
    )
    parser.add_argument("--max_frames", type=int, help="stop after so many frames (default: all)")
    parser.add_argument(
        "--intrinsics",
        metavar="FX,FY,CX,CY",
        help="the camera in pixels of the upright picture (default: focal length width + height,"
        " principal point in the middle)",
    )
    add_score_threshold_argument(parser)
    parser.add_argument(
        "--draw",
        default="rectangle,axes",
        metavar="LIST",
        help=f"what the video shows, separated by commas: {', '.join(DRAWINGS)} (box is one in"
        " space), or none for no video (default %(default)s)",
    )
    follow = parser.add_argument_group("following faces")
    follow.add_argument(
        "--track", action="store_true", help="number faces such that a number stays with its face"
    )
    follow.add_argument(
        "--track_iou",
        type=float,
        default=0.2,
        metavar="IOU",
        help="overlap from which on a face is that of the frame before (default %(default)s)",
    )
    follow.add_argument(
        "--track_gap",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="how long a face may be missed and keep its number (default %(default)s)",
    )
    follow.add_argument(
        "--smooth",
        action="store_true",
        help="also give and draw poses smoothed over the frames of a track (implies --track)",
    )
    follow.add_argument(
        "--smooth_cutoff",
        type=float,
        default=1.0,
        metavar="HERTZ",
        help="of a face at rest; lower is calmer (default %(default)s)",
    )
    follow.add_argument(
        "--smooth_beta",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="higher lags less behind quick moves (default %(default)s)",
    )
    add_model_arguments(parser)
    return parser


def parse_drawings(text: str) -> tuple[str, ...]:
    """Names of drawings in the order of `DRAWINGS`, each once; empty for `none`.

    Raises:
        InputError: One is unknown, or none is named.
    """
    asked = {name.strip() for name in text.split(",")} - {""}
    if asked == {"none"}:
        return ()
    unknown = asked - set(DRAWINGS)
    if unknown or not asked:
        named = ", ".join(sorted(unknown)) or "nothing"
        raise InputError(f"--draw {named}: must be among {', '.join(DRAWINGS)}, or be none alone")
    return tuple(name for name in DRAWINGS if name in asked)


def draw_frame(
    picture: np.ndarray,
    faces: FrameFaces,
    drawings: Sequence[str],
    references: PoseReferences,
) -> np.ndarray:
    """A frame with what is known of its faces.

    Args:
        picture: (H, W, 3) uint8 RGB.
        faces: Of the frame.
        drawings: Names of `DRAWINGS`.
        references: The reference face of the poses.

    Returns:
        A new picture (H, W, 3).
    """
    for name in drawings:
        if name in _BELOW:
            picture = _BELOW[name](picture, faces, references)
    labels = None
    if faces.tracks is not None:
        labels = [
            f"#{track} {score:.2f}"
            for track, score in zip(faces.tracks, faces.shown.scores, strict=True)
        ]
    return draw_faces(
        picture,
        faces.shown,
        references,
        axes="axes" in drawings,
        boxes="rectangle" in drawings,
        scores="rectangle" in drawings,
        labels=labels,
    )


def _check_numbers(args: argparse.Namespace) -> None:
    for name in ("batch_size", "max_frames"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} {value}: must be at least 1")


def _check_video_package() -> None:
    try:
        import av  # noqa: F401 (an optional package)
    except ImportError as error:
        raise InputError(
            "videos need the package av; run pip install '.[video]' in the checkout"
        ) from error


def _follow_settings(
    args: argparse.Namespace,
) -> tuple[TrackingSettings | None, SmoothingSettings | None]:
    tracking = TrackingSettings(args.track_iou, args.track_gap)
    default = SmoothingSettings()
    smoothing = replace(
        default,
        min_cutoff_hz=args.smooth_cutoff,
        rotation_beta=args.smooth_beta * default.rotation_beta,
        direction_beta=args.smooth_beta * default.direction_beta,
        distance_beta=args.smooth_beta * default.distance_beta,
    )
    return (
        tracking if args.track or args.smooth else None,
        smoothing if args.smooth else None,
    )


def _faces_provenance(
    args: argparse.Namespace,
    source: FrameSource,
    tracking: TrackingSettings | None,
    smoothing: SmoothingSettings | None,
) -> dict[str, Any]:
    from img2pose.inference.video.sources import without_credentials

    sha256 = None if source.is_live else file_sha256(args.source, "check the path")
    model = model_provenance(args, lowest_score=args.score_threshold, detection={})
    return {
        "source": without_credentials(args.source) if source.is_live else Path(args.source).name,
        "source_sha256": sha256,
        **{name: value for name, value in model.items() if name != "detection"},
        "intrinsics": args.intrinsics,
        "max_frames": args.max_frames,
        "batch_size": args.batch_size,
        "tracking": None if tracking is None else asdict(tracking),
        "smoothing": None if smoothing is None else asdict(smoothing),
    }


def _warn_of_mesh(references: PoseReferences, drawings: Sequence[str]) -> None:
    unfit = [name for name in drawings if name in _NEED_MESH]
    if unfit and references.sha256 != PoseReferences.default().sha256:
        log.warning(
            "the model's reference points are not those of the mesh: %s will not fit",
            ", ".join(unfit),
        )


def _process(
    args: argparse.Namespace,
    source: FrameSource,
    detector: Detector,
    camera: np.ndarray | None,
    drawings: Sequence[str],
    files: VideoFiles,
) -> VideoSummary:
    from img2pose.inference.video.processing import Following, process_video

    _warn_of_mesh(detector.references, drawings)
    expected = [number for number in (source.expected_frames, args.max_frames) if number]
    with (
        stop_on_signals() as stop,
        tqdm(
            desc="detecting",
            unit="frame",
            total=min(expected, default=None),
            disable=None,
            file=sys.stderr,
        ) as bar,
    ):
        return process_video(
            source,
            lambda pictures: detector.predict(pictures, camera, batch_size=len(pictures)),
            Following(*_follow_settings(args), detector.references),
            files,
            partial(draw_frame, drawings=drawings, references=detector.references)
            if drawings
            else None,
            batch_size=args.batch_size,
            max_frames=args.max_frames,
            frames_each_segment=FRAMES_EACH_SEGMENT,
            should_stop=lambda: bool(stop),
            progress=bar.update,
        )


def _say(
    args: argparse.Namespace,
    files: VideoFiles,
    summary: Mapping[str, Any],
    frames_per_second: float | None = None,
) -> None:
    if summary["ended_early"]:
        log.warning(
            "%s: ends after frame %d, %s; what came before is kept",
            summary["source"],
            summary["frames"],
            summary["ended_early"],
        )
    results = {name: summary[name] for name in ("frames", "faces", "tracks", "seconds")}
    results |= {"results": str(files.lines), "video": files.video and str(files.video)}
    results["frames_per_second"] = frames_per_second and round(frames_per_second, 2)
    if args.json:
        print_results(args, results | {"ended_early": summary["ended_early"]})
    else:
        print_results(args, {k: v for k, v in results.items() if v is not None})


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    drawings = parse_drawings(args.draw)
    camera = None if args.intrinsics is None else parse_intrinsics(args.intrinsics)
    _check_numbers(args)
    output = Path(args.output_path)
    check_output_folder(output)
    _check_video_package()
    from img2pose.inference.video.segments import sounds_of, suffix_for_sounds
    from img2pose.inference.video.sources import open_source

    tracking, smoothing = _follow_settings(args)
    with closing(open_source(args.source)) as source:
        suffix = None
        if drawings:
            sounds = [] if source.sound_path is None else sounds_of(source.sound_path)
            suffix = suffix_for_sounds(sounds)
        files = VideoFiles.of(output, source.name, suffix)
        provenance = _faces_provenance(args, source, tracking, smoothing)
        drawing = {"draw": drawings, "frames_each_segment": FRAMES_EACH_SEGMENT}
        done = files.finished(
            provenance, drawing, overwrite=args.overwrite, repeatable=not source.is_live
        )
        if done is not None:
            log.info("%s: complete already", files.run)
            _say(args, files, done)
            return 0
        detector = load_detector(args, score_threshold=args.score_threshold)
        files.begin(provenance, drawing, overwrite=args.overwrite)
        found = _process(args, source, detector, camera, drawings, files)
    summary = {
        "source": provenance["source"],
        "frames": found.frames,
        "faces": found.faces,
        "tracks": found.tracks,
        "seconds": found.seconds,
        "ended_early": found.ended_early,
    }
    files.complete(summary)
    speed = found.detected_frames / found.wall_s if found.detected_frames else None
    _say(args, files, summary, speed)
    return 0
