"""Runs the notebooks of `notebooks/` in a kernel of their own, and what is kept of them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
# What a reader may set to see other data; the committed outputs are of what is made.
OWN_DATA = ("IMG2POSE_DATASET", "IMG2POSE_OUTPUT")
# Long, for machines that do much else meanwhile.
_CELL_SECONDS = 1200
CHECKPOINT = "IMG2POSE_CHECKPOINT"
OF_THE_PACKAGE = "of the package"


def read(path: Path) -> NotebookNode:
    """A notebook file, checked against the format."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def sources_sha256(notebook: NotebookNode) -> str:
    """Hash of what is written in the cells, without what came out of them."""
    digest = hashlib.sha256()
    for cell in notebook.cells:
        digest.update(f"{cell.cell_type}\0{cell.source}\0".encode())
    return digest.hexdigest()


def executed(path: Path) -> NotebookNode:
    """The notebook with its outputs, run by this Python and this checkout's package.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = read(path)
    with tempfile.TemporaryDirectory() as settings:
        # Nobody's own start-up files of IPython, and the backend for plots that kernels choose.
        left_out = (*OWN_DATA, "MPLBACKEND")
        environment = {key: value for key, value in os.environ.items() if key not in left_out}
        environment |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": settings}
        client = NotebookClient(
            notebook,
            # Sockets of files, which nobody else can listen to, rather than ports.
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{settings}/kernel"}}),
            kernel_name="python3",
            startup_timeout=_CELL_SECONDS,
            timeout=_CELL_SECONDS,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(FOLDER)}},
        )
        client.execute(env=environment)
    return cleaned(notebook)


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """Without numbers, times and versions that change from one run to the next."""
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = None
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            # Tells whether the outputs are those of the cells as they now are, and of which model.
            "img2pose": {
                "sources_sha256": sources_sha256(notebook),
                "checkpoint": _checkpoint_name(notebook),
            },
        }
    )
    return notebook


def needs_model(notebook: NotebookNode) -> bool:
    """Whether a checkpoint is loaded."""
    return any(CHECKPOINT in cell.source for cell in notebook.cells)


def _checkpoint_name(notebook: NotebookNode) -> str | None:
    if not needs_model(notebook):
        return None
    given = os.environ.get(CHECKPOINT)
    return Path(given).name if given else OF_THE_PACKAGE
