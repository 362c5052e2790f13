"""A model written as one ONNX file, checked against the model itself before it appears."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from img2pose.errors import InputError, OutputError
from img2pose.files import replace_when_complete, told_when_unwritable, write_json
from img2pose.inference.agreement import Agreement, agreement_of
from img2pose.inference.detector import Detector
from img2pose.inference.onnx_detector import CPU_PROVIDER, OnnxDetector
from img2pose.inference.onnx_metadata import INPUT_NAMES, OUTPUT_NAMES, OnnxMetadata
from img2pose.models.img2pose import Img2Pose
from img2pose.versions import package_versions

try:
    import onnx

    from img2pose.inference.export_graph import TRANSLATIONS, PictureToFaces
except ImportError as error:
    raise InputError(
        f"{error.name} is not installed, which exporting needs; pip install img2pose-torch[onnx]"
    ) from error

WEIGHTS = ("float32", "float16")
OPSET = 18
TOLERANCE = 1e-3
"""Poses must agree so far (of their own size where that is above 1), scores and, over the
picture's longer side, boxes too."""

_EXAMPLE_SIZE_HW = (96, 128)
# Smaller tensors weigh nothing, and biases and norms are kept exact.
_SMALLEST_HALVED = 1024


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        path: The file.
        weights: How it stores them.
        float32_bytes: Its size with weights in float32.
        bytes: Its size.
        score_threshold: Of the faces that were compared.
        agreement: Of the graph in float32 with the model.
        loss: Of the file with the model, where its weights are in float16.
    """

    path: Path
    weights: str
    float32_bytes: int
    bytes: int
    score_threshold: float
    agreement: Agreement
    loss: Agreement | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path), "tolerance": TOLERANCE}


def report_path(path: Path) -> Path:
    """Where `export_onnx` writes its report: `NAME.json` beside `NAME.onnx`."""
    return path.with_suffix(".json")


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter tells of its steps and of what its own next releases will change.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _settings_of(model: Img2Pose) -> dict[str, torch.Tensor]:
    """Inputs of the graph that may be left out, with what then holds."""
    config = model.config
    values = (
        config.score_threshold,
        config.nms_threshold,
        config.max_detections,
        [config.box_x_factor, config.box_y_factor, config.box_forehead],
        config.min_size[-1],
        config.max_size,
    )
    return dict(zip(INPUT_NAMES[1:], map(torch.tensor, values), strict=True))


def onnx_of(model: Img2Pose, checkpoint_sha256: str) -> onnx.ModelProto:
    """The graph of a model, with `OnnxMetadata` and weights in float32.

    Its inputs and outputs are those of `PictureToFaces`; all inputs but the image have defaults.

    Args:
        model: In evaluation mode, on the CPU.
        checkpoint_sha256: Hash of the file that the model comes from.
    """
    settings = _settings_of(model)
    example = torch.zeros((*_EXAMPLE_SIZE_HW, 3), dtype=torch.uint8)
    sizes = {0: torch.export.Dim("height", min=1), 1: torch.export.Dim("width", min=1)}
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            PictureToFaces(model),
            (example, *settings.values()),
            input_names=list(INPUT_NAMES),
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes=(sizes, *(None for _ in settings)),
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table=TRANSLATIONS,
            verbose=False,
        )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    for name, value in settings.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value.numpy(), name))
    for node in proto.graph.node:
        # Where in this code it comes from, with the paths of the machine that exported it.
        del node.metadata_props[:]
    for output in proto.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "faces"
    # Shapes that depend on the picture, by names that mean nothing outside the exporter.
    del proto.graph.value_info[:]
    metadata = OnnxMetadata(
        model.config,
        model.pose_stats,
        model.references,
        checkpoint_sha256,
        package_versions()["img2pose-torch"],
    )
    onnx.helper.set_model_props(proto, metadata.to_properties())
    return proto


def halve_weights(proto: onnx.ModelProto) -> None:
    """Stores large weights in float16; the graph casts them when it is loaded, and runs as before.

    Raises:
        InputError: A weight is beyond float16's range.
    """
    casts = []
    for initializer in proto.graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT or len(initializer.dims) < 2:
            continue
        values = onnx.numpy_helper.to_array(initializer)
        if values.size < _SMALLEST_HALVED:
            continue
        name = initializer.name
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise InputError(f"weights float16: {name} has values beyond it; keep float32")
        half = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_float16")
        initializer.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _as_exported(model: Img2Pose) -> Img2Pose:
    """A copy that computes as the graph does: on the CPU, in float32."""
    plain: Img2Pose = copy.deepcopy(model).cpu().eval()
    plain.profile = replace(plain.profile, bfloat16=False)
    plain.rpn.bfloat16 = plain.roi_heads.bfloat16 = False
    return plain


def _compare(detector: Detector, path: Path, pictures: Sequence[np.ndarray]) -> Agreement:
    threshold = detector.score_threshold
    exported = OnnxDetector(path, threshold, providers=[CPU_PROVIDER])
    return agreement_of(
        ((detector.predict(picture), exported.predict(picture)) for picture in pictures),
        threshold=threshold,
        margin=TOLERANCE,
    )


def _check(agreement: Agreement, path: Path, *, published: bool) -> None:
    worst = {"poses": agreement.pose, "scores": agreement.score}
    if not published:  # whose boxes jump by whole pixels
        worst["boxes"] = agreement.box_share
    faults = [
        f"{name} by up to {value:.2g}" for name, value in worst.items() if not value <= TOLERANCE
    ]
    if agreement.only_first or agreement.only_second:
        faults.append(
            f"{agreement.only_first} faces that only PyTorch finds and {agreement.only_second} that"
            " only ONNX Runtime does"
        )
    if faults:
        raise OutputError(
            f"{path}: not written, for in {agreement.pictures} pictures the exported model differs"
            f" from the checkpoint in {', '.join(faults)}; give other pictures to compare, or"
            " report it"
        )


def export_onnx(
    model: Img2Pose,
    path: str | os.PathLike[str],
    *,
    pictures: Sequence[np.ndarray],
    checkpoint_sha256: str,
    weights: str = "float32",
) -> ExportReport:
    """Writes a model as one ONNX file, and a report as JSON beside it.

    The file is first written beside its place, run on pictures and compared with the model; it
    appears only if both find the same faces with the same poses.

    Args:
        model: In any mode, on any device. Faces with a score above its own threshold are compared.
        path: The file, `.onnx`.
        pictures: (H, W, 3) uint8 RGB each, of several sizes; some should show faces.
        checkpoint_sha256: Hash of the file that the model comes from, noted in the file.
        weights: `float32`, or `float16`: half the size; what is lost is measured on the pictures.

    Raises:
        InputError: The weights do not fit float16.
        OutputError: The exported model differs from the model, or a file cannot be written.
        ValueError: There is no picture, or weights of another type are asked for.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}: {weights!r}")
    if not pictures:
        raise ValueError("export needs pictures to compare")
    plain = _as_exported(model)
    return write_if_equal(
        onnx_of(plain, checkpoint_sha256),
        plain,
        Path(path),
        pictures=pictures,
        weights=weights,
    )


def write_if_equal(
    proto: onnx.ModelProto,
    model: Img2Pose,
    path: Path,
    *,
    pictures: Sequence[np.ndarray],
    weights: str,
) -> ExportReport:
    """Writes the graph of a model if both find the same; see `export_onnx`.

    Args:
        proto: Of `onnx_of`; its weights are changed if they are to be stored in float16.
        model: That it was made from.
        path: The file.
        pictures: As for `export_onnx`.
        weights: As for `export_onnx`.

    Raises:
        InputError: The weights do not fit float16.
        OutputError: They differ, or a file cannot be written.
    """
    detector = Detector(model, model.config.score_threshold)
    with told_when_unwritable(path), replace_when_complete(path) as part:
        part.write_bytes(proto.SerializeToString())
        float32_bytes = part.stat().st_size
        agreement = _compare(detector, part, pictures)
        _check(agreement, path, published=model.config.match_published)
        loss = None
        if weights == "float16":
            halve_weights(proto)
            part.write_bytes(proto.SerializeToString())
            loss = _compare(detector, part, pictures)
        report = ExportReport(
            path,
            weights,
            float32_bytes,
            part.stat().st_size,
            detector.score_threshold,
            agreement,
            loss,
        )
        write_json(report_path(path), report.to_dict(), indent=1)
    return report
