from __future__ import annotations

import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.errors import InputError
from img2pose.images import (
    DEFAULT_MAX_PIXELS,
    MAX_PIXELS_VARIABLE,
    decode_image,
    find_images,
    image_size,
    image_tensor,
    read_image,
    rgb_array,
)

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    np.testing.assert_array_equal(read_image(path), RGB)
    np.testing.assert_array_equal(decode_image(path.read_bytes(), "a"), RGB)


def test_exif_orientation_turns_a_file_upright_unless_pixels_as_stored_are_wanted(
    tmp_path: Path,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = tmp_path / "turned.png"
    Image.fromarray(RGB).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(RGB, -1))
    np.testing.assert_array_equal(read_image(path, upright=False), RGB)


def test_gray_is_repeated_in_all_channels() -> None:
    array = rgb_array(Image.fromarray(RGB[..., 0]))
    np.testing.assert_array_equal(array, np.repeat(RGB[..., :1], 3, axis=2))


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    gray = np.array([[0, 257 * 10], [65535, 257 * 200 + 100]], dtype=np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(gray).save(path)
    np.testing.assert_array_equal(read_image(path)[..., 1], [[0, 10], [255, 200]])


def test_transparent_pixels_become_white_whatever_colour_they_hide() -> None:
    alpha = np.full((6, 9, 1), 255, np.uint8)
    alpha[2, 3] = 0
    array = rgb_array(Image.fromarray(np.concatenate([RGB, alpha], axis=2)))
    expected = RGB.copy()
    expected[2, 3] = 255
    np.testing.assert_array_equal(array, expected)


def test_a_palette_with_a_transparent_colour_and_cmyk_become_rgb() -> None:
    palette = Image.new("P", (4, 3), 1)
    palette.putpalette([0, 0, 0, 200, 10, 20])
    np.testing.assert_array_equal(rgb_array(palette)[0, 0], [200, 10, 20])
    palette.info["transparency"] = 1
    np.testing.assert_array_equal(rgb_array(palette)[0, 0], [255, 255, 255])
    assert rgb_array(Image.new("CMYK", (4, 3))).shape == (3, 4, 3)


def test_pixels_without_a_known_white_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.ones((3, 4), np.float32)).save(path)
    with pytest.raises(InputError, match=r"float\.tif.*convert the picture"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0 broken"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.jpg"):
        read_image(path)


def test_a_truncated_or_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"cut\.jpg"):
        read_image(path)
    with pytest.raises(InputError, match=r"nowhere\.jpg: no such image"):
        read_image(tmp_path / "nowhere.jpg")


def test_every_kind_of_picture_gives_the_same_tensor(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    expected = torch.tensor(RGB).permute(2, 0, 1) / 255
    for image in (path, str(path), Image.fromarray(RGB), RGB, expected, expected.double()):
        tensor = image_tensor(image)
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, expected)


@pytest.mark.parametrize(
    "image",
    [
        RGB.astype(np.float32),
        RGB[..., 0],
        RGB[None],
        RGB[:0],
        torch.zeros(6, 9, 3),
        torch.zeros(2, 3, 6, 9),
        torch.zeros(3, 6, 9, dtype=torch.uint8),
        torch.full((3, 6, 9), 128.0),
        torch.full((3, 6, 9), torch.nan),
    ],
)
def test_arrays_and_tensors_of_another_kind_are_refused(image: np.ndarray | torch.Tensor) -> None:
    with pytest.raises(ValueError, match="must be"):
        image_tensor(image)


def test_folders_give_their_pictures_sorted_and_each_file_comes_once(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    a, b = tmp_path / "a.jpg", tmp_path / "b.PNG"
    assert find_images([b, tmp_path]) == [b, a]
    assert find_images([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]


def test_empty_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no pictures in this folder"):
        find_images([tmp_path])
    with pytest.raises(InputError, match=r"gone\.jpg: no such image"):
        find_images([tmp_path / "gone.jpg"])


def claiming_png(width: int, height: int) -> bytes:
    """A PNG of 70 bytes that says it is of any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"")
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_the_size_is_that_of_the_stored_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert image_size(tmp_path / "a.png") == (6, 9)
    with pytest.raises(InputError, match=r"b\.png: no such image"):
        image_size(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"c\.png: not a picture"):
        image_size(tmp_path / "c.png")


# Above the limit, above what Pillow warns of, above what Pillow refuses.
@pytest.mark.parametrize("side", [10_001, 12_000, 14_000, 60_000])
def test_pictures_above_the_limit_are_refused_before_they_are_decoded(
    tmp_path: Path, side: int
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(claiming_png(side, side))
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for read in (
                lambda: read_image(path),
                lambda: decode_image(path.read_bytes(), str(path)),
                lambda: image_size(path),
            ):
                with pytest.raises(InputError, match=MAX_PIXELS_VARIABLE) as caught:
                    read()
                assert str(caught.value).startswith(f"{path}: ")
                assert "\n" not in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_limit_is_exact_and_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    assert read_image(path, max_pixels=54).shape == (6, 9, 3)
    with pytest.raises(InputError, match=r"a\.png: 9 x 6 pixels are more than the limit of 53"):
        read_image(path, max_pixels=53)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "54")
    assert image_size(path) == (6, 9)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "53")
    with pytest.raises(InputError, match="limit of 53"):
        image_tensor(path)
    monkeypatch.delenv(MAX_PIXELS_VARIABLE)
    (tmp_path / "large.png").write_bytes(claiming_png(10_000, DEFAULT_MAX_PIXELS // 10_000))
    assert image_size(tmp_path / "large.png") == (10_000, 10_000)


def test_whoever_asks_for_more_than_pillow_allows_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    (tmp_path / "a.png").write_bytes(claiming_png(20_000, 20_000))
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "400000000")
    assert image_size(tmp_path / "a.png") == (20_000, 20_000)


@pytest.mark.parametrize("value", ["", "0", "-5", "1e9", "many", "9" * 30, "\u0663"])
def test_limits_that_are_no_number_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, value)
    with pytest.raises(InputError, match=f"^{MAX_PIXELS_VARIABLE}="):
        read_image(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_mutated_pictures_are_read_or_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(7)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.tile(RGB, (4, 4, 1))).save(path)
    content = path.read_bytes()
    refused = 0
    for _ in range(60):
        changed = bytearray(content)
        for place in rng.integers(0, min(len(content), 200), rng.integers(1, 6)):
            changed[place] = rng.integers(256)
        end = len(changed) if rng.random() < 0.7 else int(rng.integers(len(changed)))
        try:
            assert decode_image(bytes(changed[:end]), "a").shape[2] == 3
        except InputError as error:
            refused += 1
            assert str(error).startswith("a: ")
    assert refused
