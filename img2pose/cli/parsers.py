"""Parsers of command lines: each tells how it was called and shows an example."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from img2pose.cli.commands import program_name
from img2pose.errors import InputError

_MOST_WORKERS = 8

_kept: ContextVar[list[Mapping[str, Any]] | None] = ContextVar("kept_results", default=None)


class LinesKept(argparse.HelpFormatter):
    """Wraps paragraphs, and leaves texts of several lines, such as examples, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return text
        return super()._fill_text(text, width, indent)


def command_parser(
    script: str, description: str, *examples: str, notes: str = ""
) -> argparse.ArgumentParser:
    """A parser with `--json` and examples in its help.

    Args:
        script: The command's, as in `commands.COMMANDS`.
        description: What it does, in sentences.
        *examples: Arguments that show its use, a call each.
        notes: Lines after the examples, printed as they are.
    """
    program = program_name(script)
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=examples_text(program, *examples, notes=notes),
        formatter_class=LinesKept,
    )
    add_json_argument(parser)
    return parser


def examples_text(program: str, *examples: str, notes: str = "") -> str:
    """The lines of a help text that show calls; see `command_parser`."""
    calls = [f"  {program} {example}".rstrip() for example in examples]
    text = "\n".join(["example:" if len(calls) == 1 else "examples:", *calls])
    if notes:
        text += f"\n\n{notes}"
    # argparse takes percent signs for placeholders.
    return text.replace("%", "%%")


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`, which `print_results` reads."""
    parser.add_argument(
        "--json", action="store_true", help="print the results as one JSON object on stdout"
    )


def add_workers_argument(
    parser: argparse.ArgumentParser,
    text: str = "worker processes, 0 for none (default %(default)s)",
) -> None:
    """Adds `--num_workers`, one for each core but eight at most; `text` says what it means."""
    default = min(_MOST_WORKERS, os.cpu_count() or 1)
    parser.add_argument("--num_workers", type=int, default=default, help=text)


def check_workers(args: argparse.Namespace) -> None:
    """Refuses what `--num_workers` cannot be.

    Raises:
        InputError: It is below 0.
    """
    if args.num_workers is not None and args.num_workers < 0:
        raise InputError(f"--num_workers {args.num_workers}: give 0 or more")


@contextmanager
def results_kept() -> Iterator[list[Mapping[str, Any]]]:
    """Within, what commands print is also kept, for a command that calls others.

    Yields:
        The results of each call of `print_results`, in their order.
    """
    kept: list[Mapping[str, Any]] = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def print_results(
    args: argparse.Namespace, results: Mapping[str, Any], text: str | None = None
) -> None:
    """Prints what a command found: text for people or, with `--json`, one object.

    Args:
        args: Of a parser with `--json`.
        results: Plain values by name.
        text: For people; by default a line `name: value` for each result.
    """
    kept = _kept.get()
    if kept is not None:
        kept.append(results)
    if args.json:
        print(json.dumps(results, allow_nan=False))
    elif text is None:
        for name, value in results.items():
            print(f"{name.replace('_', ' ')}: {value}")
    else:
        print(text)
