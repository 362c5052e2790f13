"""`img2pose COMMAND`: every script's command under one name."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from img2pose.cli.commands import COMMANDS, Command, called_by_words

_USAGE = "usage: img2pose COMMAND [ARGUMENT ...]"


def _overview(commands: Sequence[Command]) -> str:
    width = max(len(" ".join(command.words)) for command in commands)
    lines = [f"  {' '.join(c.words):{width}}  {c.summary}" for c in commands]
    return "\n".join(
        [
            _USAGE,
            "",
            *lines,
            "",
            "`img2pose COMMAND --help` shows a command's flags and an example.",
            "All end with 0 when done, 1 when they failed, and 2 for bad input; --json prints the",
            "results as one object.",
        ]
    )


def _chosen(words: Sequence[str]) -> Command | None:
    for command in COMMANDS:
        if tuple(words[: len(command.words)]) == command.words:
            return command
    return None


def _not_found(words: Sequence[str], group: Sequence[Command]) -> str:
    """One line on words that name no command, or a group of commands only."""
    if group:
        return f"img2pose {words[0]} needs one of {', '.join(c.words[1] for c in group)}"
    near = difflib.get_close_matches(words[0], [c.words[0] for c in COMMANDS], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no command {words[0]!r}{hint} (img2pose --help lists them)"


def main(argv: Sequence[str] | None = None) -> int:
    """Calls a command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(_overview(COMMANDS), file=sys.stderr)
        return 2
    if words[0] in ("-h", "--help"):
        print(_overview(COMMANDS))
        return 0
    if words[0] == "--version":
        print(f"img2pose {version('img2pose-torch')}")
        return 0
    command = _chosen(words)
    if command is None:
        group = [c for c in COMMANDS if c.words[0] == words[0]]
        if group and words[1:2] in (["-h"], ["--help"]):
            print(_overview(group))
            return 0
        print(f"error: {_not_found(words, group)}", file=sys.stderr)
        return 2
    with called_by_words():
        code: int = import_module(command.module).main(words[len(command.words) :])
    return code
