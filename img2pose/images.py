"""Pictures from files, PIL, arrays and tensors: RGB, upright, 8 bits."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from img2pose.errors import InputError

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
# The same for isinstance, which takes no parametrised types.
IMAGE_TYPES = (str, os.PathLike, Image.Image, np.ndarray, Tensor)

# What a folder is searched for; a file named outright may have any suffix.
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

# Pillow's decoders answer damaged files with any of these.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as they are and the pictures directly in folders, sorted by name, each file once.

    Args:
        paths: Files or folders.

    Raises:
        InputError: A path does not exist, or a folder holds no picture.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(
                p for p in path.iterdir() if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES
            )
            if not files:
                raise InputError(f"{path}: no pictures in this folder; give one that holds some")
        elif path.is_file():
            files = [path]
        else:
            raise InputError(f"{path}: no such image; check the path")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _without_transparency(image: Image.Image) -> Image.Image:
    # Colours under transparent pixels are arbitrary; viewers show such pictures on white.
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def rgb_array(image: Image.Image) -> np.ndarray:
    """A PIL picture of any mode as RGB; its EXIF orientation is not looked at.

    Transparency is laid on white and 16-bit gray is scaled to 8 bits.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: Floating-point pixels or values beyond 16 bits, whose white is unknown.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        gray = np.asarray(image)
        if gray.min() < 0 or gray.max() > 65535:
            raise ValueError("32-bit pixels; convert the picture to 8 bits")
        return np.repeat((gray[..., None] / 257).round().astype(np.uint8), 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point pixels; convert the picture to 8 bits")
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = _without_transparency(image)
    return np.array(image.convert("RGB"))


def _decode(source: str | os.PathLike[str] | io.BytesIO, name: str, upright: bool) -> np.ndarray:
    try:
        with Image.open(source) as image:
            return rgb_array(ImageOps.exif_transpose(image) if upright else image)
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such image; check the path") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not a picture that Pillow can read; replace it") from error
    except _DECODING_ERRORS as error:
        raise InputError(f"{name}: cannot be read as a picture ({error}); replace it") from error


def read_image(path: str | os.PathLike[str], *, upright: bool = True) -> np.ndarray:
    """Reads a picture.

    Args:
        path: Any format that Pillow reads.
        upright: Apply the EXIF orientation. Annotations refer to pixels as they are stored, so
            their images are read without.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: Missing, damaged or not a picture.
    """
    return _decode(path, os.fspath(path), upright)


def decode_image(content: bytes, name: str, *, upright: bool = True) -> np.ndarray:
    """A picture file's bytes, decoded as `read_image` does; `name` tells it apart in errors.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: Damaged or not a picture.
    """
    return _decode(io.BytesIO(content), name, upright)


def _array_to_tensor(array: np.ndarray) -> Tensor:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(
            f"an array must be uint8 RGB (H, W, 3), not {array.dtype} {array.shape};"
            " give several as a list"
        )
    return torch.from_numpy(np.array(array)).permute(2, 0, 1).float() / 255


def _check_tensor(tensor: Tensor) -> Tensor:
    if tensor.ndim != 3 or len(tensor) != 3 or not tensor.numel():
        raise ValueError(f"a tensor must be RGB (3, H, W), not {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        raise ValueError(f"a tensor must be floating point in 0..1, not {tensor.dtype}")
    # Room for the overshoot of bicubic resizing; normalised and 0..255 pictures do not fit.
    low, high = (float(value) for value in tensor.aminmax())
    if not (low >= -0.2 and high <= 1.2):
        raise ValueError(f"a tensor must be in 0..1, not {low:.3g}..{high:.3g}")
    return tensor.float()


def image_tensor(image: ImageLike) -> Tensor:
    """Any picture as the model takes it.

    Args:
        image: A path (EXIF orientation applied), a PIL image, a uint8 RGB array (H, W, 3), or a
            float RGB tensor (3, H, W) in 0..1.

    Returns:
        (3, H, W) float32 RGB in 0..1; on the CPU unless a tensor elsewhere was given.

    Raises:
        InputError: A file is missing, damaged or no picture.
        ValueError: An array or tensor has another type, shape or range.
    """
    if isinstance(image, Tensor):
        return _check_tensor(image)
    if isinstance(image, np.ndarray):
        return _array_to_tensor(image)
    if isinstance(image, Image.Image):
        return _array_to_tensor(rgb_array(image))
    if isinstance(image, str | os.PathLike):
        return _array_to_tensor(read_image(image))
    raise TypeError(f"a path, PIL image, array or tensor expected, not {type(image).__name__}")
