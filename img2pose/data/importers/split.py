"""Draws a validation set from a data set that has none of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from img2pose.errors import InputError


def split_images(
    image_paths: Sequence[str], val_count: int, seed: int, same_photo: str
) -> tuple[list[str], list[str]]:
    """Draws a validation set; the same seed and names give the same split everywhere.

    Args:
        image_paths: At least one more than `val_count`; none stands twice.
        val_count: Images for validation.
        seed: Draws another split.
        same_photo: Pattern of image names without suffix. Names that match it with the same first
            group come from one photograph, whose faces must not stand on both sides. An empty
            pattern keeps nothing together.

    Returns:
        Image paths for training and for validation, each in the given order.

    Raises:
        InputError: The pattern or the count cannot be used.
    """
    if not 0 <= val_count < len(image_paths):
        raise InputError(
            f"validation images: {val_count} of {len(image_paths)} asked for; leave at least one"
            " for training"
        )
    try:
        pattern = re.compile(same_photo) if same_photo else None
    except re.error as error:
        raise InputError(f"same-photo pattern {same_photo!r}: {error}") from error
    if pattern is not None and pattern.groups < 1:
        raise InputError(f"same-photo pattern {same_photo!r}: has no group (in parentheses)")
    photos: dict[str, list[int]] = {}
    for index, image_path in enumerate(image_paths):
        stem = Path(image_path).stem
        match = pattern.fullmatch(stem) if pattern is not None else None
        photo = f"photo {match.group(1)}" if match else f"image {image_path}"
        photos.setdefault(photo, []).append(index)

    # A hash ranks the same on every platform and Python, where a random generator need not.
    def rank(photo: str) -> str:
        return hashlib.sha256(f"{seed}:{photo}".encode()).hexdigest()

    chosen: set[int] = set()
    for photo in sorted(photos, key=rank):
        if len(chosen) + len(photos[photo]) <= val_count:
            chosen.update(photos[photo])
    if len(chosen) != val_count:
        raise InputError(
            f"validation images: {val_count} cannot be drawn without parting faces of one"
            f" photograph (nearest is {len(chosen)}); ask for another count or another"
            " same-photo pattern"
        )
    train = [path for k, path in enumerate(image_paths) if k not in chosen]
    val = [path for k, path in enumerate(image_paths) if k in chosen]
    return train, val
