"""Errors that are not the program's fault: bad input, and results that cannot be written."""

from __future__ import annotations


class InputError(ValueError):
    """Input the user can mend: a file, a flag, a value.

    The message is one line that names the file (or flag) and the remedy. Command lines print it
    on stderr and exit with code 2; library users may catch it as a `ValueError`.
    """


class OutputError(RuntimeError):
    """A result cannot be written: the disk is full, for example. Exit code 1.

    The message is one line that names the file and the remedy.
    """
