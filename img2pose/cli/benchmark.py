"""Measures how fast a model is on this machine: prediction, its parts, losses, a training step."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
import torchvision
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign

from img2pose.cli.conversion_throughput import measure_conversion
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.inference_throughput import FindsFaces, measure_inference, measure_memory
from img2pose.cli.loading_throughput import measure_loading
from img2pose.cli.model_arguments import set_threads
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.rendering_throughput import measure_first_calls, measure_rendering
from img2pose.cli.synthesis_throughput import measure_synthesis
from img2pose.cli.training_throughput import measure_throughput
from img2pose.config import OptimConfig, TrainConfig, read_config, values_from_assignments
from img2pose.devices import choose_device
from img2pose.errors import InputError
from img2pose.evaluation.timing import (
    count_flops,
    matrix_peak_gflops,
    median_times_ms,
    peak_memory_mib,
)
from img2pose.files import check_output_folder, told_when_unwritable, write_json
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.images import find_images, image_tensor, read_image
from img2pose.inference.detector import Detector
from img2pose.inference.onnx_detector import OnnxDetector
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.losses import pose_losses, total_loss
from img2pose.models.profiles import PROFILES
from img2pose.models.weights import load_model
from img2pose.references import PoseReferences
from img2pose.training.optimizer import build_optimizer
from img2pose.types import PoseStats

RESULTS_FILE = "benchmark.json"
REFERENCE = "torchvision: backbone + FPN + RPN, float32"
_DECODED_FACES = 600
_POSITIVES = 256
_MOST_PICTURES = 8
_MOST_LOOKED_AT = 100
# The peak of the first of so many parts is compared with that of all.
_MEMORY_PARTS = 10
# Of the WIDER model, rounded: an untrained model has none of its own.
_POSE_STATS = PoseStats(
    np.array([-0.02, 0.03, -0.01, 0.07, 0.24, 3.48]), np.array([0.24, 0.54, 0.18, 0.13, 0.14, 0.37])
)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        milliseconds: Median time.
        gflop: Billions of useful floating point operations, where they are counted.
        share_of_peak: Of the operations that the machine's matrix product does in that time.
        memory_mib: Peak memory beyond what was taken before.
    """

    name: str
    milliseconds: float
    gflop: float | None = None
    share_of_peak: float | None = None
    memory_mib: float | None = None


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/benchmark.py",
        "Measure prediction, its parts, losses and a training step on this machine."
        f" Prints a table and writes it to {RESULTS_FILE}. Times are medians; let nothing"
        " else run.",
        "--checkpoint best.pth --images photos",
    )
    parser.add_argument(
        "--measure",
        choices=tuple(_MEASUREMENTS),
        default="model",
        help="model: predictions and their parts (default); training: runs with their data;"
        " loading: reading and changing training pictures, in one process; conversion: from"
        " annotations to an LMDB; rendering: meshes of faces drawn by sim3dr; synthesis: synthetic"
        " photographs; inference: pictures to faces, as users call it, and memory over 1,000"
        " pictures",
    )
    parser.add_argument(
        "--checkpoint",
        help="model (default: an untrained one as published; of inference the one that comes with"
        " img2pose)",
    )
    parser.add_argument(
        "--images",
        help="picture or folder, cut to 4:3; upright pictures are left out (default: noise)",
    )
    parser.add_argument("--output_path", default="out/benchmark", help="folder (%(default)s)")
    parser.add_argument(
        "--sizes", default="400,800", help="shorter sides in pixels (default %(default)s)"
    )
    parser.add_argument("--batches", default="1,8", help="pictures at once (default %(default)s)")
    parser.add_argument(
        "--proposals", type=int, default=1000, help="proposals a picture (default %(default)s)"
    )
    parser.add_argument(
        "--max_passing",
        type=int,
        default=100,
        help="pictures in which more proposals pass the score threshold are left out"
        " (default %(default)s)",
    )
    parser.add_argument("--repeats", type=int, default=7, help="runs (default %(default)s)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: one for each core)")
    training = parser.add_argument_group("of training and loading")
    training.add_argument("--config", metavar="FILE", help="configuration, see configs/")
    training.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one of its values, for example data.train_source=train.lmdb; may be repeated",
    )
    training.add_argument(
        "--processes",
        default="1,2",
        help="that share a run and the CPU's threads, convert, or draw synthetic photographs"
        " (default %(default)s)",
    )
    inference = parser.add_argument_group("of inference")
    inference.add_argument(
        "--memory_images",
        type=int,
        default=1000,
        help="pictures over which memory is looked at, against the first tenth of them; 0: it is"
        " not (default %(default)s)",
    )
    inference.add_argument(
        "--onnx",
        metavar="FILE",
        help="the same model as scripts/export_onnx.py wrote it, measured beside PyTorch",
    )
    conversion = parser.add_argument_group("of conversion")
    conversion.add_argument("--json_list", help="list of annotations")
    conversion.add_argument("--dataset_path", help="folder of their images")
    return parser


def _numbers(text: str, flag: str, low: int) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < low:
        raise InputError(f"{flag} {text}: give whole numbers from {low} up, with commas between")
    return numbers


def _cut_pictures(paths: Sequence[Path], size: int) -> Iterator[np.ndarray]:
    """The middle (size, 4 / 3 size, 3) of each picture that is not upright."""
    for path in paths:
        array = read_image(path)
        height, width = array.shape[:2]
        if height > width:
            continue
        cut_h, cut_w = min(height, round(width * 3 / 4)), min(width, round(height * 4 / 3))
        top, left = (height - cut_h) // 2, (width - cut_w) // 2
        cut = array[top : top + cut_h, left : left + cut_w]
        target_wh = (round(size * 4 / 3), size)
        yield cv2.resize(cut, target_wh, interpolation=cv2.INTER_AREA)


def _all_upright(args: argparse.Namespace) -> InputError:
    return InputError(f"--images {args.images}: all are upright; give others")


def _noise(size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (_MOST_PICTURES, 3, size, round(size * 4 / 3))
    return list(torch.rand(shape, generator=generator))


class _Stages:
    """One picture's way through a model, stage by stage, each ready to be run again."""

    def __init__(self, model: Img2Pose, picture: Tensor) -> None:
        self.model = model
        self.picture = picture
        self.prepared = model.transform.resize(model.transform.normalize(picture))[0]
        self.batch = model.batch_of_one_size([self.prepared])
        self.shapes = self.batch.image_sizes
        # As torchvision's own models run.
        self.plain_batch = ImageList(self.batch.tensors.contiguous(), self.shapes)
        self.maps = model.backbone.body(self.batch.tensors)
        self.levels = model.backbone.fpn(self.maps)
        self.boxes = model.rpn(self.batch, self.levels)[0][0]
        heads = model.roi_heads
        self.index = torch.zeros(len(self.boxes), dtype=torch.int64, device=self.boxes.device)
        self.pooled = heads.pool(self.levels, self.boxes, self.index)
        self.logits = heads.class_predictor(heads.class_head(self.pooled))
        self.faces = self._find()
        self.torchvision_pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)

    @property
    def passing(self) -> int:
        """Proposals whose score passes the threshold."""
        return len(self.faces.scores)

    def _find(self) -> Any:
        return self.model.roi_heads.find_faces(
            self.pooled, self.logits, self.boxes, self.index, self.shapes
        )

    def reference(self) -> object:
        """The first stage as torchvision runs it."""
        features = self.model.backbone(self.plain_batch.tensors)
        return RegionProposalNetwork.forward(self.model.rpn, self.plain_batch, features)

    def both_heads_on_all(self) -> object:
        """The second stage's networks with torchvision's pooling and every proposal."""
        heads = self.model.roi_heads
        pooled = self.torchvision_pool(self.levels, [self.boxes], self.shapes)
        return heads.class_head(pooled), heads.box_predictor(heads.box_head(pooled))

    def cases(self) -> dict[str, Callable[[], object]]:
        """Parts of a prediction by name."""
        model, heads = self.model, self.model.roi_heads
        return {
            "  resize and normalise": lambda: model.transform.resize(
                model.transform.normalize(self.picture)
            ),
            "  backbone": lambda: model.backbone.body(self.batch.tensors),
            "  FPN": lambda: model.backbone.fpn(self.maps),
            "  RPN: convolutions": lambda: model.rpn.head(list(self.levels.values())),
            "  RPN, all": lambda: model.rpn(self.batch, self.levels),
            "  pooling": lambda: heads.pool(self.levels, self.boxes, self.index),
            "  class head": lambda: heads.class_predictor(heads.class_head(self.pooled)),
            f"  pose head and decoding, {self.passing} of {len(self.boxes)}": self._find,
            "  suppression": lambda: heads.choose_faces(self.faces, self.shapes),
            "both heads on all proposals, torchvision's pooling": self.both_heads_on_all,
        }


def _load(args: argparse.Namespace, size: int, profile: str, device: torch.device) -> Img2Pose:
    settings: dict[str, Any] = {
        "min_size": size,
        "max_size": max(1400, 2 * size),
        "rpn_pre_nms_test": 6000,
        "rpn_post_nms_test": args.proposals,
        "score_threshold": 0.05,
        "inference_profile": profile,
    }
    if args.checkpoint is not None:
        return load_model(args.checkpoint, device=device, **settings)
    torch.manual_seed(0)
    model = build_model(
        pose_stats=_POSE_STATS,
        references=PoseReferences.default(),
        pretrained_backbone=False,
        **settings,
    )
    model.to(device)
    model.eval()
    return model


def _limit_passing(models: Sequence[Img2Pose], picture: Tensor, most: int) -> None:
    """Sets the thresholds of untrained models so that not more proposals pass than wanted."""
    for model in models:
        logits = _Stages(model, picture).logits
        scores = logits.softmax(-1)[:, 1].sort(descending=True).values
        if len(scores) > most:
            model.roi_heads.score_thresh = float(scores[most])


def _prediction_rows(
    args: argparse.Namespace,
    size: int,
    counts: Sequence[int],
    paths: Sequence[Path],
    device: torch.device,
    peak: float,
) -> tuple[list[Row], dict[str, float]]:
    models = {profile: _load(args, size, profile, device) for profile in PROFILES}
    if args.images is None:
        pictures: Iterable[Tensor] = _noise(size)
    else:
        pictures = map(image_tensor, _cut_pictures(paths, size))
    if args.checkpoint is None:
        pictures = list(islice(pictures, _MOST_PICTURES))
        if not pictures:
            raise _all_upright(args)
        _limit_passing(list(models.values()), pictures[0].to(device), args.max_passing)
    chosen: list[tuple[int, Tensor]] = []
    seen = 0
    for picture in islice(pictures, _MOST_LOOKED_AT):
        seen += 1
        picture = picture.to(device)
        passing = _Stages(models["exact"], picture).passing
        if passing <= args.max_passing:
            chosen.append((passing, picture))
        if len(chosen) == _MOST_PICTURES:
            break
    if not chosen:
        raise InputError(
            f"--images {args.images}: of {seen} pictures that are not upright none has"
            f" at most {args.max_passing} proposals that pass; give others or more --max_passing"
        )
    all_passing = ", ".join(str(passing) for passing, _ in chosen)
    print(f"{size} px: {len(chosen)} of {seen} pictures; {all_passing} pass", file=sys.stderr)
    # The picture with most work among those allowed.
    stage = _Stages(models["exact"], max(chosen, key=lambda choice: choice[0])[1])
    height, width = stage.picture.shape[-2:]
    where = f"{height}x{width}"
    cases: dict[str, Callable[[], object]] = {f"{where}: {REFERENCE}": stage.reference}
    batches = {}
    for count in counts:
        batch = [chosen[index % len(chosen)][1] for index in range(count)]
        if count == 1:
            batch = [stage.picture]
        for profile, model in models.items():
            name = f"{where}: predict {count}, {profile}"
            batches[name] = (lambda m, b: lambda: m(b))(model, batch)
    cases |= batches
    cases |= stage.cases()
    times = median_times_ms(cases, args.repeats, device)
    rows = []
    for name, milliseconds in times.items():
        if name not in batches:
            rows.append(Row(name, milliseconds))
            continue
        gflop = count_flops(batches[name]) / 1e9
        share = gflop / (milliseconds / 1e3) / peak
        rows.append(Row(name, milliseconds, gflop, share, peak_memory_mib(batches[name], device)))
    reference = times[f"{where}: {REFERENCE}"]
    ratios = {
        f"{where}: predict 1, {profile} / reference": times[name] / reference
        for profile in models
        if (name := f"{where}: predict 1, {profile}") in times
    }
    return rows, ratios


def _small_part_rows(model: Img2Pose, args: argparse.Namespace, device: torch.device) -> list[Row]:
    """Losses of the pose head, decoding and boxes, for numbers of faces that do not change."""
    generator = torch.Generator().manual_seed(0)
    size_hw = (400, 533)

    def boxes_of(count: int) -> Tensor:
        corners = torch.rand(count, 2, generator=generator) * torch.tensor([400.0, 270.0])
        sides = 30 + 100 * torch.rand(count, 2, generator=generator)
        return torch.cat([corners, corners + sides], dim=1).to(device)

    heads = model.roi_heads
    camera = torch.from_numpy(image_intrinsics(*size_hw)).float().to(device)
    positives = boxes_of(_POSITIVES)
    predicted = torch.randn(_POSITIVES, 6, generator=generator).to(device).requires_grad_()
    right = torch.randn(_POSITIVES, 6, generator=generator).to(device) * 0.5
    targets = heads.decode(
        right, right[:, 0], positives, torch.zeros_like(right[:, 0]).long(), [size_hw]
    ).poses

    def losses() -> None:
        predicted.grad = None
        found = pose_losses(
            predicted,
            positives,
            targets,
            camera.expand(_POSITIVES, 3, 3),
            heads.pose_mean,
            heads.pose_stddev,
            heads.points_5,
            model.config.min_depth,
        )
        (found.dof_reg + found.points).backward()  # type: ignore[no-untyped-call]

    proposals = boxes_of(_DECODED_FACES)
    regression = torch.randn(_DECODED_FACES, 6, generator=generator).to(device) * 0.5
    scores = torch.rand(_DECODED_FACES, generator=generator).to(device)
    index = torch.zeros(_DECODED_FACES, dtype=torch.int64, device=device)

    def decode() -> object:
        with torch.inference_mode():
            faces = heads.decode(regression, scores, proposals, index, [size_hw])
            return heads.choose_faces(faces, [size_hw])

    cases = {
        f"pose losses of {_POSITIVES} positives, forward and backward": losses,
        f"decoding, boxes and suppression of {_DECODED_FACES} faces": decode,
    }
    # Short enough that many more runs cost nothing.
    return [
        Row(name, median_times_ms({name: function}, 30 * args.repeats, device)[name])
        for name, function in cases.items()
    ]


def _training_rows(args: argparse.Namespace, size: int, device: torch.device) -> list[Row]:
    model = _load(args, size, "exact", device).train()
    optimizer = build_optimizer(model, OptimConfig(lr=1e-6))
    size_hw = (size, round(size * 4 / 3))
    poses = np.array([[0, 0.3 * k, 0, 2.0 * k - 3, 0, 9 + k] for k in range(4)], dtype=np.float32)
    points = project_points(model.references.points_68, poses, image_intrinsics(*size_hw))
    target = {
        "boxes": torch.from_numpy(boxes_from_points(points, poses, size_hw)).float().to(device),
        "labels": torch.ones(len(poses), dtype=torch.int64, device=device),
        "dofs": torch.from_numpy(poses).to(device),
    }
    pictures = [picture.to(device) for picture in _noise(size)[:2]]
    targets = [{name: value.clone() for name, value in target.items()} for _ in pictures]

    def step() -> None:
        optimizer.zero_grad()
        total_loss(model(pictures, targets)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    name = f"{size_hw[0]}x{size_hw[1]}: training step, 2 pictures, SGD"
    milliseconds = median_times_ms({name: step}, args.repeats, device)[name]
    return [Row(name, milliseconds, memory_mib=peak_memory_mib(step, device))]


def _table(rows: Sequence[Row], ratios: dict[str, float], peak: float) -> str:
    def figure(value: float | None, digits: int, factor: float = 1) -> str:
        return "-" if value is None else f"{factor * value:.{digits}f}"

    lines = [f"{'':<58}{'ms':>9}{'GFLOP':>9}{'% peak':>9}{'MiB':>9}"]
    lines += [
        f"{row.name:<58}{figure(row.milliseconds, 1):>9}{figure(row.gflop, 1):>9}"
        f"{figure(row.share_of_peak, 0, 100):>9}{figure(row.memory_mib, 0):>9}"
        for row in rows
    ]
    lines += [f"{name:<58}{ratio:>9.2f}" for name, ratio in ratios.items()]
    lines.append(f"{'matrix product of this machine, GFLOP/s':<58}{peak:>9.0f}")
    return "\n".join(lines)


def _config(args: argparse.Namespace) -> TrainConfig:
    config = read_config(TrainConfig, args.config, values_from_assignments("--set", args.set))
    if not config.data.train_source:
        raise InputError("--set data.train_source=FILE: give the LMDB to train on")
    return config


def _measure_training(args: argparse.Namespace, device: torch.device) -> tuple[dict[str, Any], str]:
    """The report of training runs, and its table."""
    counts = _numbers(args.processes, "--processes", 1)
    config = replace(_config(args), device=str(device))
    threads = torch.get_num_threads()
    runs = [measure_throughput(config, count, max(1, threads // count)) for count in counts]
    lines = ["processes  threads each  pictures a step  images / s  waiting for data"]
    lines += [
        f"{run.processes:>9}{run.threads:>14}{run.pictures_a_step:>17}"
        f"{run.images_per_second:>12.2f}{run.data_wait_share:>18.1%}"
        for run in runs
    ]
    return {"training_runs": [asdict(run) for run in runs]}, "\n".join(lines)


def _measure_loading(args: argparse.Namespace, device: torch.device) -> tuple[dict[str, Any], str]:
    """The report of reading and changing pictures, and its table."""
    data = _config(args).data
    found = measure_loading(data.train_source[0], data)
    share = found.images_per_second / found.decoded_images_per_second
    table = (
        f"images / s, read, changed and labelled  {found.images_per_second:>8.1f}\n"
        f"images / s, read and decoded only       {found.decoded_images_per_second:>8.1f}\n"
        f"share                                   {share:>8.1%}"
    )
    return {"loading": found._asdict()}, table


def _measure_conversion(
    args: argparse.Namespace, device: torch.device
) -> tuple[dict[str, Any], str]:
    """The report of conversions, medians of their runs, and its table."""
    if args.json_list is None or args.dataset_path is None:
        raise InputError("--measure conversion: give --json_list and --dataset_path")
    json_list, dataset_path = Path(args.json_list), Path(args.dataset_path)
    rates = {
        count: median(
            measure_conversion(json_list, dataset_path, count) for _ in range(args.repeats)
        )
        for count in _numbers(args.processes, "--processes", 0)
    }
    lines = ["processes  images / s", *(f"{n:>9}{rate:>12.1f}" for n, rate in rates.items())]
    return {"conversion_images_per_second": rates}, "\n".join(lines)


def _measure_rendering(
    args: argparse.Namespace, device: torch.device
) -> tuple[dict[str, Any], str]:
    """The report of pictures of 20 faces and of first calls, and its table."""
    calls = measure_first_calls()
    rates = measure_rendering(args.repeats)
    lines = ["vertices  triangles  engine  threads  ms a face  triangles / s"]
    lines += [
        f"{rate.vertices:>8}{rate.triangles:>11}{rate.engine:>8}{rate.threads:>9}"
        f"{rate.milliseconds_a_face:>11.2f}{rate.triangles_per_second:>15.3g}"
        for rate in rates
    ]
    lines += [
        f"first picture of a process, {call.cache} cache: import {call.import_seconds:.2f} s,"
        f" draw {call.draw_seconds:.2f} s"
        for call in calls
    ]
    report = {
        "rendering": [asdict(rate) for rate in rates],
        "rendering_first_calls": [asdict(call) for call in calls],
    }
    return report, "\n".join(lines)


def _measure_synthesis(
    args: argparse.Namespace, device: torch.device
) -> tuple[dict[str, Any], str]:
    """The report of synthetic photographs drawn by numbers of processes, and its table."""
    rates = [measure_synthesis(count) for count in _numbers(args.processes, "--processes", 0)]
    lines = ["processes  images  faces  images / s  ms a core and image"]
    lines += [
        f"{rate.processes:>9}{rate.images:>8}{rate.faces:>7}{rate.images_per_second:>12.1f}"
        f"{rate.milliseconds_of_a_core:>21.0f}"
        for rate in rates
    ]
    return {"synthesis": [asdict(rate) for rate in rates]}, "\n".join(lines)


def _machine(device: torch.device) -> dict[str, Any]:
    return {
        "device": str(device),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def _measure_model(args: argparse.Namespace, device: torch.device) -> tuple[dict[str, Any], str]:
    """The report of predictions and their parts, and its table."""
    sizes = _numbers(args.sizes, "--sizes", 32)
    counts = _numbers(args.batches, "--batches", 1)
    paths = find_images([args.images]) if args.images is not None else []
    peak = matrix_peak_gflops(device)
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    with torch.inference_mode():
        for size in sizes:
            found, ratios_of_size = _prediction_rows(args, size, counts, paths, device, peak)
            rows += found
            ratios |= ratios_of_size
    rows += _small_part_rows(_load(args, sizes[0], "exact", device), args, device)
    rows += _training_rows(args, sizes[0], device)
    report = {
        "rows": [asdict(row) for row in rows],
        "ratios": ratios,
        "matrix_peak_gflops": peak,
        "checkpoint": args.checkpoint,
        "proposals": args.proposals,
        "repeats": args.repeats,
    }
    return report, _table(rows, ratios, peak)


def _measure_inference(
    args: argparse.Namespace, device: torch.device
) -> tuple[dict[str, Any], str]:
    """The report of pictures a second and of memory, and its table."""
    if args.images is None:
        raise InputError("--measure inference: give --images")
    counts = _numbers(args.batches, "--batches", 1)
    if args.memory_images and args.memory_images < _MEMORY_PARTS:
        raise InputError(
            f"--memory_images {args.memory_images}: must be at least {_MEMORY_PARTS}, or 0"
        )
    paths = find_images([args.images])
    rates: list[dict[str, Any]] = []
    memory: list[dict[str, Any]] = []
    lines = ["shorter side  engine            batch  images / s  faces"]
    for size in _numbers(args.sizes, "--sizes", 32):
        pictures = list(islice(_cut_pictures(paths, size), _MOST_PICTURES))
        if not pictures:
            raise _all_upright(args)
        sizes: dict[str, Any] = {"min_size": size, "max_size": max(1400, 2 * size)}
        engines: dict[str, FindsFaces] = {
            "PyTorch": Detector.from_checkpoint(args.checkpoint, device=str(device), **sizes)
        }
        if args.onnx is not None:
            engines["ONNX Runtime"] = OnnxDetector(args.onnx, threads=args.threads, **sizes)
        for rate in measure_inference(engines, pictures, counts, args.repeats, device):
            rates.append({"size": size, **asdict(rate)})
            lines.append(
                f"{size:>12}  {rate.engine:<16}{rate.batch_size:>7}"
                f"{rate.images_per_second:>12.2f}{rate.faces:>7}"
            )
        for engine, measured in engines.items() if args.memory_images else ():
            used = measure_memory(
                measured,
                paths,
                batch_size=max(counts),
                images=args.memory_images,
                first_images=args.memory_images // _MEMORY_PARTS,
            )
            if used is not None:
                memory.append({"size": size, "engine": engine, **asdict(used)})
                lines.append(
                    f"{engine}, {size} px, batches of {max(counts)}: peak memory"
                    f" {used.first_peak_mib:.0f} MiB over {used.first_images} pictures,"
                    f" {used.peak_mib:.0f} MiB over {used.images} ({used.growth:+.1%})"
                )
    return {"inference": rates, "memory": memory}, "\n".join(lines)


# What is measured -> report and table.
_Measurement: TypeAlias = Callable[[argparse.Namespace, torch.device], tuple[dict[str, Any], str]]
_MEASUREMENTS: dict[str, _Measurement] = {
    "model": _measure_model,
    "training": _measure_training,
    "loading": _measure_loading,
    "conversion": _measure_conversion,
    "rendering": _measure_rendering,
    "synthesis": _measure_synthesis,
    "inference": _measure_inference,
}


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    for flag in ("repeats", "proposals", "max_passing"):
        if getattr(args, flag) < 1:
            raise InputError(f"--{flag} {getattr(args, flag)}: must be at least 1")
    output = Path(args.output_path)
    check_output_folder(output)
    set_threads(args.threads)
    device = choose_device(args.device)
    report, table = _MEASUREMENTS[args.measure](args, device)
    results = output / RESULTS_FILE
    with told_when_unwritable(results):
        write_json(results, {**report, **_machine(device)}, indent=1)
    print_results(args, {**report, "results": str(results)}, f"{table}\nresults: {results}")
    return 0
