"""Where compiled loops are kept, and that they draw where nothing can be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# One small loop compiled as those of the package are: numba's cache depends on where its file lies.
LOOP = """
from sim3dr.kernels import _compiled, _f8

@_compiled(_f8)
def twice(number):
    return 2.0 * number
"""
CALL = "import loop; print(loop.twice(1.5), sum(loop.twice.stats.cache_hits.values()))"


def _call(folder: Path) -> str:
    """What a new process prints that runs the loop; it may keep files in `user_cache`."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "XDG_CACHE_HOME": str(folder / "user_cache"),
        "HOME": str(folder / "user_cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CALL], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loop.py").write_text(LOOP)
    return tmp_path


def _block(path: Path) -> None:
    # A file in a folder's place keeps even root from writing there.
    path.write_text("")


def _indices(folder: Path) -> list[Path]:
    return list(folder.rglob("loop.twice*.nbi"))


def test_compiled_loops_are_kept_beside_their_file(folder: Path) -> None:
    assert _call(folder) == "3.0 0\n"
    (index,) = _indices(folder)
    assert index.parent == folder / "__pycache__"
    assert _call(folder) == "3.0 1\n"
    # A damaged one is not used, and stops nothing.
    index.write_bytes(index.read_bytes()[:-20])
    assert _call(folder) == "3.0 0\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the user's cache lies elsewhere")
def test_where_that_may_not_be_written_the_users_cache_keeps_them(folder: Path) -> None:
    _block(folder / "__pycache__")
    assert _call(folder) == "3.0 0\n"
    (index,) = _indices(folder)
    assert index.is_relative_to(folder / "user_cache")
    assert _call(folder) == "3.0 1\n"


def test_where_neither_may_be_written_they_are_compiled_each_time(folder: Path) -> None:
    _block(folder / "__pycache__")
    _block(folder / "user_cache")
    assert _call(folder) == "3.0 0\n"
    assert not _indices(folder)
