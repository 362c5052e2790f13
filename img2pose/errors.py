"""The one exception that means: the user's input is wrong, not the program."""

from __future__ import annotations


class InputError(ValueError):
    """Input the user can mend: a file, a flag, a value.

    The message is one line that names the file (or flag) and the remedy. Command lines print it
    on stderr and exit with code 2; library users may catch it as a `ValueError`.
    """
