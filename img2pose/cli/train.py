"""`train.py`: trains a model from an LMDB."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from typing import Any

import torch

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.config import TrainConfig, read_config
from img2pose.errors import InputError
from img2pose.training.trainer import train

logger = logging.getLogger(__name__)

# Published flag -> configuration field. Switches are listed apart.
FLAGS = {
    "workspace": "workspace",
    "prefix": "prefix",
    "pretrained_path": "pretrained_path",
    "device": "device",
    "train_source": "data.train_source",
    "val_source": "data.val_source",
    "pose_mean": "data.pose_mean",
    "pose_stddev": "data.pose_stddev",
    "threed_68_points": "data.threed_68_points",
    "threed_5_points": "data.threed_5_points",
    "workers": "data.workers",
    "batch_size": "optim.batch_size",
    "epochs": "optim.epochs",
    "lr": "optim.lr",
    "optimizer": "optim.optimizer",
    "min_size": "model.min_size",
    "max_size": "model.max_size",
    "depth": "model.depth",
}
SWITCHES: dict[str, tuple[str, Any, str]] = {
    "lr_plateau": ("optim.schedule", "plateau", "a tenth of the rate when validation stalls"),
    "early_stop": ("optim.early_stop_patience", 5, "stop after 5 validations without gain"),
    "random_flip": ("data.random_flip", True, "mirror one picture in two"),
    "random_crop": ("data.random_crop", True, "crop one picture in two to 0.7-1.0"),
    "noise_augmentation": ("data.noise_augmentation", True, "noise on one picture in five"),
    "contrast_augmentation": ("data.contrast_augmentation", True, "0.5-1.5 of the contrast"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train img2pose. Flags win over --set, --set over --config.",
        epilog="example: python train.py --config configs/helen_scratch.yaml --prefix first",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file, see configs/")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one configuration value, for example model.fpn_channels=128; may be repeated",
    )
    parser.add_argument(
        "--resume_path",
        help="checkpoint of the same run to continue; architecture and rates are its own",
    )
    parser.add_argument("--threads", type=int, help="torch's threads on the CPU")
    for flag, field in FLAGS.items():
        parser.add_argument(f"--{flag}", help=f"sets {field}")
    for flag, (_, _, text) in SWITCHES.items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    return parser


def overrides_from_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Dotted configuration values that the command line sets."""
    overrides: dict[str, Any] = {}
    for assignment in arguments.set:
        key, separator, value = assignment.partition("=")
        if not separator or not key.strip():
            raise InputError(f"--set {assignment}: give KEY=VALUE")
        overrides[key.strip()] = value.strip()
    for flag, field in FLAGS.items():
        if getattr(arguments, flag) is not None:
            overrides[field] = getattr(arguments, flag)
    for flag, (field, value, _) in SWITCHES.items():
        if getattr(arguments, flag):
            overrides[field] = value
    return overrides


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Trains; returns the exit code."""
    arguments = _parser().parse_args(argv)
    config = read_config(TrainConfig, arguments.config, overrides_from_arguments(arguments))
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise InputError(f"--threads {arguments.threads}: give at least 1")
        torch.set_num_threads(arguments.threads)
    try:
        best = train(config, arguments.resume_path)
    except FloatingPointError as error:
        logger.error("%s", error)
        return 1
    print(f"best checkpoint: {best}")
    return 0
