"""Refuses large files: data, weights and stores do not belong in the repository."""

from __future__ import annotations

import sys
from pathlib import Path

MAX_BYTES = 2_000_000
# The checkpoint that comes with the package.
MAX_BYTES_OF = {"img2pose/weights/synthetic_resnet18.pth": 25_000_000}


def main(argv: list[str]) -> int:
    """Names each file in `argv`, a path from the repository's root, that is too large.

    Returns:
        The exit code.
    """
    code = 0
    for name in argv:
        path = Path(name)
        limit = MAX_BYTES_OF.get(path.as_posix(), MAX_BYTES)
        if path.is_file() and (size := path.stat().st_size) > limit:
            print(f"{name}: {size / 1e6:.1f} MB, more than {limit / 1e6:.0f} MB; leave it out")
            code = 1
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
