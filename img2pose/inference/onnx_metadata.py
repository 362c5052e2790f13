"""What an exported file says of itself, so that it needs no other file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from img2pose.config import ModelConfig, config_from_mapping
from img2pose.errors import InputError
from img2pose.references import PoseReferences
from img2pose.types import PoseStats

FORMAT = "img2pose-onnx"
FORMAT_VERSION = 1
_KEY = "img2pose"
_REMEDY = "give a file that scripts/export_onnx.py wrote"

INPUT_NAMES = (
    "image",
    "score_threshold",
    "nms_threshold",
    "max_detections",
    "box_factors",
    "min_size",
    "max_size",
)
"""Of the graph; see `export_graph.PictureToFaces`. All but the first may be left out."""

OUTPUT_NAMES = ("boxes", "scores", "poses")
"""Of the graph, float32: (N, 4), (N,), (N, 6)."""


@dataclass(frozen=True, eq=False)
class OnnxMetadata:
    """The model behind a graph.

    Attributes:
        config: Its architecture and settings, those of the graph's inputs that may be left out.
        pose_stats: Normalisation of its poses, which the graph undoes.
        references: The face its poses refer to.
        checkpoint_sha256: Hash of the file it was exported from.
        package_version: Of img2pose-torch that exported it.
    """

    config: ModelConfig
    pose_stats: PoseStats
    references: PoseReferences
    checkpoint_sha256: str
    package_version: str

    def to_properties(self) -> dict[str, str]:
        """Text by key, as ONNX stores it: one key with everything as JSON."""
        value = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "package_version": self.package_version,
            "checkpoint_sha256": self.checkpoint_sha256,
            "model_config": dataclasses.asdict(self.config),
            "pose_mean": self.pose_stats.mean.tolist(),
            "pose_stddev": self.pose_stats.stddev.tolist(),
            "references_sha256": self.references.sha256,
            "points_68": self.references.points_68.tolist(),
            "points_5": self.references.points_5.tolist(),
        }
        return {_KEY: json.dumps(value)}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], path: str) -> OnnxMetadata:
        """What `to_properties` gave.

        Args:
            properties: Of the file.
            path: Names it in errors.

        Raises:
            InputError: They are another program's, damaged, or of a later release.
        """
        if _KEY not in properties:
            raise InputError(f"{path}: is an ONNX file, but not of img2pose; {_REMEDY}")
        try:
            value: dict[str, Any] = json.loads(properties[_KEY])
            found = value["format"], value["format_version"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{path}: its metadata are damaged; {_REMEDY}") from error
        if found != (FORMAT, FORMAT_VERSION):
            raise InputError(
                f"{path}: format {found[0]!r} version {found[1]!r}, but this release reads"
                f" {FORMAT} {FORMAT_VERSION}; update img2pose-torch or export again"
            )
        try:
            references = PoseReferences(value["points_68"], value["points_5"])
            if references.sha256 != value["references_sha256"]:
                raise InputError("reference points differ from their hash")
            return cls(
                config_from_mapping(ModelConfig, value["model_config"], "model_config"),
                PoseStats(value["pose_mean"], value["pose_stddev"]),
                references,
                str(value["checkpoint_sha256"]),
                str(value["package_version"]),
            )
        # InputError is a ValueError too.
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise InputError(
                f"{path}: its metadata are damaged ({type(error).__name__}: {error}); {_REMEDY}"
            ) from error
