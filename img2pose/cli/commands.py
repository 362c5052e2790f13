"""The commands there are, each by its names: a script's path and words after `img2pose`.

Only names are here: what a command needs is imported when it is called.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        words: That follow `img2pose`, as `("evaluate", "wider")`.
        script: Path of the script that does the same, from the repository's root.
        summary: What it does, in half a line.
    """

    words: tuple[str, ...]
    script: str
    summary: str

    @property
    def module(self) -> str:
        """Full name of the module whose `main(argv)` it is."""
        name = self.script.removeprefix("scripts/").removesuffix(".py")
        return f"img2pose.cli.{name}"


COMMANDS = tuple(
    Command(tuple(words.split()), script, summary)
    for words, script, summary in (
        (
            "demo",
            "scripts/demo.py",
            "make faces, train on them, judge the model, draw what it finds",
        ),
        ("predict", "scripts/predict.py", "find faces and their poses in pictures"),
        ("align", "scripts/run_face_alignment.py", "cut faces out, upright and equally large"),
        ("video", "scripts/run_video.py", "find and follow the faces of a video or camera"),
        ("demo-app", "scripts/demo_app.py", "serve a page that shows a photograph's faces"),
        ("render", "scripts/render.py", "draw heads, depth, landmarks, textures and meshes"),
        ("export", "scripts/export_onnx.py", "write a model as ONNX, for use without torch"),
        (
            "compress",
            "scripts/compress_checkpoint.py",
            "store a checkpoint in fewer bytes and say what that costs",
        ),
        (
            "card",
            "scripts/fill_model_card.py",
            "put the figures of evaluations into a model card",
        ),
        ("train", "train.py", "train a model from an LMDB"),
        ("evaluate wider", "evaluate_wider.py", "WIDER FACE: files to submit and precision"),
        ("evaluate aflw2000", "scripts/evaluate_aflw2000.py", "head poses of AFLW2000-3D"),
        ("evaluate biwi", "scripts/evaluate_biwi.py", "head poses of BIWI"),
        ("evaluate landmarks", "scripts/evaluate_landmarks.py", "any list of annotations or LMDB"),
        ("score-wider", "scripts/score_wider.py", "precision of any detector's WIDER files"),
        ("convert", "scripts/convert_json_list_to_lmdb.py", "annotations to an LMDB with poses"),
        ("import", "scripts/import_annotations.py", "labels of other data sets to annotations"),
        (
            "synthesize",
            "scripts/make_synthetic_dataset.py",
            "draw photographs of faces with exactly known poses",
        ),
        ("annotate", "scripts/annotate_dataset.py", "label photographs with a face detector"),
        ("validate", "scripts/validate_dataset.py", "check annotations or an LMDB"),
        ("inspect", "scripts/inspect_lmdb.py", "show what an LMDB holds"),
        ("plot", "scripts/plot_run.py", "draw the curves of training runs"),
        ("download", "scripts/download_weights.py", "fetch the published weights"),
        ("benchmark", "scripts/benchmark.py", "measure speed on this machine"),
    )
)

_called_by_words: ContextVar[bool] = ContextVar("called_by_words", default=False)


@contextmanager
def called_by_words() -> Iterator[None]:
    """Within, commands call themselves `img2pose WORDS` in their help and in what they record."""
    token = _called_by_words.set(True)
    try:
        yield
    finally:
        _called_by_words.reset(token)


def program_name(script: str) -> str:
    """How a command was called: `python scripts/NAME.py` or `img2pose WORDS`.

    Args:
        script: `Command.script` of the command.

    Raises:
        KeyError: There is no such command.
    """
    for command in COMMANDS:
        if command.script == script:
            if _called_by_words.get():
                return " ".join(("img2pose", *command.words))
            return f"python {script}"
    raise KeyError(script)


def command_line(script: str, argv: Sequence[str]) -> str:
    """A call as it can be given again in a shell, for records of what was run."""
    return shlex.join([*program_name(script).split(), *argv])
