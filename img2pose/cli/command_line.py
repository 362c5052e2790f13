"""How a command was called, for what it leaves."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence


def command_line(script: str, argv: Sequence[str] | None) -> str:
    """A command as it can be typed again.

    Args:
        script: Its file.
        argv: Its arguments; None: those of the process.
    """
    return shlex.join([script, *(sys.argv[1:] if argv is None else argv)])
