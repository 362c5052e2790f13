"""Puts the figures of evaluations into a model card."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import command_parser, print_results
from img2pose.errors import InputError
from img2pose.evaluation.model_card import (
    FIGURES_BEGIN,
    FIGURES_END,
    CardEvaluation,
    CardFile,
    figures_text,
    filled_card,
)
from img2pose.evaluation.model_differences import ModelDifferences
from img2pose.files import file_sha256, told_when_unwritable, write_text
from img2pose.models.weights import load_model, read_checkpoint


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/fill_model_card.py",
        "Write what is known of a checkpoint into a model card: its file, figures of evaluations,"
        " by face size and yaw too, and what compression cost. The card is Markdown; what is"
        f" between the lines {FIGURES_BEGIN} and {FIGURES_END} is replaced. Figures of another"
        " model, or of other settings than the checkpoint's own, are refused.",
        "compact.pth --card MODEL_CARD.md --compression compact.json"
        " --evaluation 'Helen, 870 photographs' out/helen/summary.json",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="what the card is about")
    parser.add_argument("--card", required=True, metavar="FILE", help="the card, which is changed")
    parser.add_argument(
        "--evaluation",
        nargs=2,
        action="append",
        default=[],
        metavar=("TITLE", "SUMMARY"),
        help="words for what was judged, and the summary.json of scripts/evaluate_landmarks.py; of"
        " the checkpoint, or of the one that it was compressed from; may be repeated",
    )
    parser.add_argument(
        "--compression",
        metavar="FILE",
        help="the report of scripts/compress_checkpoint.py, which lies beside its checkpoint",
    )
    return parser


def _read_json(path: str, remedy: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON; {remedy}") from error


def read_card_file(path: Path) -> CardFile:
    """What a card says of a checkpoint.

    Raises:
        InputError: It is none, or none of ours.
    """
    model = load_model(path)
    content = read_checkpoint(path)
    return CardFile(
        path.name,
        file_sha256(path, "give a checkpoint"),
        path.stat().st_size,
        model.config,
        sum(parameter.numel() for parameter in model.parameters()),
        content.get("weights"),
        content.get("source_sha256"),
    )


def _read_loss(path: str, card_file: CardFile) -> ModelDifferences:
    remedy = "give the report of scripts/compress_checkpoint.py --images"
    report = _read_json(path, remedy)
    try:
        sha256, loss = report["sha256"], ModelDifferences.from_dict(report["loss"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: says nothing of what compression costs; {remedy}") from error
    if sha256 != card_file.sha256:
        raise InputError(f"{path}: is not about {card_file.name}; {remedy}")
    return loss


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    try:
        card = Path(args.card).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{args.card}: cannot be read; give a card in Markdown") from error
    card_file = read_card_file(Path(args.checkpoint))
    evaluations = [
        CardEvaluation.of_summary(title, _read_json(path, "give a summary.json"), card_file, path)
        for title, path in args.evaluation
    ]
    loss = None if args.compression is None else _read_loss(args.compression, card_file)
    filled = filled_card(card, figures_text(card_file, evaluations, loss), args.card)
    with told_when_unwritable(args.card):
        write_text(args.card, filled)
    results = {
        "sha256": card_file.sha256,
        "bytes": card_file.size_bytes,
        "evaluations": len(evaluations),
        "results": args.card,
    }
    print_results(args, results)
    return 0
