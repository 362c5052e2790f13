"""The flags with which a command loads a trained model."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from img2pose.distributed import ALONE, Processes
from img2pose.errors import InputError
from img2pose.inference.detector import Detector
from img2pose.models.profiles import PROFILES
from img2pose.models.shipped import shipped_checkpoint
from img2pose.references import PoseReferences
from img2pose.types import PoseStats

_MODEL_NAMES = (
    "checkpoint",
    "device",
    "threads",
    "min_size",
    "max_size",
    "inference_profile",
    "pose_mean",
    "pose_stddev",
    "threed_5_points",
    "threed_68_points",
)


def add_model_arguments(
    parser: argparse.ArgumentParser,
    *,
    checkpoint_required: bool = False,
    min_size_help: str = "shorter side that pictures are resized to (default: the checkpoint's)",
    max_size_help: str = "longest longer side of these",
) -> None:
    """Adds the flags that `load_detector` reads.

    Args:
        parser: Where they go.
        checkpoint_required: True where figures are about a model, so that it has to be named;
            elsewhere the one that comes with the package is the default.
        min_size_help: What `--min_size` means to the command.
        max_size_help: What `--max_size` means to it.
    """
    group = parser.add_argument_group("model")
    group.add_argument(
        "--checkpoint",
        "--pretrained_path",
        required=checkpoint_required,
        help="model that train.py wrote, or published weights"
        + ("" if checkpoint_required else " (default: the one that comes with img2pose)"),
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")
    group.add_argument("--threads", type=int, help="CPU threads (default: one for each core)")
    group.add_argument(
        "--min_size",
        metavar="PIXELS",
        help=min_size_help,
    )
    group.add_argument("--max_size", metavar="PIXELS", help=max_size_help)
    group.add_argument(
        "--inference_profile",
        choices=list(PROFILES),
        help="exact, or fast with at most 300 proposals a picture (default: the checkpoint's)",
    )
    published = parser.add_argument_group("published weights only; other checkpoints carry these")
    published.add_argument("--pose_mean", help=".npy file (6,), mean of the poses in boxes")
    published.add_argument("--pose_stddev", help=".npy file (6,), their standard deviation")
    published.add_argument("--threed_5_points", help=".npy file (5, 3) of reference points")
    published.add_argument("--threed_68_points", help=".npy file (68, 3) of reference points")


def refuse_model_arguments(args: argparse.Namespace, where: str) -> None:
    """Refuses the flags of `add_model_arguments` where no model runs and they would say nothing.

    Args:
        args: Parsed flags.
        where: What makes a model needless, a flag for example.

    Raises:
        InputError: One of them was given.
    """
    for name in _MODEL_NAMES:
        if getattr(args, name) is not None:
            raise InputError(f"--{name}: is for a model, and with {where} none runs; leave it out")


def add_score_threshold_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--score_threshold`, which published commands call `--det_threshold`."""
    parser.add_argument(
        "--score_threshold",
        "--det_threshold",
        type=float,
        help="faces with a greater score count, 0 to 1 (default: the checkpoint's, 0.5 for those"
        " that name none)",
    )


def check_score_threshold(threshold: float | None) -> None:
    """Refuses what `--score_threshold` cannot be.

    Raises:
        InputError: It is given, and not between 0 and 1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--score_threshold {threshold}: must be between 0 and 1")


def checkpoint_path(args: argparse.Namespace) -> str:
    """The checkpoint that the flags of `add_model_arguments` name, or the shipped one.

    Raises:
        InputError: None is named, and the installation has none.
    """
    return str(shipped_checkpoint() if args.checkpoint is None else args.checkpoint)


def load_detector(
    args: argparse.Namespace,
    *,
    score_threshold: float | None,
    processes: Processes = ALONE,
    **overrides: Any,
) -> Detector:
    """Loads the model that the flags describe.

    Args:
        args: Parsed flags of `add_model_arguments`.
        score_threshold: The detector's; None: the checkpoint's.
        processes: Of several on a machine with GPUs, each gets its own.
        **overrides: Other fields of `ModelConfig` that a protocol sets.

    Raises:
        InputError: A file is missing or unusable, flags belong together, a value is out of range.
    """
    check_score_threshold(score_threshold)
    set_threads(args.threads)
    settings: dict[str, Any] = overrides | {
        name: value
        for name in ("min_size", "max_size", "inference_profile")
        if (value := getattr(args, name)) is not None
    }
    _check_pair(args, "pose_mean", "pose_stddev")
    _check_pair(args, "threed_5_points", "threed_68_points")
    if args.pose_mean is not None:
        settings["pose_stats"] = PoseStats.from_files(args.pose_mean, args.pose_stddev)
    if args.threed_5_points is not None:
        settings["references"] = PoseReferences.from_files(
            points_68=args.threed_68_points, points_5=args.threed_5_points
        )
    device = processes.device(args.device)
    return Detector.from_checkpoint(
        checkpoint_path(args), device=device, score_threshold=score_threshold, **settings
    )


def set_threads(threads: int | None) -> None:
    """Limits the CPU threads, if a number is given.

    Raises:
        InputError: It is less than 1.
    """
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"--threads {threads}: must be at least 1")
    torch.set_num_threads(threads)


def _check_pair(args: argparse.Namespace, first: str, second: str) -> None:
    if (getattr(args, first) is None) != (getattr(args, second) is None):
        raise InputError(f"--{first} and --{second} belong together: give both or none")
