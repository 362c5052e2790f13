"""Refuses files over 2 MB: data, weights and stores do not belong into the repository."""

from __future__ import annotations

import sys
from pathlib import Path

MAX_BYTES = 2_000_000


def main(argv: list[str]) -> int:
    """Names each file in `argv` that is too large; returns the exit code."""
    large = [
        (name, size)
        for name in argv
        if Path(name).is_file() and (size := Path(name).stat().st_size) > MAX_BYTES
    ]
    for name, size in large:
        print(f"{name}: {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f} MB; leave it out")
    return 1 if large else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
