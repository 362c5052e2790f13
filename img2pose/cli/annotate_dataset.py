"""Labels photographs with a face detector: annotation JSONs and a list of them."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from tqdm import tqdm

from img2pose.annotators.choice import DetectorChoice, parse_options
from img2pose.annotators.labelling import (
    MatchRule,
    add_landmarks,
    label_faces,
    source_of_matched,
)
from img2pose.annotators.protocol import FaceDetector, checked_faces
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import (
    add_workers_argument,
    check_workers,
    command_parser,
    print_results,
)
from img2pose.data.annotations import (
    Annotation,
    read_annotation,
    read_annotation_list,
    resolve_image,
    write_annotation,
    write_annotation_list,
)
from img2pose.data.worker_processes import map_in_processes
from img2pose.errors import InputError
from img2pose.files import (
    check_output_folder,
    read_text,
    told_when_unwritable,
    write_json,
    write_text,
)
from img2pose.images import read_image
from img2pose.models.shipped import shipped_checkpoint

SETTINGS_FILE = "settings.json"
ANNOTATIONS_FOLDER = "annotations"
# Images that a process takes at a time: few, for an interrupt waits for them.
_CHUNK = 2
_NOTES = """\
detectors and their options:
  yunet         five points. --model_path FILE.onnx, from OpenCV Zoo. sizes=320,640,1024,2048
                (longer sides that pictures are searched at), mirror=true,
                score_threshold=0.7, nms_threshold=0.3
  img2pose      68 points. --model_path CHECKPOINT (default: the one that comes with img2pose).
                score_threshold (default: the checkpoint's), device, min_size, max_size
  module:Class  yours: Class(**options) makes a detector; detector(image_rgb) returns boxes
                (N, 4), scores (N,) and landmarks, N times (5, 2) or (68, 2)
                (img2pose.annotators.protocol)

To go on after a stop, give the same command again: images done are not done twice.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/annotate_dataset.py",
        "Label photographs with a face detector. Writes annotations/IMAGE.json for"
        " each image IMAGE and LIST.txt, which names the JSONs for"
        " convert_json_list_to_lmdb.py, LIST being the name of the image list; settings.json"
        " says how they were made.",
        "--image_list photos.txt --dataset_path photos --output_path labels"
        " --detector yunet --model_path face_detection_yunet.onnx",
        "--match_annotations wider/train.txt --dataset_path WIDER_train/images"
        " --output_path labels --detector yunet --model_path face_detection_yunet.onnx",
        "--image_list photos.txt --output_path labels --detector my_module:MyDetector"
        " --detector_options threshold=0.6 sizes=640,1280",
        notes=_NOTES,
    )
    parser.add_argument(
        "--image_list",
        help="text file of images, one a line, relative to --dataset_path (default: the images"
        " of --match_annotations)",
    )
    parser.add_argument(
        "--dataset_path", default=".", help="folder of the images (default: the current one)"
    )
    parser.add_argument("--output_path", required=True, help="folder for the results")
    parser.add_argument(
        "--detector", required=True, help="yunet, img2pose or a class of yours as module:Class"
    )
    parser.add_argument("--model_path", help="the detector's file, as its option model_path")
    parser.add_argument(
        "--detector_options", nargs="+", default=[], metavar="KEY=VALUE", help="see below"
    )
    add_workers_argument(parser)
    match = parser.add_argument_group("boxes that are there already")
    match.add_argument(
        "--match_annotations",
        metavar="LIST",
        help="text file of annotation JSONs with boxes of the same images, matched by image_path:"
        " a box takes the landmarks of the face found at its place; one without stays as a"
        " face without landmarks; found faces without a box are dropped",
    )
    match.add_argument(
        "--min_iou",
        type=float,
        default=0.5,
        help="least overlap of a box and its face, above 0 to 1 (default %(default)s)",
    )
    match.add_argument(
        "--keep_unmatched", action="store_true", help="also keep found faces without a box"
    )
    parser.add_argument(
        "--skip_bad",
        "--skip-bad",
        action="store_true",
        help="leave out images that cannot be read and list them in LIST_skipped.txt (path, tab,"
        " reason) instead of stopping",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="label all images anew, also if the output is of another detector or settings",
    )
    return parser


@dataclass(frozen=True)
class _Task:
    """One image to label."""

    image_path: str
    target: Path
    given: Annotation | None


@dataclass(frozen=True)
class _Outcome:
    """What became of an image."""

    faces: int = 0
    with_landmarks: int = 0
    matched: int = 0
    unmatched: int = 0
    seconds: float = 0.0
    is_new: bool = True
    problem: str | None = None


@dataclass(frozen=True)
class _Labelling:
    """The work on one image; picklable. Each process builds its own detector."""

    choice: DetectorChoice
    dataset_path: Path
    label_source: str
    rule: MatchRule
    overwrite: bool

    @cached_property
    def _detector(self) -> FaceDetector:
        return self.choice.build()

    def __call__(self, task: _Task) -> _Outcome:
        done = None if self.overwrite else self._done_before(task)
        if done is not None:
            return _Outcome(len(done), int(done.has_landmarks.sum()), is_new=False)
        detector = self._detector
        begin = time.perf_counter()
        path = self.dataset_path / task.image_path
        try:
            resolve_image(self.dataset_path, task.image_path, path)
            image_rgb = read_image(path, upright=False)
        except InputError as error:
            return _Outcome(problem=str(error))
        try:
            found = checked_faces(detector(image_rgb), self.choice.name)
        except Exception as error:
            error.add_note(f"while labelling {path}")
            raise
        size_hw = (image_rgb.shape[0], image_rgb.shape[1])
        annotation = label_faces(found, task.image_path, size_hw, self.label_source)
        matched = unmatched = 0
        if task.given is not None:
            annotation, matched, unmatched = add_landmarks(task.given, annotation, self.rule)
        with told_when_unwritable(task.target):
            write_annotation(task.target, annotation)
        return _Outcome(
            len(annotation),
            int(annotation.has_landmarks.sum()),
            matched,
            unmatched,
            time.perf_counter() - begin,
        )

    def _done_before(self, task: _Task) -> Annotation | None:
        """What an earlier run with these settings wrote for the image."""
        if not task.target.is_file():
            return None
        try:
            done = read_annotation(task.target)
        except InputError:
            return None
        source, boxes = self.label_source, done.boxes_xyxy
        if task.given is not None:
            source = source_of_matched(source, task.given)
            given = len(task.given)
            if given != len(done) and not (self.rule.keep_unmatched and given < len(done)):
                return None
            if not np.array_equal(boxes[:given], task.given.boxes_xyxy):
                return None
        is_same = done.label_source == source and done.image_path == task.image_path
        return done if is_same else None


def _checked_image_path(text: str, where: str) -> str:
    path = PurePosixPath(text)
    if "\0" in text:
        raise InputError(f"{where}: is not a path; is it a text file?")
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InputError(
            f"{where}: {text} leaves --dataset_path; write image paths relative to it, without .."
        )
    return str(path)


def _read_image_list(path: Path) -> list[str]:
    lines = read_text(path, "a list of images").split("\n")
    names = [
        _checked_image_path(line.strip(), f"{path}: line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not names:
        raise InputError(f"{path}: names no image; write one path a line")
    return names


def _read_given(path: Path) -> dict[str, Annotation]:
    given: dict[str, Annotation] = {}
    for json_path in read_annotation_list(path):
        annotation = read_annotation(json_path)
        name = _checked_image_path(annotation.image_path, f"{json_path}: image_path")
        if name in given:
            raise InputError(
                f"{json_path}: {given[name].source} is of the same image {name}; leave one of"
                f" them out of {path}"
            )
        given[name] = annotation
    return given


def _tasks(
    names: Iterable[str], given: Mapping[str, Annotation] | None, folder: Path, match_list: str
) -> list[_Task]:
    tasks = []
    for name in names:
        if given is not None and name not in given:
            raise InputError(
                f"{match_list}: has no annotation of {name}; add one, without boxes if it has no"
                " faces, or leave the image out of --image_list"
            )
        # The image's whole name: photo.jpg and photo.png may lie side by side.
        target = folder / f"{name}.json"
        tasks.append(_Task(name, target, None if given is None else given[name]))
    return tasks


@dataclass
class _Tally:
    """Counts of a run."""

    new: int = 0
    before: int = 0
    faces: int = 0
    with_landmarks: int = 0
    matched: int = 0
    unmatched: int = 0
    worker_seconds: float = 0.0
    labelled: list[Path] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, task: _Task, outcome: _Outcome) -> None:
        self.new += outcome.is_new
        self.before += not outcome.is_new
        self.faces += outcome.faces
        self.with_landmarks += outcome.with_landmarks
        self.matched += outcome.matched
        self.unmatched += outcome.unmatched
        self.worker_seconds += outcome.seconds
        self.labelled.append(task.target)

    def results(self) -> dict[str, int]:
        return {
            "images": len(self.labelled),
            "labelled_now": self.new,
            "labelled_before": self.before,
            "images_skipped": len(self.skipped),
            "faces": self.faces,
            "faces_with_landmarks": self.with_landmarks,
            "given_boxes_with_a_face": self.matched,
            "faces_without_given_box": self.unmatched,
        }

    def summary(self, rule: MatchRule | None, seconds: float) -> str:
        lines = [
            f"images: {len(self.labelled)}",
            f"  labelled now: {self.new}",
            f"  labelled before: {self.before}",
            f"images skipped: {len(self.skipped)}",
            f"faces: {self.faces}",
            f"  with landmarks: {self.with_landmarks}",
            f"  without landmarks: {self.faces - self.with_landmarks}",
        ]
        if rule is not None and self.new:
            kept = "kept" if rule.keep_unmatched else "dropped"
            lines += [
                "in the images labelled now:",
                f"  given boxes with a face found there: {self.matched}",
                f"  faces found without a given box, {kept}: {self.unmatched}",
            ]
        if self.new:
            lines.append(
                f"seconds an image: {seconds / self.new:.3f}"
                f" ({self.worker_seconds / self.new:.3f} in its process)"
            )
        return "\n".join(lines)


def _check_settings(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the output folder is one of these settings already.

    Raises:
        InputError: It is of other settings.
    """
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); give --overwrite or another --output_path"
        ) from error
    if there == settings:
        return True
    before = there if isinstance(there, dict) else {}
    differing = [key for key in settings if before.get(key) != settings[key]]
    moved = " (if the images just moved, change it there)" if "dataset_path" in differing else ""
    raise InputError(
        f"{path}: the labels there were made with another {', '.join(differing)}{moved}; give"
        " --overwrite or another --output_path"
    )


@dataclass(frozen=True)
class _Outputs:
    """Where results go."""

    folder: Path
    stem: str

    @property
    def annotations(self) -> Path:
        return self.folder / ANNOTATIONS_FOLDER

    @property
    def settings(self) -> Path:
        return self.folder / SETTINGS_FILE

    @property
    def json_list(self) -> Path:
        return self.folder / f"{self.stem}.txt"

    @property
    def skipped(self) -> Path:
        return self.folder / f"{self.stem}_skipped.txt"

    def prepare(self, settings: Mapping[str, Any], inputs: Sequence[Path], overwrite: bool) -> None:
        """Checks that nothing else is in the way, then writes the settings."""
        check_output_folder(self.folder)
        for path in inputs:
            if self.json_list.resolve() == path.resolve():
                raise InputError(f"{path}: would be overwritten; give another --output_path")
        if not overwrite and not _check_settings(self.settings, settings):
            for path in (self.json_list, self.annotations):
                if path.exists():
                    raise InputError(
                        f"{path}: is there already, but no {self.settings.name} that says how it"
                        " was made; give --overwrite or another --output_path"
                    )
        check_output_folder(self.annotations)
        if overwrite:
            # A list of old labels must not outlive them, should this run be stopped.
            self.json_list.unlink(missing_ok=True)
        with told_when_unwritable(self.settings):
            write_json(self.settings, settings, indent=1)


def _label_all(
    labelling: _Labelling, tasks: Sequence[_Task], num_workers: int, skip_bad: bool
) -> _Tally:
    tally = _Tally()
    # Closing ends the worker processes, also after an error or an interrupt.
    with closing(map_in_processes(labelling, tasks, num_workers, _CHUNK)) as outcomes:
        progress = tqdm(
            outcomes, "labelling", len(tasks), unit="image", disable=None, file=sys.stderr
        )
        with closing(progress):
            for task, outcome in zip(tasks, progress, strict=True):
                if outcome.problem is None:
                    tally.add(task, outcome)
                elif skip_bad:
                    tally.skipped.append((Path(task.image_path), outcome.problem))
                else:
                    raise InputError(f"{outcome.problem} (--skip_bad leaves such images out)")
    return tally


def _settings_digest(settings: Mapping[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    check_workers(args)
    if not 0 < args.min_iou <= 1:
        raise InputError(f"--min_iou {args.min_iou}: must be above 0 and at most 1")
    inputs = [Path(path) for path in (args.image_list, args.match_annotations) if path]
    if not inputs:
        raise InputError("--image_list: give the images to label, or --match_annotations")
    dataset_path, output = Path(args.dataset_path), Path(args.output_path)
    if not dataset_path.is_dir():
        raise InputError(f"{dataset_path}: is not a folder; give the images' as --dataset_path")
    given = _read_given(Path(args.match_annotations)) if args.match_annotations else None
    listed = _read_image_list(Path(args.image_list)) if args.image_list else list(given or {})
    names = list(dict.fromkeys(listed))

    options = parse_options(args.detector_options)
    if args.model_path is not None:
        options["model_path"] = args.model_path
    if args.detector == "img2pose" and "model_path" not in options:
        options["model_path"] = str(shipped_checkpoint())
    choice = DetectorChoice(args.detector, options)
    # What is wrong with it is better known before anything is written.
    choice.build()
    rule = MatchRule(args.min_iou, args.keep_unmatched)
    settings = {**choice.settings(), "match": None if given is None else asdict(rule)}
    label_source = f"{choice.label_source()} settings:{_settings_digest(settings)}"

    outputs = _Outputs(output, inputs[0].stem)
    tasks = _tasks(names, given, outputs.annotations, args.match_annotations)
    folder_settings = {**settings, "dataset_path": str(dataset_path.resolve())}
    outputs.prepare(folder_settings, inputs, args.overwrite)
    labelling = _Labelling(choice, dataset_path, label_source, rule, args.overwrite)
    begin = time.perf_counter()
    tally = _label_all(labelling, tasks, args.num_workers, args.skip_bad)
    seconds = time.perf_counter() - begin
    if not tally.labelled:
        raise InputError(f"{inputs[0]}: no image could be read; first: {tally.skipped[0][1]}")
    with told_when_unwritable(outputs.json_list):
        write_annotation_list(outputs.json_list, tally.labelled)
        if args.skip_bad:
            lines = [f"{path}\t{' '.join(reason.split())}\n" for path, reason in tally.skipped]
            write_text(outputs.skipped, "".join(lines))
    lines = [str(outputs.json_list), tally.summary(None if given is None else rule, seconds)]
    repeated = len(listed) - len(names)
    if repeated:
        lines.append(f"named more than once in {inputs[0]}, labelled once: {repeated}")
    results = {
        "json_list": str(outputs.json_list),
        **tally.results(),
        "named_more_than_once": repeated,
        "seconds": seconds,
    }
    print_results(args, results, "\n".join(lines))
    return 0
