"""Pictures from files, PIL, arrays and tensors: RGB, upright, 8 bits."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from img2pose.errors import InputError
from img2pose.files import replace_when_complete
from img2pose.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | Tensor"

# What a folder is searched for; a file named outright may have any suffix.
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

DEFAULT_MAX_PIXELS = 100_000_000
"""Pictures with more are refused before they are decoded: a small file can claim gigabytes."""

MAX_PIXELS_VARIABLE = "IMG2POSE_MAX_PIXELS"
"""Environment variable with another limit; commands and their worker processes all see it."""

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


def max_pixels_of_environment() -> int:
    """The limit that holds where none is given: `IMG2POSE_MAX_PIXELS`, else 100 megapixels.

    Raises:
        InputError: The variable holds no whole number above 0.
    """
    value = os.environ.get(MAX_PIXELS_VARIABLE)
    if value is None:
        return DEFAULT_MAX_PIXELS
    if not (value.isascii() and value.isdecimal() and len(value) < 19 and int(value) > 0):
        raise InputError(f"{MAX_PIXELS_VARIABLE}={value[:40]}: must be a number of pixels above 0")
    return int(value)


def let_pillow_read(max_pixels: int) -> None:
    """Raises Pillow's own limit, one for the whole process, where it would refuse so many pixels.

    It warns above its limit and refuses above twice that.
    """
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels


def _open_small_enough(
    source: str | os.PathLike[str] | io.BytesIO, name: str, max_pixels: int | None
) -> Image.Image:
    """Reads a picture's header; its pixels are not decoded yet."""
    limit = max_pixels_of_environment() if max_pixels is None else max_pixels
    let_pillow_read(limit)
    remedy = f"shrink it, or set {MAX_PIXELS_VARIABLE} if you trust it"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(source)
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: has more pixels than the limit of {limit}; {remedy}") from error
    if image.width * image.height > limit:
        image.close()
        raise InputError(
            f"{name}: {image.width} x {image.height} pixels are more than the limit of {limit};"
            f" {remedy}"
        )
    return image


@contextmanager
def _opened(
    source: str | os.PathLike[str] | io.BytesIO, name: str, max_pixels: int | None
) -> Iterator[Image.Image]:
    try:
        with _open_small_enough(source, name, max_pixels) as image:
            yield image
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such image; check the path") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not a picture that Pillow can read; replace it") from error
    except _DECODING_ERRORS as error:
        raise InputError(f"{name}: cannot be read as a picture ({error}); replace it") from error


def _decode(
    source: str | os.PathLike[str] | io.BytesIO, name: str, upright: bool, max_pixels: int | None
) -> np.ndarray:
    with _opened(source, name, max_pixels) as image:
        return rgb_array(ImageOps.exif_transpose(image) if upright else image)


def image_size(path: str | os.PathLike[str], *, max_pixels: int | None = None) -> tuple[int, int]:
    """A picture's height and width as it is stored, from its header; pixels are not decoded.

    Args:
        path: Any format that Pillow reads.
        max_pixels: The most pixels it may have; None: `max_pixels_of_environment`.

    Raises:
        InputError: Missing, not a picture, or too large.
    """
    with _opened(path, os.fspath(path), max_pixels) as image:
        return image.height, image.width


def read_image(
    path: str | os.PathLike[str], *, upright: bool = True, max_pixels: int | None = None
) -> np.ndarray:
    """Reads a picture.

    Args:
        path: Any format that Pillow reads.
        upright: Apply the EXIF orientation. Annotations refer to pixels as they are stored, so
            their images are read without.
        max_pixels: The most pixels it may have; None: `max_pixels_of_environment`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: Missing, damaged, not a picture, or too large.
    """
    return _decode(path, os.fspath(path), upright, max_pixels)


def write_picture(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Writes a picture, whole or not at all, in the format of the path's suffix.

    Args:
        path: Its folder is made if it is missing. JPEG files get quality 92.
        picture: (H, W), (H, W, 3) or (H, W, 4) uint8: gray, RGB or RGBA.

    Raises:
        ValueError: There is no format with that suffix.
        OSError: The disk is full, for example, or the format has no such pictures.
    """
    with replace_when_complete(path) as part:
        Image.fromarray(picture).save(part, quality=92)


def decode_image(
    content: bytes, name: str, *, upright: bool = True, max_pixels: int | None = None
) -> np.ndarray:
    """A picture file's bytes, decoded as `read_image` does; `name` tells it apart in errors.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: Damaged, not a picture, or too large.
    """
    return _decode(io.BytesIO(content), name, upright, max_pixels)


def is_image(value: object) -> TypeIs[ImageLike]:
    """Whether it is one picture by its type, rather than several."""
    return isinstance(value, str | os.PathLike | Image.Image | np.ndarray) or is_tensor(value)


def _check_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(
            f"an array must be uint8 RGB (H, W, 3), not {array.dtype} {array.shape};"
            " give several as a list"
        )
    return array


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


def decoded_image(image: ImageLike) -> np.ndarray | Tensor:
    """A picture's pixels: a tensor as it is, anything else as an array.

    Args:
        image: As for `image_tensor`.

    Returns:
        (H, W, 3) uint8 RGB, or the tensor.

    Raises:
        InputError: A file is missing, damaged or no picture.
        ValueError: An array has another type or shape.
        TypeError: It is none of these.
    """
    if is_tensor(image):
        return image
    if isinstance(image, np.ndarray):
        return _check_array(image)
    if isinstance(image, Image.Image):
        return rgb_array(image)
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    raise TypeError(f"a path, PIL image, array or tensor expected, not {type(image).__name__}")


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
    pixels = decoded_image(image)
    if is_tensor(pixels):
        return _check_tensor(pixels)
    # Pictures are also read where torch is not installed.
    import torch

    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255


def image_array(image: ImageLike) -> np.ndarray:
    """Any picture in 8 bits.

    Args:
        image: As for `image_tensor`; a tensor is rounded to 8 bits.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: A file is missing, damaged or no picture.
        ValueError: An array or tensor has another type, shape or range.
    """
    pixels = decoded_image(image)
    if not is_tensor(pixels):
        return pixels
    rounded: np.ndarray = (_check_tensor(pixels) * 255).round().clamp(0, 255).byte().cpu().numpy()
    return np.ascontiguousarray(rounded.transpose(1, 2, 0))
