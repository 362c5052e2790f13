"""What the demo consists of: commands, each printed and then called as a user would."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from img2pose.cli.commands import COMMANDS, command_line
from img2pose.cli.parsers import results_kept
from img2pose.cli.predict import PREDICTIONS_FILE
from img2pose.cli.prediction_arguments import PREDICTIONS_FOLDER
from img2pose.data.annotations import Annotation, read_annotation, read_annotation_list
from img2pose.data.synthetic.writer import LIST_FILE
from img2pose.training.logging import METRICS_FILE, read_metrics
from img2pose.training.run_folder import RunFolder

TRAIN_SEED, HELD_OUT_SEED = 1, 2
SHOWN_PICTURES = 4
LOOKS = (
    *("--size", "224", "--negatives", "0.08", "--crowds", "0", "--groups", "0.15"),
    *("--pairs", "0.45", "--pose_spread", "0.5", "--min_face", "20", "--min_visible", "0.5"),
)
"""What the pictures are like: faces larger, turned less and hidden less than by default."""


class StepError(Exception):
    """A command did not end well; it has said why.

    Attributes:
        code: Its exit code.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exit code {code}")


@dataclass(frozen=True)
class DemoSettings:
    """What decides the demo's results.

    Attributes:
        count: Pictures to train on.
        held_out: Pictures to judge the model on.
        epochs: Passes over the former; None: as the configuration says.
        config: Path of the training's configuration.
    """

    count: int
    held_out: int
    epochs: int | None
    config: str


@dataclass(frozen=True)
class StepRecord:
    """A step that is done.

    Attributes:
        name: What it does, in a few words.
        command: As it can be given again.
        seconds: Wall clock.
        done: What was made, and what was there already, in words.
        is_reused: Nothing that takes long was to be done.
    """

    name: str
    command: str
    seconds: float
    done: str
    is_reused: bool


@dataclass(frozen=True)
class DemoFolder:
    """Where everything lies.

    Attributes:
        path: The demo's folder.
    """

    path: Path

    @property
    def train(self) -> Path:
        """Drawn pictures to train on, and their annotations."""
        return self.path / "train"

    @property
    def held_out(self) -> Path:
        """Likewise, of other people, to judge the model on."""
        return self.path / "held_out"

    @property
    def stores(self) -> Path:
        """The LMDB and the statistics of its poses."""
        return self.path / "lmdb"

    @property
    def store(self) -> Path:
        """The LMDB itself."""
        return self.stores / Path(LIST_FILE).with_suffix(".lmdb").name

    @property
    def training(self) -> RunFolder:
        """The training's run."""
        return RunFolder(self.path / "training")

    @property
    def evaluation(self) -> Path:
        """Figures, report and kept predictions."""
        return self.path / "evaluation"

    @property
    def predictions(self) -> Path:
        """Faces found in some pictures."""
        return self.path / "predictions"

    @property
    def rendered(self) -> Path:
        """These faces drawn by their poses."""
        return self.path / "rendered"


class Demo:
    """Runs the steps in their order and remembers what came of them.

    Args:
        folder: Where everything goes.
        settings: What decides the results.
        num_workers: Of the commands that share their work among processes; None leaves it to them.

    Attributes:
        records: Steps that are done.
    """

    def __init__(self, folder: DemoFolder, settings: DemoSettings, num_workers: int | None) -> None:
        self.folder = folder
        self.settings = settings
        self.records: list[StepRecord] = []
        self._called = "", "", 0.0
        self._workers = [] if num_workers is None else ["--num_workers", str(num_workers)]
        self._loaders = [] if num_workers is None else ["--workers", str(num_workers)]

    def run(self) -> Mapping[str, Any]:
        """Runs all steps.

        Returns:
            The figures of the evaluation, as `evaluate_landmarks.py` has them.

        Raises:
            StepError: A step did not end well.
        """
        self._draw("draw pictures to train on", self.folder.train, self.settings.count, TRAIN_SEED)
        self._draw(
            "draw pictures to judge by",
            self.folder.held_out,
            self.settings.held_out,
            HELD_OUT_SEED,
        )
        self._convert()
        self._train()
        figures = self._evaluate()
        self._predict()
        self._render()
        return figures

    def shown_pictures(self) -> list[Path]:
        """Held-out pictures to look at: the first ones with several faces, else the first ones."""
        listed = read_annotation_list(self.folder.held_out / LIST_FILE)
        annotations = [read_annotation(path) for path in listed]

        def posed(annotation: Annotation) -> int:
            return sum(len(points) == 68 for points in annotation.landmarks)

        # sorted keeps the order of equals.
        chosen = sorted(annotations, key=lambda annotation: posed(annotation) < 2)
        chosen = chosen[:SHOWN_PICTURES]
        return [self.folder.held_out / annotation.image_path for annotation in chosen]

    def _draw(self, name: str, folder: Path, count: int, seed: int) -> None:
        results = self._call(
            name,
            "People who do not exist, with exactly known poses. Another seed, other people.",
            "scripts/make_synthetic_dataset.py",
            ["--count", str(count), "--seed", str(seed), "--out", str(folder)]
            + [*LOOKS, *self._workers],
        )
        new, images = results["new_images"], results["images"]
        if new == 0:
            self._note(f"reused: all {images} pictures", is_reused=True)
        else:
            kept = f" ({images - new} reused)" if new < images else ""
            self._note(f"{images} pictures{kept}, {results['posed_faces']} faces with pose")

    def _convert(self) -> None:
        results = self._call(
            "fit poses, make the LMDB",
            "A pose is fitted to the 68 points of each face. Pictures and poses go into one LMDB,"
            " which training reads; the statistics of the poses lie beside it.",
            "scripts/convert_json_list_to_lmdb.py",
            ["--json_list", str(self.folder.train / LIST_FILE)]
            + ["--dataset_path", str(self.folder.train), "--dest", str(self.folder.stores)]
            + ["--train", "--pose_labels", "fitted", "--pose_camera", "image", "--keep_negatives"]
            + self._workers,
        )
        if results["up_to_date"]:
            self._note("reused: the LMDB and its statistics", is_reused=True)
        else:
            faces = results["faces_with_pose"]
            self._note(f"{results['images']} pictures, {faces} faces with pose")

    def _train(self) -> None:
        training, epochs = self.folder.training, self.settings.epochs
        run = training.path
        self._call(
            "train",
            "From random weights; the configuration says how.",
            "train.py",
            ["--config", self.settings.config, "--train_source", str(self.folder.store)]
            + ["--workspace", str(run.parent), "--prefix", run.name]
            + ([] if epochs is None else ["--epochs", str(epochs)])
            + self._loaders,
        )
        begun = json.loads(training.facts.read_text(encoding="utf-8"))["starts"][-1]["at_step"]
        steps = max(line.step for line in read_metrics(run / METRICS_FILE))
        if begun == steps:
            self._note(f"reused: the model after all {steps} steps", is_reused=True)
        else:
            self._note(f"{steps} steps" + (f" ({begun} reused)" if begun else ""))

    def _evaluate(self) -> Mapping[str, Any]:
        before = self._kept_predictions()
        results = self._call(
            "judge the model",
            "On the pictures that it has not seen: recall, false positives, errors of rotation and"
            " points.",
            "scripts/evaluate_landmarks.py",
            ["--checkpoint", str(self.folder.training.best)]
            + ["--json_list", str(self.folder.held_out / LIST_FILE)]
            + ["--dataset_path", str(self.folder.held_out)]
            + ["--output_path", str(self.folder.evaluation), "--sheet", "12"],
        )
        pictures = self._kept_predictions()
        if before == pictures:
            self._note(f"reused: what was found in all {pictures} pictures", is_reused=True)
        else:
            self._note(f"{pictures} pictures" + (f" ({before} reused)" if before else ""))
        figures: Mapping[str, Any] = results["figures"]
        return figures

    def _kept_predictions(self) -> int:
        parts = (self.folder.evaluation / PREDICTIONS_FOLDER).glob("part_*.jsonl")
        return sum(len(part.read_bytes().splitlines()) for part in parts)

    def _predict(self) -> None:
        results = self._call(
            "find faces",
            "In a few of these pictures, as in any picture.",
            "scripts/predict.py",
            [*map(str, self.shown_pictures()), "--checkpoint", str(self.folder.training.best)]
            + ["--output_path", str(self.folder.predictions)],
        )
        self._note(f"{results['faces']} faces in {results['images']} pictures")

    def _render(self) -> None:
        results = self._call(
            "draw them",
            "What their poses say: heads, points, boxes, depth, textures; a sheet a picture.",
            "scripts/render.py",
            ["--predictions", str(self.folder.predictions / PREDICTIONS_FILE)]
            + ["--products", "sheet", "--output_path", str(self.folder.rendered)],
        )
        self._note(f"{results['faces']} faces in {results['images']} pictures")

    def _call(
        self, name: str, explanation: str, script: str, arguments: Sequence[str]
    ) -> Mapping[str, Any]:
        """Prints a command, runs it and returns its results; `_note` has to follow."""
        module = next(command.module for command in COMMANDS if command.script == script)
        command = command_line(script, arguments)
        print(f"\n== {name}\n{explanation}\n$ {command}\n", flush=True)
        began = time.perf_counter()
        with results_kept() as results:
            code = import_module(module).main(list(arguments))
        if code != 0:
            raise StepError(code)
        self._called = name, command, time.perf_counter() - began
        return results[-1]

    def _note(self, done: str, *, is_reused: bool = False) -> None:
        """Remembers the command that was called last, and tells what came of it."""
        name, command, seconds = self._called
        self.records.append(StepRecord(name, command, seconds, done, is_reused))
        print(f"-- {name}: {seconds:.1f} s; {done}", flush=True)
