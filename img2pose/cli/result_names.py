"""Names of result files, unique even where pictures of different folders share theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

JPEG_SUFFIXES = (".jpg", ".jpeg")


def picture_suffix(image: Path) -> str:
    """`.jpg` for drawings on JPEG files, `.png` for those on others."""
    return ".jpg" if image.suffix.lower() in JPEG_SUFFIXES else ".png"


def unique_stems(
    images: Sequence[Path], folder: Path, endings: Callable[[Path], Sequence[str]]
) -> list[str]:
    """What the results of each picture begin with: `NAME`, or `NAME_2`, `NAME_3`, ...

    Names are unique even on file systems that ignore case, and no picture is overwritten.

    Args:
        images: Pictures.
        folder: Where the results go.
        endings: Of a picture, what follows the stem in the names of its results.
    """
    taken = {str(image.resolve()).casefold() for image in images}
    stems: list[str] = []
    for image in images:
        number, stem = 1, image.stem
        while taken & (keys := _keys(folder, stem, endings(image))):
            number += 1
            stem = f"{image.stem}_{number}"
        taken |= keys
        stems.append(stem)
    return stems


def _keys(folder: Path, stem: str, endings: Sequence[str]) -> set[str]:
    return {str((folder / f"{stem}{ending}").resolve()).casefold() for ending in endings}
