"""What a command answers: 0 done, 1 failed, 2 bad input or usage."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from img2pose.errors import InputError, OutputError


class Main(Protocol):
    """A command: arguments (None: those of the process) -> exit code."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Runs the command."""


def exit_code_from_errors(main: Callable[[Sequence[str] | None], int]) -> Main:
    """Turns `InputError` into one line on stderr and exit code 2, `OutputError` into exit code 1.

    Any other exception is a fault of the program and keeps its traceback (exit code 1).
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
        try:
            return main(argv)
        except (InputError, OutputError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2 if isinstance(error, InputError) else 1
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130

    return wrapped
