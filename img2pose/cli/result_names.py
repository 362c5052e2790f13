"""Names of result files, unique even where pictures of different folders share theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

JPEG_SUFFIXES = (".jpg", ".jpeg")


def picture_suffix(image: Path) -> str:
    """`.jpg` for drawings on JPEG files, `.png` for those on others."""
    return ".jpg" if image.suffix.lower() in JPEG_SUFFIXES else ".png"


def unique_stems(
    images: Sequence[Path],
    folder: Path | Sequence[Path],
    endings: Callable[[Path], Sequence[str]],
    taken: Iterable[Path] = (),
) -> list[str]:
    """What the results of each picture begin with: `NAME`, or `NAME_2`, `NAME_3`, ...

    Names are unique even on file systems that ignore case, and no picture is overwritten.

    Args:
        images: Pictures.
        folder: Where the results go, of all or of each.
        endings: Of a picture, what follows the stem in the names of its results.
        taken: Further paths that are no results.
    """
    folders = [folder] * len(images) if isinstance(folder, Path) else folder
    used = {_key(path) for path in (*images, *taken)}
    stems: list[str] = []
    for image, place in zip(images, folders, strict=True):
        number, stem = 1, image.stem
        while used & (keys := {_key(place / f"{stem}{ending}") for ending in endings(image)}):
            number += 1
            stem = f"{image.stem}_{number}"
        used |= keys
        stems.append(stem)
    return stems


def _key(path: Path) -> str:
    return str(path.resolve()).casefold()
