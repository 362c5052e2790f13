"""What can be set, in one place: frozen dataclasses, read from YAML and the command line.

Nothing here has a side effect; every value is checked when it is read.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from img2pose.errors import InputError


@dataclass(frozen=True)
class ModelConfig:
    """The network's architecture and what it does with an image; defaults are the published ones.

    Attributes:
        depth: ResNet's depth: 18, 34, 50 or 101.
        norm: Norm of the ResNet: `frozen_bn` (with pretrained weights), `batch_norm` or
            `group_norm` (for training from random weights).
        pose_norm: Norm of the pose head: `batch_norm` or `layer_norm`.
        pretrained_backbone: Download torchvision's ImageNet weights for the ResNet.
        trainable_stages: Stages of a pretrained ResNet that are trained, 0 to 5, from the last.
        fpn_channels: Width of the feature pyramid.
        min_size: Shorter side in pixels that images are resized to; of several, training draws
            one for each image and evaluation takes the last.
        max_size: Longest longer side in pixels.
        rpn_pre_nms_train: Proposals a level before NMS, in training.
        rpn_pre_nms_test: The same in evaluation.
        rpn_post_nms_train: Proposals an image after NMS, in training.
        rpn_post_nms_test: The same in evaluation.
        rpn_nms_threshold: IoU above which the lower scored proposal goes.
        proposals_per_image: Proposals sampled for the heads in training.
        positive_fraction: Largest share of faces among them.
        score_threshold: Detections need a score above it.
        face_score_threshold: Score above which a detection counts as a face where the user gives
            no threshold: to commands, `Detector` and evaluations.
        nms_threshold: IoU above which the lower scored detection goes.
        max_detections: Most detections an image.
        box_x_factor: Width of a face box over that of the projected 68 points.
        box_y_factor: The same for the height.
        box_forehead: Share of the extent added on the forehead's side.
        min_depth: Depths below it count as it in the points loss (None as published).
        match_published: Box centres truncated to whole pixels and boxes rounded as by the
            published code at inference.
        inference_profile: `exact`, or `fast` with fewer proposals and bfloat16 where the processor
            has it (`img2pose.models.profiles`). Training is not concerned.
    """

    depth: int = 18
    norm: str = "frozen_bn"
    pose_norm: str = "batch_norm"
    pretrained_backbone: bool = True
    trainable_stages: int = 3
    fpn_channels: int = 256
    min_size: tuple[int, ...] = (640, 672, 704, 736, 768, 800)
    max_size: int = 1400
    rpn_pre_nms_train: int = 6000
    rpn_pre_nms_test: int = 6000
    rpn_post_nms_train: int = 2000
    rpn_post_nms_test: int = 1000
    rpn_nms_threshold: float = 0.4
    proposals_per_image: int = 512
    positive_fraction: float = 0.25
    score_threshold: float = 0.05
    face_score_threshold: float = 0.5
    nms_threshold: float = 0.5
    max_detections: int = 1000
    box_x_factor: float = 1.1
    box_y_factor: float = 1.1
    box_forehead: float = 0.3
    min_depth: float | None = None
    match_published: bool = False
    inference_profile: str = "exact"

    def __post_init__(self) -> None:
        _check_choice(self, "depth", (18, 34, 50, 101))
        _check_choice(self, "norm", ("frozen_bn", "batch_norm", "group_norm"))
        _check_choice(self, "pose_norm", ("batch_norm", "layer_norm"))
        _check_choice(self, "inference_profile", ("exact", "fast"))
        _check_choice(self, "trainable_stages", range(6))
        if self.pretrained_backbone and self.norm == "group_norm":
            raise InputError(
                "norm: there are no pretrained weights with group_norm; set"
                " pretrained_backbone to false"
            )
        if not self.min_size:
            raise InputError("min_size: give at least one size")
        counts = ("fpn_channels", "max_size", "proposals_per_image", "max_detections")
        proposals = (
            "rpn_pre_nms_train",
            "rpn_pre_nms_test",
            "rpn_post_nms_train",
            "rpn_post_nms_test",
        )
        for name in (*counts, *proposals):
            _check_range(self, name, low=1)
        for name in ("box_x_factor", "box_y_factor", "box_forehead"):
            _check_range(self, name, low=0)
        if self.min_depth is not None and self.min_depth <= 0:
            raise InputError(f"min_depth: must be positive, not {self.min_depth}")
        for size in self.min_size:
            if size < 1:
                raise InputError(f"min_size: sizes must be positive, not {size}")
        if max(self.min_size) > self.max_size:
            raise InputError(
                f"max_size: {self.max_size} is less than min_size {max(self.min_size)}, so that"
                " pictures would stay smaller than asked; give both"
            )
        for name in ("rpn_nms_threshold", "score_threshold", "nms_threshold", "positive_fraction"):
            _check_range(self, name, low=0, high=1)
        # Within what evaluations keep and the slider of scripts/demo_app.py shows.
        _check_range(self, "face_score_threshold", low=0.05, high=0.95)


@dataclass(frozen=True)
class DataConfig:
    """Where the faces come from and how they are changed in training.

    Attributes:
        train_source: LMDB to train on, or several.
        train_weights: How often each of these LMDBs' pictures are seen in an epoch: 2 is twice,
            0.5 another half of them each time. Empty: once.
        val_source: LMDB to validate on, or several (empty: no validation, which plateau and early
            stop need).
        pose_mean: `.npy` file of the training set's pose mean; None: the one beside train_source,
            or those of several, pooled by their faces and weights.
        pose_stddev: The same for the standard deviation.
        threed_68_points: `.npy` file of other reference points; None: the project's own.
        threed_5_points: The same for the five points; give both or none.
        workers: Processes that read and augment.
        unreadable_records: `fatal`: a damaged record ends the run. `skip`: it is reported and
            another one, drawn by its seed, stands in for it.
        random_flip: Mirror one picture in two.
        random_crop: Crop one picture in two to 0.7-1.0 of its sides, anywhere in it.
        rotation_deg: Largest turn in the picture's plane, either way.
        scale_range: Pictures are scaled by a factor drawn from it (log-uniform).
        zoom_out_range: One whole picture in two goes to a drawn place on a canvas whose sides are
            so many times its own, at least 1 (log-uniform), filled with its mean colour or a gray.
        brightness: Largest relative change of brightness.
        gamma_range: Levels as shares of white are raised to a power drawn from it (log-uniform).
        channel_gain: Largest relative change of red, green and blue each.
        saturation: Largest relative change of the distance from gray.
        hue_deg: Largest turn of the hue, either way.
        grayscale_probability: Share of pictures without colour.
        noise_augmentation: One picture in five gets Gaussian, salt and pepper or Poisson noise.
        contrast_augmentation: One picture in two gets 0.5-1.5 times its contrast.
        blur_sigma: Largest standard deviation of a Gaussian blur. Like the next one in pixels
            after the picture was placed: a canvas of a mosaic, a whole picture before the model
            resizes it.
        motion_blur_length: Longest straight path of a motion blur in pixels.
        low_resolution_scale: Smallest factor by which a picture is shrunk before it is enlarged
            to its size again; 1: never.
        jpeg_quality_min: Lowest quality of a JPEG that the picture is compressed with, 99 being
            the highest; 100: it is not.
        degradation_probability: Share of pictures, or of a mosaic's tiles, that each of the last
            four is done to, independently and only where it is on.
        occlusion_probability: Share of faces that a rectangle or ellipse is put over, somewhere
            in their box, filled with a colour, noise or another part of the picture; as many are
            put anywhere else.
        occlusion_size: Sides of it as shares of the box's: the range they are drawn from.
        occlusion_max_hidden: Faces of which occluders hide a larger share of the projected points
            are painted out; 1: labels always stay.
        mosaic_max_side: Up to this number of pictures squared are put on one canvas, each cropped
            around a face; 0 trains on whole pictures.
        mosaic_canvas: Side of that canvas in pixels.
        mosaic_margin: Side of a cropped picture in face sizes: the range it is drawn from.
        min_face_pixels: Faces whose box is smaller after augmentation are painted out.
    """

    train_source: tuple[str, ...] = ()
    train_weights: tuple[float, ...] = ()
    val_source: tuple[str, ...] = ()
    pose_mean: str | None = None
    pose_stddev: str | None = None
    threed_68_points: str | None = None
    threed_5_points: str | None = None
    workers: int = 4
    unreadable_records: str = "fatal"
    random_flip: bool = False
    random_crop: bool = False
    rotation_deg: float = 0.0
    scale_range: tuple[float, float] = (1.0, 1.0)
    zoom_out_range: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    gamma_range: tuple[float, float] = (1.0, 1.0)
    channel_gain: float = 0.0
    saturation: float = 0.0
    hue_deg: float = 0.0
    grayscale_probability: float = 0.0
    noise_augmentation: bool = False
    contrast_augmentation: bool = False
    blur_sigma: float = 0.0
    motion_blur_length: float = 0.0
    low_resolution_scale: float = 1.0
    jpeg_quality_min: int = 100
    degradation_probability: float = 0.2
    occlusion_probability: float = 0.0
    occlusion_size: tuple[float, float] = (0.2, 0.6)
    occlusion_max_hidden: float = 1.0
    mosaic_max_side: int = 0
    mosaic_canvas: int = 320
    mosaic_margin: tuple[float, float] = (2.0, 5.0)
    min_face_pixels: float = 4.0

    def __post_init__(self) -> None:
        _check_choice(self, "unreadable_records", ("fatal", "skip"))
        if self.train_weights and len(self.train_weights) != len(self.train_source):
            raise InputError(
                f"train_weights: give one for each of {len(self.train_source)} train_source"
            )
        if not all(0.001 <= weight <= 1000 for weight in self.train_weights):
            raise InputError("train_weights: must be between 0.001 and 1000")
        for name in ("workers", "rotation_deg", "mosaic_max_side", "min_face_pixels"):
            _check_range(self, name, low=0)
        for name in ("brightness", "saturation", "channel_gain"):
            _check_range(self, name, low=0, high=1)
        for name in (
            "grayscale_probability",
            "degradation_probability",
            "occlusion_probability",
            "occlusion_max_hidden",
        ):
            _check_range(self, name, low=0, high=1)
        _check_range(self, "hue_deg", low=0, high=180)
        _check_range(self, "blur_sigma", low=0, high=100)
        _check_range(self, "motion_blur_length", low=0, high=500)
        _check_range(self, "low_resolution_scale", low=0.01, high=1)
        _check_range(self, "jpeg_quality_min", low=1, high=100)
        _check_range(self, "mosaic_canvas", low=32)
        for name in (
            "scale_range",
            "zoom_out_range",
            "gamma_range",
            "mosaic_margin",
            "occlusion_size",
        ):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InputError(f"{name}: two positive numbers, low first, not {low}, {high}")
        if self.zoom_out_range[0] < 1:
            raise InputError(f"zoom_out_range: at least 1, not {self.zoom_out_range[0]}")
        if (self.threed_68_points is None) != (self.threed_5_points is None):
            raise InputError("threed_68_points and threed_5_points: give both or none")
        if (self.pose_mean is None) != (self.pose_stddev is None):
            raise InputError("pose_mean and pose_stddev: give both or none")


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer and how its learning rate changes.

    Defaults are the published ones; the published commands also switch `plateau` and an early
    stop with a patience of 5 on.

    Attributes:
        optimizer: `SGD` or `AdamW`.
        lr: Learning rate.
        lr_batch_size: Pictures a step that `lr` is meant for: the rate grows in proportion to
            those of the run (batch size, processes and accumulation together). 0: it does not.
        momentum: Of SGD.
        weight_decay: Of both.
        decay_norms_and_biases: Whether weight decay also holds for norms and biases.
        frozen: Beginnings of the names of weights that are not trained, such as `backbone.body`.
        clip_gradient_norm: Largest norm of all gradients together; 0 leaves them.
        epochs: Most passes over the training set.
        batch_size: Pictures a batch, in each process.
        accumulation_steps: Batches a step, in each process: their gradients add up to those of
            one large batch, in the memory of a small one.
        precision: `float32`, `bfloat16` or `float16` (with loss scaling) for convolutions and
            heads in training; geometry, losses, weights and validation stay in float32.
        channels_last: Lay weights and features out with channels last.
        ema_decay: Evaluate and keep a moving average of the weights, of which so much is left
            after each step (it begins with less); 0: the weights themselves.
        schedule: `plateau`: a tenth (`lr_plateau_factor`) after validations without a
            better `monitor`. `linear`: constant, then linearly to zero over the last
            `decay_fraction` of all steps. `cosine`: from the full rate to zero along half a wave,
            over all steps after the warm-up. `constant`.
        warmup_steps: Steps over which the rate rises linearly from zero.
        decay_fraction: See `schedule`.
        lr_plateau_factor: See `schedule`.
        lr_plateau_patience: Validations without improvement that are borne.
        lr_plateau_threshold: Relative improvement that counts.
        lr_plateau_cooldown: Validations after a reduction that are not counted.
        lr_plateau_min: Smallest rate.
        early_stop_patience: Validations without a better `monitor` after which training ends;
            0 never.
        seed: Of weights, order, sampling and augmentation.
    """

    optimizer: str = "SGD"
    lr: float = 0.001
    lr_batch_size: int = 0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_norms_and_biases: bool = True
    frozen: tuple[str, ...] = ()
    clip_gradient_norm: float = 10.0
    epochs: int = 100
    batch_size: int = 2
    accumulation_steps: int = 1
    precision: str = "float32"
    channels_last: bool = False
    ema_decay: float = 0.0
    schedule: str = "constant"
    warmup_steps: int = 0
    decay_fraction: float = 0.3
    lr_plateau_factor: float = 0.1
    lr_plateau_patience: int = 3
    lr_plateau_threshold: float = 0.001
    lr_plateau_cooldown: int = 1
    lr_plateau_min: float = 1e-5
    early_stop_patience: int = 0
    seed: int = 42

    def __post_init__(self) -> None:
        _check_choice(self, "optimizer", ("SGD", "AdamW"))
        _check_choice(self, "schedule", ("plateau", "linear", "cosine", "constant"))
        _check_choice(self, "precision", ("float32", "bfloat16", "float16"))
        for name in ("epochs", "batch_size", "accumulation_steps"):
            _check_range(self, name, low=1)
        for name in ("lr", "lr_plateau_factor"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name}: must be positive, not {getattr(self, name)}")
        for name in ("decay_fraction", "momentum", "ema_decay"):
            _check_range(self, name, low=0, high=1)
        if self.ema_decay == 1:
            raise InputError("ema_decay: must be below 1, or the average never moves")
        if self.lr_plateau_factor >= 1:
            raise InputError(f"lr_plateau_factor: must be below 1, not {self.lr_plateau_factor}")
        for name in ("lr_plateau_patience", "lr_plateau_cooldown", "lr_plateau_min"):
            _check_range(self, name, low=0)
        _check_range(self, "seed", low=0, high=2**32 - 1)
        for name in (
            "lr_batch_size",
            "warmup_steps",
            "early_stop_patience",
            "clip_gradient_norm",
            "weight_decay",
        ):
            _check_range(self, name, low=0)


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        workspace: Folder for runs.
        prefix: The run's name: files go to `workspace/prefix`.
        pretrained_path: Checkpoint whose weights the run starts from.
        device: `cuda`, `cpu`, or None: CUDA when there is one.
        log_every_steps: Steps between two lines in TensorBoard.
        validate_every_epochs: Epochs between two validations.
        evaluators: Evaluators to run on `val_source` with each validation: `landmarks`.
        monitor: What decides on the best checkpoint, the plateau and the early stop: `loss` (of
            validation) or a figure of an evaluator, such as `landmarks/landmark_error_mean`.
        sheet_pictures: Pictures of `val_source` that are drawn with what is found in them, with
            each validation.
        checkpoint_every_steps: Steps between two writings of `last.pth` within an epoch; 0: only
            at its end.
        keep_every_epochs: Also keep every n-th epoch's checkpoint, as `epoch_0010.pth`; 0: none.
        model: See `ModelConfig`.
        data: See `DataConfig`.
        optim: See `OptimConfig`.
    """

    workspace: str = "workspace"
    prefix: str = "img2pose"
    pretrained_path: str | None = None
    device: str | None = None
    log_every_steps: int = 20
    validate_every_epochs: int = 1
    evaluators: tuple[str, ...] = ()
    monitor: str = "loss"
    sheet_pictures: int = 0
    checkpoint_every_steps: int = 1000
    keep_every_epochs: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        for name in ("log_every_steps", "validate_every_epochs"):
            _check_range(self, name, low=1)
        for name in ("sheet_pictures", "checkpoint_every_steps", "keep_every_epochs"):
            _check_range(self, name, low=0)
        if not self.prefix or not self.workspace:
            raise InputError("workspace and prefix: must not be empty")


def _check_choice(config: object, name: str, choices: Sequence[object]) -> None:
    value = getattr(config, name)
    if value not in choices:
        raise InputError(f"{name}: {value!r} is none of {', '.join(map(str, choices))}")


def _check_range(
    config: object, name: str, *, low: float | None = None, high: float | None = None
) -> None:
    value = getattr(config, name)
    # So that NaN fails.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InputError(f"{name}: must be {bounds}, not {value}")


Config = TypeVar("Config")


def _convert(value: Any, kind: Any, name: str) -> Any:
    """`value` as the annotated type, so that YAML's and the shell's spellings both do."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None or value == "null":
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), name)
    if origin is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.strip("[]() ").split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            value = [value]
        if arguments[-1] is Ellipsis:
            return tuple(_convert(item, arguments[0], name) for item in value)
        if len(value) != len(arguments):
            raise InputError(f"{name}: {len(arguments)} values expected, not {value}")
        return tuple(_convert(v, a, name) for v, a in zip(value, arguments, strict=True))
    if kind is bool:
        spelled = {"true": True, "false": False}
        if isinstance(value, str) and value.strip().lower() in spelled:
            return spelled[value.strip().lower()]
        if not isinstance(value, bool):
            raise InputError(f"{name}: true or false expected, not {value!r}")
        return value
    if kind is str:
        if not isinstance(value, str):
            raise InputError(f"{name}: text expected, not {value!r}")
        return value
    try:
        if isinstance(value, bool):
            raise ValueError
        number = kind(value.strip() if isinstance(value, str) else value)
        if kind is int and not isinstance(value, str) and number != value:
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: a number ({kind.__name__}) expected, not {value!r}") from error
    if number != number or number in (float("inf"), float("-inf")):
        raise InputError(f"{name}: must be finite, not {value!r}")
    return number


def config_from_mapping(kind: type[Config], values: Mapping[str, Any], where: str = "") -> Config:
    """Builds a config dataclass from nested mappings.

    Args:
        kind: The dataclass.
        values: Its fields by name; nested dataclasses as mappings.
        where: What error messages begin with, for example the file.

    Raises:
        InputError: A key is unknown or a value is of the wrong type or out of range.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: a mapping of names to values expected, not {values!r}")
    hints = typing.get_type_hints(kind)
    unknown = [str(key) for key in values if key not in hints]
    if unknown:
        raise InputError(
            f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(hints))}"
        )
    converted: dict[str, Any] = {}
    for name, value in values.items():
        label = f"{where}: {name}" if where else name
        if dataclasses.is_dataclass(hints[name]):
            # A heading without lines below it is null in YAML.
            part = {} if value is None else value
            converted[name] = config_from_mapping(typing.cast(type, hints[name]), part, label)
        else:
            converted[name] = _convert(value, hints[name], label)
    try:
        return kind(**converted)
    except InputError as error:
        raise InputError(f"{where}: {error}" if where else str(error)) from error


def _read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as YAML ({reason}); check --config") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: a mapping of names to values expected; see configs/")
    return values


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def nested_from_dotted(assignments: Mapping[str, Any]) -> dict[str, Any]:
    """{"model.depth": 18} -> {"model": {"depth": 18}}.

    Raises:
        InputError: A name has both a value and parts.
    """
    nested: dict[str, Any] = {}
    for dotted, value in assignments.items():
        *parents, last = dotted.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
            if not isinstance(level, dict):
                raise InputError(f"{dotted}: {parent} is set to one value too; give one of the two")
        if isinstance(level.get(last), dict):
            raise InputError(f"{dotted}: its parts are set too; give one of the two")
        level[last] = value
    return nested


def values_from_assignments(flag: str, assignments: Sequence[str]) -> dict[str, str]:
    """["model.depth=18"] -> {"model.depth": "18"}.

    Args:
        flag: What the user gave them with, for messages.
        assignments: `KEY=VALUE` each.

    Raises:
        InputError: One is of another form.
    """
    values: dict[str, str] = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key.strip():
            raise InputError(f"{flag} {assignment}: give KEY=VALUE")
        values[key.strip()] = value.strip()
    return values


def read_config(
    kind: type[Config],
    path: str | os.PathLike[str] | None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Reads a YAML file and lays dotted overrides (`{"model.depth": 50}`) over it.

    Args:
        kind: The dataclass to build.
        path: YAML file, or None for the defaults.
        overrides: Values by dotted name; they win over the file.

    Raises:
        InputError: The file cannot be read, a key is unknown or a value unusable.
    """
    values = _read_yaml(path) if path is not None else {}
    _merge(values, nested_from_dotted(overrides or {}))
    sources = [str(path)] if path is not None else []
    sources += ["command line"] if overrides else []
    return config_from_mapping(kind, values, " and ".join(sources) or "options")
