"""`train.py`: trains a model from an LMDB."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from img2pose.cli.commands import command_line
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import set_threads
from img2pose.cli.parsers import command_parser, print_results
from img2pose.config import TrainConfig, read_config, values_from_assignments
from img2pose.distributed import joined_processes
from img2pose.training.run import StoppedError, train
from img2pose.training.trainer import NotFiniteError

SCRIPT = "train.py"

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


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        SCRIPT,
        "Train img2pose. Flags win over --set, --set over --config.",
        "--config configs/helen_scratch.yaml --prefix first",
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
        help="checkpoint to continue in spite of other settings; the architecture is its own. A run"
        " that was stopped goes on when the same command is started again, without this too",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="make sure that torchrun started this; its processes share the work in any case",
    )
    parser.add_argument("--threads", type=int, help="torch's threads on the CPU")
    for flag, field in FLAGS.items():
        parser.add_argument(f"--{flag}", help=f"sets {field}")
    for flag, (_, _, text) in SWITCHES.items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    return parser


def overrides_from_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Dotted configuration values that the command line sets."""
    overrides: dict[str, Any] = dict(values_from_assignments("--set", arguments.set))
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
    arguments = build_parser().parse_args(argv)
    command = command_line(SCRIPT, sys.argv[1:] if argv is None else argv)
    with joined_processes(required=arguments.distributed) as processes:
        try:
            with processes.one_error():
                config = read_config(
                    TrainConfig, arguments.config, overrides_from_arguments(arguments)
                )
                set_threads(arguments.threads)
            best = train(config, arguments.resume_path, processes=processes, command=command)
        except StoppedError as stopped:
            if processes.is_main:
                print("stopped; the same command goes on from here", file=sys.stderr)
            return 128 + stopped.signal
        except NotFiniteError as error:
            if processes.is_main:
                print(f"error: {error}", file=sys.stderr)
            return 1
        if processes.is_main:
            print_results(arguments, {"best_checkpoint": str(best)})
    return 0
