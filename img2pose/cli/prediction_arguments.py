"""The flags with which a command predicts into a cache, and what the cache depends on."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from img2pose.cli.model_arguments import checkpoint_path
from img2pose.distributed import ALONE, Processes
from img2pose.errors import InputError
from img2pose.evaluation.pictures import NamedPictures, fingerprint
from img2pose.evaluation.predicting import Predictor, predict_missing
from img2pose.evaluation.predictions import ModelNotes, PredictionCache
from img2pose.files import file_sha256
from img2pose.versions import package_versions

PREDICTIONS_FOLDER = "predictions"
_MODEL_FLAGS = ("min_size", "max_size", "inference_profile")
_MODEL_FILES = ("pose_mean", "pose_stddev", "threed_5_points", "threed_68_points")


def add_prediction_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--batch_size` and `--overwrite_predictions`."""
    group = parser.add_argument_group("predictions, kept in OUTPUT_PATH/predictions")
    group.add_argument(
        "--batch_size",
        type=int,
        default=1,
        help="pictures given to the model at a time (default %(default)s)",
    )
    group.add_argument(
        "--overwrite_predictions",
        action="store_true",
        help="predict anew what is there; without, it is scored as it is, if model, settings and"
        " pictures are the same",
    )


def model_provenance(
    args: argparse.Namespace, *, lowest_score: float | None, detection: Mapping[str, Any]
) -> dict[str, Any]:
    """What predictions depend on, pictures aside, without loading the model.

    The release counts, since another one may find other faces. Device, threads, batch size and
    the versions of torch and the like do not: they move the last digits only, and a run may go on
    elsewhere.

    Args:
        args: Parsed flags of `add_model_arguments`.
        lowest_score: The detector's score threshold; None: the checkpoint's.
        detection: Other settings of the protocol that change what is found.

    Raises:
        InputError: A file cannot be read.
    """
    remedy = "give a checkpoint that train.py wrote or the published weights"
    flags = {
        # "200, 300" and "200,300" are the same sizes.
        name: "".join(value.split()) if isinstance(value, str) else value
        for name in _MODEL_FLAGS
        for value in (getattr(args, name),)
    }
    files = {
        name: None if path is None else file_sha256(path, f"is --{name} right?")
        for name in _MODEL_FILES
        for path in (getattr(args, name),)
    }
    return {
        "checkpoint_sha256": file_sha256(checkpoint_path(args), remedy),
        "img2pose-torch": package_versions()["img2pose-torch"],
        **flags,
        **files,
        "lowest_score": lowest_score,
        "detection": dict(detection),
    }


def predictions_for(
    args: argparse.Namespace,
    pictures: NamedPictures,
    load: Callable[[], Predictor],
    *,
    lowest_score: float,
    detection: Mapping[str, Any],
    processes: Processes = ALONE,
) -> tuple[PredictionCache, ModelNotes]:
    """Predicts what OUTPUT_PATH/predictions lacks.

    Args:
        args: Parsed flags of `add_model_arguments` and `add_prediction_arguments`, and
            `output_path`.
        pictures: What to predict.
        load: Loads the model; it is not called if nothing is missing.
        lowest_score: See `model_provenance`.
        detection: The same.
        processes: Each has to call this.

    Returns:
        The whole cache, and notes on the model that predicted.

    Raises:
        InputError: Bad input, or predictions of another model, other settings or pictures.
        OutputError: The disk is full, for example.
    """
    if args.batch_size < 1:
        raise InputError(f"--batch_size {args.batch_size}: must be at least 1")
    provenance: dict[str, Any] = {}
    loaded: Predictor | None = None
    with processes.one_error():
        if processes.is_main:
            provenance = model_provenance(args, lowest_score=lowest_score, detection=detection)
            provenance["pictures"] = len(set(pictures.names))
            provenance["images_sha256"] = fingerprint(pictures)
        if args.overwrite_predictions:
            # Before what is there goes: a model that cannot be loaded is no reason to lose it.
            loaded = load()
    provenance = processes.gather(provenance)[0]
    cache = PredictionCache.open(
        Path(args.output_path) / PREDICTIONS_FOLDER,
        provenance,
        overwrite=args.overwrite_predictions,
        processes=processes,
    )
    model = predict_missing(
        lambda: loaded or load(),
        pictures,
        cache,
        batch_size=args.batch_size,
        processes=processes,
    )
    cache.close()
    return cache, model
