"""The summary that all commands with kept predictions leave."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from img2pose.evaluation.predictions import ModelNotes, PredictionCache
from img2pose.evaluation.report import Summary
from img2pose.versions import package_versions


def evaluation_summary(
    args: argparse.Namespace,
    cache: PredictionCache,
    model: ModelNotes,
    *,
    figures: Mapping[str, Any],
    protocol: Mapping[str, Any],
    data: Mapping[str, Any],
    settings: Mapping[str, Any],
    command: str,
    seconds: float,
) -> Summary:
    """Puts a summary together.

    Args:
        args: Parsed flags, with `checkpoint` and `dataset_path`.
        cache: What was scored.
        model: What predicted it.
        figures: Results by name.
        protocol: What they mean.
        data: What was judged, beyond the pictures' folder, count and hash.
        settings: Of the protocol, as the model ran with them; they stand for the model's own.
        command: As typed.
        seconds: From the command's start to here: all but report and files.
    """
    return Summary(
        figures=figures,
        protocol=protocol,
        data={
            "dataset_path": args.dataset_path,
            "pictures": cache.provenance["pictures"],
            "images_sha256": cache.provenance["images_sha256"],
            **data,
        },
        model={
            "checkpoint": args.checkpoint,
            "checkpoint_sha256": cache.provenance["checkpoint_sha256"],
            "references_sha256": model.references.sha256,
            # Of several sizes, which training draws from, the last is that of predictions.
            "min_size": model.config["min_size"][-1],
            "max_size": model.config["max_size"],
            "inference_profile": model.config["inference_profile"],
            "match_published": model.config["match_published"],
            **settings,
            "lowest_score": model.score_threshold,
            "device": model.device,
            "predicted_with": ", ".join(f"{name} {v}" for name, v in model.versions.items()),
        },
        command=command,
        seconds={"before_report": seconds, **cache.inference_seconds()},
        versions=package_versions(),
    )
