"""Picture files as they come from users: odd ones that can be read, and ones that cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

UNREADABLE = ("zero.jpg", "truncated.jpg", "text.jpg")


def write_hostile_pictures(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Writes them; returns height and width of each once it is upright, None where unreadable."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    rgb = Image.fromarray(pixels)
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "sixteen_bits.png")
    palette = rgb.quantize(16)
    palette.info["transparency"] = 3
    palette.save(folder / "palette_alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1), (200, 150, 100)).save(folder / "one.png")
    Image.new("RGB", (20000, 40), (90, 80, 70)).save(folder / "wide.png")
    Image.new("L", (20000, 1), 90).save(folder / "line.png")
    frames = [rgb, rgb.rotate(180), rgb.rotate(90)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:])
    (folder / "zero.jpg").write_bytes(b"")
    rgb.save(folder / "truncated.jpg")
    whole = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("dear picture\n" * 40)
    return {
        "animated.gif": (60, 80),
        "animated.webp": (60, 80),
        "cmyk.jpg": (60, 80),
        "line.png": (1, 20000),
        "one.png": (1, 1),
        "palette_alpha.png": (60, 80),
        "sixteen_bits.png": (60, 80),
        "turned.jpg": (80, 60),
        "wide.png": (40, 20000),
        **dict.fromkeys(UNREADABLE),
    }
