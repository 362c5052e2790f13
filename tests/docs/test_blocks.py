"""Every block of code in README and docs: run, or marked with the reason why it is not.

`python` blocks of a page run in order, as one session. Each line of a `bash` block must name a
program that is there, with flags that its parser takes; a block without a marker is run too. Blocks
of `json`, `yaml` and `csv` are read by what reads such files. A comment `<!-- not run: REASON -->`
before a block keeps it from being run, not from being checked.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml

from img2pose.config import TrainConfig, config_from_mapping
from img2pose.data.annotations import parse_annotation
from img2pose.data.importers.csv_table import parse_faces
from img2pose.detections import FaceDetections
from img2pose.inference.predictions_file import ImageFaces
from tests.docs.pages import Block, page_paths, read_page
from tests.docs.shell import ShellError, check_line, command_lines, run_line
from tests.docs.workspace import copy_workspace, make_workspace

PAGES = page_paths()
RUN = ("python", "bash")
READ = ("json", "yaml", "csv")
# For people: nothing could check them.
SHOWN = ("text", "bibtex")


def blocks(path: str, *languages: str) -> list[Block]:
    return [block for block in read_page(path).blocks if block.language in languages]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(copy_workspace(prepared, tmp_path))
    return tmp_path


def check_shell(block: Block) -> None:
    for line in command_lines(block.text):
        try:
            check_line(line)
        except ShellError as error:
            raise AssertionError(f"{block.where}: {error}") from error


def check_file(block: Block) -> None:
    if block.language == "yaml":
        config_from_mapping(TrainConfig, yaml.safe_load(block.text), block.where)
        return
    if block.language == "csv":
        parse_faces(block.text, block.where)
        return
    value = json.loads(block.text)
    for entry in value if isinstance(value, list) else [value]:
        if "bboxes" in entry:
            parse_annotation(json.dumps(entry), Path(block.where))
        if "image" in entry:
            ImageFaces.from_dict(entry)
        if "faces" in entry:
            FaceDetections.from_dict(entry)


@pytest.mark.parametrize("path", PAGES)
def test_blocks_could_be_run(path: str) -> None:
    for block in read_page(path).blocks:
        assert block.language in (*RUN, *READ, *SHOWN), block.where
        if block.language == "bash":
            check_shell(block)
        elif block.language == "python":
            ast.parse(block.text, block.where)
        elif block.language in READ:
            check_file(block)


RUNNING = [path for path in PAGES if any(not b.not_run for b in blocks(path, *RUN))]


@pytest.mark.parametrize("path", RUNNING)
def test_blocks_run(path: str, workspace: Path) -> None:
    session: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(path, *RUN):
        if block.not_run is not None:
            continue
        if block.language == "bash":
            for line in command_lines(block.text):
                run_line(line)
        else:
            # So that a traceback has the page's own line.
            lines = "\n" * block.line + block.text
            exec(compile(lines, block.page, "exec"), session)


def test_reasons_are_given_in_words() -> None:
    for path in PAGES:
        for block in read_page(path).blocks:
            assert block.not_run is None or len(block.not_run.split()) > 1, block.where


@pytest.mark.parametrize(
    "line",
    [
        "python scripts/predict.py photo.jpg --no_such_flag",
        "img2pose compress --output_path small.pth",
        "img2pose predikt photo.jpg --output_path out --checkpoint best.pth",
        "python scripts/no_such.py",
        "python train.py --set model.no_such=1",
        "python train.py --config configs/no_such.yaml",
        "torchrun --no_such_flag=2 train.py",
        "torchrun --nproc_per_node=2 train.py --no_such_flag",
        "pip install '.[no_such]'",
        "make no-such",
        "python -m tests.no_such",
        "rm -rf out",
        "cat a.txt | no_such",
    ],
)
def test_faulty_lines_are_seen(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ShellError):
        check_line(line)
