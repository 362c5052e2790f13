"""The flags that say what is looked for in pictures, and the faces that are found with them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from img2pose.cli.model_arguments import add_score_threshold_argument, load_detector
from img2pose.config import ModelConfig
from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.images import read_image
from img2pose.inference.detector import Detector
from img2pose.models.precision import PRECISIONS

_LARGEST_PIXELS = 1e9
# Flags, and what a model's configuration calls them.
_SETTINGS = {
    "nms_threshold": "nms_threshold",
    "bbox_x_factor": "box_x_factor",
    "bbox_y_factor": "box_y_factor",
    "expand_forehead": "box_forehead",
}


def add_detection_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `load_detector_as_asked` and `faces_in` read."""
    add_score_threshold_argument(parser)
    group = parser.add_argument_group("detection")
    add_intrinsics_argument(
        group, "(default: focal length width + height, principal point in the middle)"
    )
    group.add_argument(
        "--batch_size",
        type=int,
        default=1,
        help="pictures that run together, of equal size once resized (default %(default)s)",
    )
    group.add_argument(
        "--precision",
        choices=list(PRECISIONS),
        help="of the networks (default float32)",
    )
    group.add_argument(
        "--nms_threshold",
        type=float,
        help="IoU of boxes above which the face with the lower score is dropped (default: the"
        " checkpoint's, 0.5 as published)",
    )
    for flag, meaning in (
        ("--bbox_x_factor", "width of a face's box over that of its 68 points (1.1)"),
        ("--bbox_y_factor", "the same of the height (1.1)"),
        ("--expand_forehead", "share of the points' extent added at the forehead (0.3)"),
    ):
        group.add_argument(flag, type=float, metavar="FACTOR", help=meaning)


def add_intrinsics_argument(parser: Any, default: str) -> None:
    """Adds `--intrinsics` to a parser or a group of it; `default` says what holds without."""
    parser.add_argument(
        "--intrinsics",
        metavar="FX,FY,CX,CY",
        help=f"the pictures' camera in pixels; poses are re-expressed for it {default}",
    )


def parse_intrinsics(text: str) -> np.ndarray:
    """A camera matrix (3, 3) from `fx,fy,cx,cy`.

    Raises:
        InputError: These are not four numbers, the first two above 0, that a camera can have.
    """
    try:
        fx, fy, cx, cy = (float(number) for number in text.split(","))
    except ValueError as error:
        raise InputError(f"--intrinsics {text}: must be fx,fy,cx,cy in pixels") from error
    # Numbers far beyond those of cameras would leave floats on the way.
    if not (np.abs([fx, fy, cx, cy]).max() <= _LARGEST_PIXELS and fx >= 1 and fy >= 1):
        raise InputError(
            f"--intrinsics {text}: must be focal lengths of at least 1 and a principal point, in"
            f" pixels, none beyond {_LARGEST_PIXELS:.0e}"
        )
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _camera(args: argparse.Namespace) -> np.ndarray | None:
    return None if args.intrinsics is None else parse_intrinsics(args.intrinsics)


def check_setting(flag: str, field: str, value: float) -> None:
    """Refuses a value that a model's configuration does not take.

    Args:
        flag: Its name on the command line.
        field: Its name in `ModelConfig`.
        value: What was given.

    Raises:
        InputError: It is out of range; the flag is named.
    """
    settings: dict[str, Any] = {field: value}
    try:
        ModelConfig(**settings)
    except InputError as error:
        # The checkpoint, which loading would name, is not at fault.
        raise InputError(f"--{flag} {value}: {str(error).removeprefix(f'{field}: ')}") from error


def load_detector_as_asked(args: argparse.Namespace, **overrides: Any) -> Detector:
    """Loads the model with what `add_detection_arguments` says.

    Args:
        args: Parsed flags of it and of `add_model_arguments`.
        **overrides: As of `load_detector`.

    Raises:
        InputError: As `load_detector`, or a number is out of range.
    """
    if args.batch_size < 1:
        raise InputError(f"--batch_size {args.batch_size}: must be at least 1")
    _camera(args)
    for flag, field in _SETTINGS.items():
        if (value := getattr(args, flag)) is not None:
            check_setting(flag, field, value)
            overrides[flag] = value
    if args.precision is not None:
        overrides["precision"] = args.precision
    return load_detector(args, score_threshold=args.score_threshold, **overrides)


def faces_in(
    images: Sequence[Path], detector: Detector, args: argparse.Namespace
) -> Iterator[tuple[Path, np.ndarray, FaceDetections]]:
    """Finds the faces of pictures; memory does not grow with their number.

    Args:
        images: Files.
        detector: Of `load_detector_as_asked`.
        args: Parsed flags of `add_detection_arguments`.

    Yields:
        Each picture's path, pixels (H, W, 3) uint8 RGB and faces.
    """
    stream = detector.predict_stream(images, _camera(args), args.batch_size)
    for image, found in zip(images, stream, strict=True):
        # Read again: those that run ahead are not held as they were.
        yield image, read_image(image), found
