"""Draws the golden pictures anew."""

from __future__ import annotations

from PIL import Image

from tests.golden.renderings import FOLDER, products

for name, picture in products().items():
    Image.fromarray(picture).save(FOLDER / f"{name}.png", optimize=True)
