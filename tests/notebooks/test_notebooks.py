"""The notebooks run, and what a reader sees of them is what their cells give."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import pytest
from nbformat import NotebookNode

from tests.notebooks.execution import (
    CHECKPOINT,
    FOLDER,
    OF_THE_PACKAGE,
    PATHS,
    ROOT,
    executed,
    needs_model,
    read,
    sources_sha256,
)

NAMES = [path.stem for path in PATHS]
RENEW = "run python -m tests.notebooks.renew and commit what it writes"
ABSOLUTE_PATH = re.compile(r"(?<![\w./>-])/(?:home|root|work|tmp|usr|var|mnt|Users|opt)/|[A-Z]:\\")


def outputs_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


def texts_of(notebook: NotebookNode) -> list[str]:
    """All that can be read: sources, printed lines, tables; not the bytes of pictures."""
    texts = [cell.source for cell in notebook.cells]
    for output in outputs_of(notebook):
        texts.append(output.get("text", ""))
        texts += [
            str(text) for kind, text in output.get("data", {}).items() if "image/" not in kind
        ]
        texts.append(json.dumps(output.get("metadata", {})))
    return texts


@pytest.fixture(scope="session")
def checkpoint() -> str:
    """Which model runs: `IMG2POSE_CHECKPOINT`, else the package's."""
    given = os.environ.get(CHECKPOINT)
    return Path(given).name if given else OF_THE_PACKAGE


def test_all_notebooks_are_there() -> None:
    assert set(NAMES) == {
        "aflw_2000_3d_evaluation",
        "biwi_evaluation",
        "pose_conventions",
        "test_own_images",
        "visualize_trained_model_predictions",
    }


def kinds_of(notebook: NotebookNode) -> list[list[str]]:
    return [[out.output_type for out in cell.get("outputs", [])] for cell in notebook.cells]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name: str, request: pytest.FixtureRequest) -> None:
    path = FOLDER / f"{name}.ipynb"
    committed = read(path)
    if needs_model(committed):
        # What a reader sees is what comes with the package.
        model = request.getfixturevalue("checkpoint")
        if model == OF_THE_PACKAGE:
            assert committed.metadata.img2pose.checkpoint == OF_THE_PACKAGE, RENEW
    assert kinds_of(committed) == kinds_of(executed(path))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_is_what_its_cells_gave(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    notebook = read(path)
    assert notebook.metadata.img2pose.sources_sha256 == sources_sha256(notebook), RENEW
    outputs = outputs_of(notebook)
    assert sum("image/" in kind for out in outputs for kind in out.get("data", {})) >= 3, RENEW
    assert not [out for out in outputs if out.output_type == "error"], RENEW
    # Warnings and progress bars are no part of a page.
    assert not [out.text for out in outputs if out.get("name") == "stderr"], RENEW
    for cell in notebook.cells:
        assert cell.get("execution_count") is None, RENEW
    assert path.stat().st_size < 600_000


@pytest.mark.parametrize("name", NAMES)
def test_it_names_nobodys_folders(name: str) -> None:
    own = (str(ROOT), str(Path.home()), tempfile.gettempdir())
    for text in texts_of(read(FOLDER / f"{name}.ipynb")):
        assert not ABSOLUTE_PATH.search(text), text
        assert not [folder for folder in own if len(folder) > 1 and folder in text], text


@pytest.mark.parametrize("name", NAMES)
def test_its_code_is_the_packages(name: str) -> None:
    """Narrative and plots: what computes has a home, with tests, in the package."""
    for cell in read(FOLDER / f"{name}.ipynb").cells:
        if cell.cell_type == "code":
            assert not re.search(r"^ *(class|def) ", cell.source, re.MULTILINE)
