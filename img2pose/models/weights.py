"""Model files: our own checkpoints and the layouts of the published weights.

Only tensors, numbers, text and containers of them are read (`weights_only=True`): nothing in a
file is executed.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from img2pose.config import ModelConfig, config_from_mapping
from img2pose.errors import InputError
from img2pose.models.compact import compact_state, restored_state
from img2pose.models.img2pose import Img2Pose
from img2pose.references import PoseReferences
from img2pose.types import PoseStats

logger = logging.getLogger(__name__)

FORMAT = "img2pose-torch"
FORMAT_VERSION = 1
# Of files with weights in fewer bytes, which releases before them cannot read.
COMPACT_VERSION = 2
# Of what does not fit; weights of another depth have hundreds of such.
_FAULTS_NAMED = 3
# PoseReferences.sha256 of the published project's points.
PUBLISHED_REFERENCES_SHA256 = "2915dbdd60f19950842448bb43116efff1fd90cf89d065d3f2f2148cf7ccd59b"

# torchvision renamed these modules after 2021; the published files carry the old names.
_RENAMED = (
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
    (
        re.compile(r"^backbone\.fpn\.(inner|layer)_blocks\.(\d)\.(weight|bias)$"),
        r"backbone.fpn.\1_blocks.\2.0.\3",
    ),
)


def pack_model(model: Img2Pose) -> dict[str, Any]:
    """Everything that `load_model` needs, as tensors, numbers and text."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model_config": dataclasses.asdict(model.config),
        "model": model.state_dict(),
        "pose_mean": torch.tensor(model.pose_stats.mean),
        "pose_stddev": torch.tensor(model.pose_stats.stddev),
        "points_68": torch.tensor(model.references.points_68),
        "points_5": torch.tensor(model.references.points_5),
        "references_sha256": model.references.sha256,
    }


def pack_compact_model(model: Img2Pose, weights: str, source_sha256: str) -> dict[str, Any]:
    """The same in fewer bytes, for inference and as a start of training.

    Args:
        model: The model.
        weights: How large weights are stored; see `compact_state`.
        source_sha256: Hash of the checkpoint that it comes from.

    Raises:
        InputError: A weight is beyond float16's range.
        ValueError: Weights of another type are asked for.
    """
    content = pack_model(model)
    content["format_version"] = COMPACT_VERSION
    content["weights"] = weights
    content["source_sha256"] = source_sha256
    content["model"], content["scales"] = compact_state(content["model"], weights)
    return content


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a file of `torch.save` without running anything in it.

    Raises:
        InputError: The file is missing, is no checkpoint or holds more than plain values.
    """
    remedy = "give a checkpoint that train.py wrote or the published weights"
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; {remedy}")
    try:
        # torch.load itself does not compare the checksums that torch.save wrote.
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(damaged)
        with warnings.catch_warnings():
            # About pickle protocols; what comes of it is said below.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path}: is no checkpoint or is damaged; {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}, not a checkpoint; {remedy}")
    return content


def _load_state(model: Img2Pose, state: Mapping[str, Tensor], path: str) -> None:
    expected = model.state_dict()
    # A norm that counts batches may come from a version that did not.
    optional = {name for name in expected if name.endswith("num_batches_tracked")}
    faults = [f"missing {name}" for name in expected if name not in state and name not in optional]
    faults += [f"unknown {name}" for name in state if name not in expected]
    faults += [
        f"{name} has shape {tuple(state[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    faults += [
        f"{name} holds values that are not finite"
        for name, value in state.items()
        if not torch.isfinite(value).all()
    ]
    faults += [
        f"{name} is of {state[name].dtype}, not of floats"
        for name in expected
        if name in state and expected[name].is_floating_point() > state[name].is_floating_point()
    ]
    if faults:
        named = "; ".join(faults[:_FAULTS_NAMED]) + ("; ..." if faults[_FAULTS_NAMED:] else "")
        raise InputError(
            f"{path}: weights do not fit the model ({len(faults)} entries: {named});"
            " check depth and norm"
        )
    model.load_state_dict({**{name: expected[name] for name in optional}, **state})


def _pose_stats_of(content: Mapping[str, Any]) -> PoseStats:
    return PoseStats(content["pose_mean"].numpy(), content["pose_stddev"].numpy())


def _unpack(
    content: dict[str, Any],
    path: str,
    pose_stats: PoseStats | None,
    references: PoseReferences | None,
    overrides: Mapping[str, Any],
) -> Img2Pose:
    if content.get("format_version") not in (FORMAT_VERSION, COMPACT_VERSION):
        raise InputError(
            f"{path}: format version {content.get('format_version')!r}, but this release reads"
            f" {FORMAT_VERSION} and {COMPACT_VERSION}; update img2pose-torch"
        )
    try:
        config = config_from_mapping(
            ModelConfig, {**content["model_config"], **overrides}, f"{path}: model_config"
        )
        stored = PoseReferences(content["points_68"].numpy(), content["points_5"].numpy())
        model = Img2Pose(
            config,
            pose_stats or _pose_stats_of(content),
            references or stored,
            download_backbone=False,
        )
        state = content["model"]
        if content["format_version"] == COMPACT_VERSION:
            state = restored_state(state, content["scales"], path)
        if stored.sha256 != content["references_sha256"]:
            raise InputError(f"{path}: its reference points are damaged; use another copy")
        _load_state(model, state, path)
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: is no complete checkpoint ({type(error).__name__}: {error}); train again or"
            " use another copy"
        ) from error
    return model


def _published_state(content: Mapping[str, Any]) -> dict[str, Tensor] | None:
    state = content.get("fpn_model", content)
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        return None
    renamed = {}
    for name, value in state.items():
        name = name.removeprefix("module.")
        for pattern, replacement in _RENAMED:
            name = pattern.sub(replacement, name)
        renamed[name] = value
    return renamed if any(name.startswith("roi_heads.") for name in renamed) else None


def _depth_of(state: Mapping[str, Tensor], path: str) -> int:
    """The ResNet's depth, which published files do not name: from the blocks of its third stage."""
    blocks = {name.split(".")[3] for name in state if name.startswith("backbone.body.layer3.")}
    has_bottlenecks = "backbone.body.layer3.0.conv3.weight" in state
    depths = {(2, False): 18, (6, False): 34, (6, True): 50, (23, True): 101}
    depth = depths.get((len(blocks), has_bottlenecks))
    if depth is None:
        raise InputError(
            f"{path}: its ResNet is none of depth 18, 34, 50, 101; give a depth or other weights"
        )
    return depth


def load_model(
    path: str | os.PathLike[str],
    *,
    pose_stats: PoseStats | None = None,
    references: PoseReferences | None = None,
    device: str | torch.device = "cpu",
    match_published: bool | None = None,
    **overrides: Any,
) -> Img2Pose:
    """Loads our checkpoints and the published weights, ready for evaluation.

    Args:
        path: A checkpoint of `train.py`, whole or compact, or published weights (with or without
            `module.`, with torchvision's names of 2021 or of today, with or without optimizer).
        pose_stats: Needed with published weights, which do not carry them.
        references: Other reference points than the checkpoint's; the project's own are the
            default for published weights, whose boxes then differ slightly.
        device: Where the model goes.
        match_published: See `ModelConfig`; True unless given for published weights.
        **overrides: Other fields of `ModelConfig`, for example `min_size=400`. The depth of
            published weights is read from them.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: The file is missing, no checkpoint, damaged, or does not fit the architecture
            (how many entries are missing, unknown or misshapen, and the first of them).
    """
    name = str(path)
    content = read_checkpoint(path)
    if match_published is not None:
        overrides["match_published"] = match_published
    if content.get("format") == FORMAT:
        model = _unpack(content, name, pose_stats, references, overrides)
    else:
        state = _published_state(content)
        if state is None:
            raise InputError(
                f"{path}: is no img2pose checkpoint; give one that train.py wrote or the"
                " published weights"
            )
        if pose_stats is None:
            raise InputError(
                f"{path}: published weights carry no pose statistics; give pose_stats"
                " (--pose_mean, --pose_stddev)"
            )
        if references is None:
            references = PoseReferences.default()
        if references.sha256 != PUBLISHED_REFERENCES_SHA256:
            logger.warning(
                "%s: weights trained with other reference points than those given: boxes will"
                " differ; give the original's points to match it",
                path,
            )
        overrides.setdefault("match_published", True)
        if "depth" not in overrides:
            overrides["depth"] = _depth_of(state, name)
        config = config_from_mapping(ModelConfig, overrides, "model settings")
        model = Img2Pose(config, pose_stats, references, download_backbone=False)
        _load_state(model, state, name)
    model.to(device)
    model.eval()
    return model
