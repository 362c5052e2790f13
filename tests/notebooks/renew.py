"""Runs the notebooks and stores them with what they show: `python -m tests.notebooks.renew`.

Names, such as `pose_conventions`, choose some of them. With `IMG2POSE_CHECKPOINT` a checkpoint
other than the one that comes with the package is used.
"""

from __future__ import annotations

import resource
import sys
import time

import nbformat

from img2pose.files import replace_when_complete
from tests.notebooks.execution import PATHS, executed


def main(names: list[str]) -> int:
    known = {path.stem: path for path in PATHS}
    if unknown := [name for name in names if name not in known]:
        print(f"{unknown[0]}: no such notebook; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        began, used = time.perf_counter(), _processor_seconds()
        notebook = executed(known[name])
        with replace_when_complete(known[name]) as part:
            nbformat.write(notebook, part)
        size = known[name].stat().st_size
        seconds, processor = time.perf_counter() - began, _processor_seconds() - used
        print(f"{name}: {seconds:.1f} s ({processor:.1f} s of processor), {size / 1000:.0f} kB")
    return 0


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
