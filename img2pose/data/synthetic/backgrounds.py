"""What lies behind the figures: made up, or cut from a folder of the user's pictures."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from img2pose.data.synthetic.identities import between
from img2pose.images import read_image

GAMMA = 2.2
_SKIN_LIKE = np.array(
    [[0.70, 0.48, 0.38], [0.50, 0.29, 0.18], [0.25, 0.13, 0.08], [0.62, 0.42, 0.26]]
)
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)


def _noise_picture(
    rng: np.random.Generator,
    height: int,
    width: int,
    cells: float,
    octaves: int,
    stretch: float = 1.0,
) -> np.ndarray:
    """(H, W) float32 smooth fractal noise of about -1..1 with `cells` cells across."""
    total = np.zeros((height, width), dtype=np.float32)
    amplitude, most = 1.0, 0.0
    for _ in range(octaves):
        rows = max(2, min(round(cells * height / width / stretch) + 2, height))
        columns = max(2, min(round(cells) + 2, width))
        grid = rng.random((rows, columns), dtype=np.float32)
        total += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        most += amplitude
        amplitude *= 0.55
        cells *= 2.1
    return total * (2 / most) - 1


def _colour(rng: np.random.Generator) -> np.ndarray:
    value = rng.uniform(0, 1) ** 1.6
    chroma = rng.uniform(0, 0.9) ** 2
    hue = rng.uniform(0, 2 * np.pi)
    tint = np.array([np.cos(hue), np.cos(hue - 2.094), np.cos(hue + 2.094)])
    return np.clip(value * (1 + chroma * tint), 0.0, 1.2).astype(np.float32)


def _mixed(rng: np.random.Generator, share: np.ndarray, colours: int = 2) -> np.ndarray:
    """Colours laid along 0..1 values (H, W)."""
    table = np.stack([_colour(rng) for _ in range(colours)]).astype(np.float32)
    # A thousand steps are as good as all between, and a lookup is quick.
    steps = np.linspace(0, colours - 1, 1024, dtype=np.float32)
    low = np.minimum(steps.astype(int), colours - 2)
    fine = table[low] + (steps - low).astype(np.float32)[:, None] * (table[low + 1] - table[low])
    picture: np.ndarray = fine[(np.clip(share, 0, 1) * 1023).astype(np.int32)]
    return picture


def _gradient(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    share = (np.cos(turn) * (x / w - 0.5) + np.sin(turn) * (y / h - 0.5)) * 0.8 + 0.5
    if rng.uniform() < 0.4:
        share = np.hypot(x / w - rng.uniform(), y / h - rng.uniform())
    return _mixed(rng, share, int(rng.integers(2, 4)))


def _fractal(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    noise = _noise_picture(
        rng, h, w, rng.uniform(1.5, 14), int(rng.integers(2, 6)), rng.uniform(0.3, 3)
    )
    return _mixed(rng, 0.5 + 0.5 * noise * rng.uniform(0.5, 1.6), int(rng.integers(2, 5)))


def _foliage(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    picture = _mixed(rng, 0.5 + 0.5 * _noise_picture(rng, h, w, 6, 4)) * 0.25
    picture *= np.array([0.6, 1.0, 0.35], dtype=np.float32) if rng.uniform() < 0.75 else 1.0
    picture = np.ascontiguousarray(picture.astype(np.float32))
    base = np.array([0.12, 0.22, 0.04]) * np.exp(rng.normal(0, 0.4, 3))
    size = rng.uniform(0.008, 0.045) * w
    for _ in range(int(rng.integers(120, 420))):
        center = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
        axes = (
            max(1, int(size * rng.uniform(0.5, 1.6))),
            max(1, int(size * rng.uniform(0.15, 0.6))),
        )
        colour = base * math.exp(rng.normal(0, 0.55)) * np.exp(rng.normal(0, 0.12, 3))
        cv2.ellipse(picture, center, axes, rng.uniform(0, 180), 0, 360, colour.tolist(), -1)
    return picture


def _bricks(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    rows = rng.integers(4, 26)
    bh = h / rows
    bw = bh * rng.uniform(1.2, 3.5)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    row = np.floor(y / bh).astype(int)
    shifted = x / bw + 0.5 * (row % 2) * (rng.uniform() < 0.8)
    column = np.floor(shifted).astype(int)
    tone = rng.random((rows + 2, int(w / bw) + 4))[row, column]
    picture = _colour(rng) * (0.7 + 0.6 * tone[..., None])
    joint = np.minimum(y / bh - row, shifted - column) < rng.uniform(0.04, 0.15)
    picture[joint] = _colour(rng)
    return picture * (1 + 0.25 * _noise_picture(rng, h, w, 40, 2)[..., None])


def _stripes(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    turn = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    across = np.cos(turn) * x + np.sin(turn) * y
    across = across + rng.uniform(0, 12) * _noise_picture(rng, h, w, 3, 2)
    period = w / rng.uniform(2, 40)
    wave = np.sin(2 * np.pi * across / period)
    if rng.uniform() < 0.6:
        wave = np.tanh(6 * wave)
    return _mixed(rng, 0.5 + 0.5 * wave)


def _bokeh(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    picture = np.ascontiguousarray(_gradient(rng, h, w) * rng.uniform(0.05, 0.6), dtype=np.float32)
    layer = np.zeros_like(picture)
    for _ in range(int(rng.integers(15, 70))):
        center = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
        radius = max(2, int(w * rng.uniform(0.01, 0.08)))
        colour = (_colour(rng) * rng.uniform(0.2, 1.2)).tolist()
        cv2.circle(layer, center, radius, colour, -1)
    return picture + cv2.GaussianBlur(layer, (0, 0), 1.0 + 0.004 * w)


def _polygons(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    picture = np.ascontiguousarray(_gradient(rng, h, w), dtype=np.float32)
    for _ in range(int(rng.integers(4, 40))):
        center = rng.uniform(0, 1, 2) * [w, h]
        reach = rng.uniform(0.02, 0.3) * w
        points = center + rng.normal(0, reach, (int(rng.integers(3, 8)), 2))
        cv2.fillPoly(picture, [points.astype(np.int32)], _colour(rng).tolist())
    return picture


def _room(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Walls, shelves, frames, doors and furniture as shaded rectangles."""
    picture = np.ascontiguousarray(
        _gradient(rng, h, w) * 0.3 + 0.7 * _colour(rng), dtype=np.float32
    )
    floor = int(h * rng.uniform(0.55, 1.1))
    picture[floor:] = _colour(rng) * 0.6
    for _ in range(int(rng.integers(3, 22))):
        cx, cy = rng.uniform(0, w), rng.uniform(0, h)
        bw, bh = w * rng.uniform(0.02, 0.35), h * rng.uniform(0.02, 0.45)
        left, top, right, bottom = (
            int(cx - bw / 2),
            int(cy - bh / 2),
            int(cx + bw / 2),
            int(cy + bh / 2),
        )
        colour = _colour(rng)
        cv2.rectangle(picture, (left, top), (right, bottom), colour.tolist(), -1)
        if rng.uniform() < 0.6:
            edge = (colour * rng.uniform(0.3, 1.6)).tolist()
            cv2.rectangle(picture, (left, top), (right, bottom), edge, int(rng.integers(1, 4)))
        if rng.uniform() < 0.3:
            for line in range(top, bottom, max(3, int(bh / rng.uniform(3, 10)))):
                cv2.line(picture, (left, line), (right, line), (colour * 0.5).tolist(), 1)
    return picture


def _scape(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Sky, hills and ground, or sea."""
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None]
    top = np.array([0.25, 0.45, 0.9]) * rng.uniform(0.4, 1.2) * np.exp(rng.normal(0, 0.2, 3))
    low = np.array([0.8, 0.85, 0.9]) * rng.uniform(0.5, 1.1)
    picture = (top + (low - top) * y[..., None]) * np.ones((h, w, 1), dtype=np.float32)
    clouds = np.clip(_noise_picture(rng, h, w, rng.uniform(2, 6), 4, 1.8) * 1.6 - 0.2, 0, 1)[
        ..., None
    ]
    picture += clouds * (0.9 - picture) * rng.uniform(0, 0.9)
    for layer in range(int(rng.integers(1, 4))):
        level = rng.uniform(0.35, 0.9) + 0.1 * layer
        ridge = (
            level + rng.uniform(0.02, 0.15) * _noise_picture(rng, 2, w, rng.uniform(2, 20), 3)[:1]
        )
        ground = _colour(rng) * np.array([0.7, 0.9, 0.5]) * 0.6
        texture = 1 + 0.4 * _noise_picture(rng, h, w, 30, 3, 0.4)
        picture = np.where((y > ridge)[..., None], ground * texture[..., None], picture)
    return picture


def _cells(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Pebbles, scales, crowds of blobs."""
    colours = _gradient(rng, h, w)
    points = rng.random((int(rng.integers(20, 220)), 2)) * [h, w]
    seeds = np.full((h, w), 255, dtype=np.uint8)
    rows, columns = points.astype(int).T
    seeds[rows, columns] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    tones = rng.uniform(0.3, 1.5, labels.max() + 1).astype(np.float32)
    shade = tones[labels] * np.clip(
        1.2 - distance / (0.6 * np.sqrt(h * w / len(points))), 0.15, 1.2
    )
    return colours * shade[..., None]


_KINDS = (
    _gradient,
    _fractal,
    _foliage,
    _bricks,
    _stripes,
    _bokeh,
    _polygons,
    _room,
    _scape,
    _cells,
)
_WEIGHTS = np.array([0.13, 0.15, 0.12, 0.06, 0.07, 0.07, 0.09, 0.16, 0.10, 0.05])


def _draw_glyphs(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Letters in any size and slant."""
    h, w = picture.shape[:2]
    letters = "ABCDEFGHKLMNOPRSTUXYZabdeghikmnopqrstuwz0123456789&@%?"
    for _ in range(int(rng.integers(1, 6))):
        text = "".join(rng.choice(list(letters), int(rng.integers(1, 10))))
        place = (int(rng.uniform(-0.1, 0.9) * w), int(rng.uniform(0.05, 1.0) * h))
        scale = math.exp(rng.uniform(math.log(0.3), math.log(3.5))) * w / 320
        font = int(rng.choice(_FONTS))
        thick = max(1, int(3 * scale * rng.uniform(0.4, 2)))
        mask = np.zeros((h, w), dtype=np.uint8)
        cv2.putText(mask, text, place, font, scale, 255, thick, cv2.LINE_AA)
        share = mask[..., None].astype(np.float32) / 255
        picture += share * (_colour(rng) - picture)


def _draw_blobs(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Shaded lumps of skin's colour: what arms, ears, cushions and bread look like from afar."""
    h, w = picture.shape[:2]
    for _ in range(int(rng.integers(1, 7))):
        radius = np.array([rng.uniform(0.02, 0.22) * w, rng.uniform(0.02, 0.22) * w])
        center = rng.uniform(0, 1, 2) * [w, h]
        low = np.floor(np.clip(center - radius.max(), 0, [w, h])).astype(int)
        high = np.ceil(np.clip(center + radius.max(), 0, [w, h])).astype(int)
        if (high - low).min() < 3:
            continue
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
        turn = rng.uniform(0, np.pi)
        u = (np.cos(turn) * (x - center[0]) + np.sin(turn) * (y - center[1])) / radius[0]
        v = (-np.sin(turn) * (x - center[0]) + np.cos(turn) * (y - center[1])) / radius[1]
        away = u**2 + v**2
        light = rng.normal(0, 1, 3)
        light[2] = abs(light[2]) + 0.3
        light /= np.linalg.norm(light)
        depth = np.sqrt(np.clip(1 - away, 0, 1))
        lit = np.clip(u * light[0] + v * light[1] + depth * light[2], 0, 1) * 0.8 + 0.2
        skin = between(_SKIN_LIKE, rng.uniform()) * np.exp(rng.normal(0, 0.15, 3))
        if rng.uniform() < 0.45:
            # Folds as an ear has, or spots like eyes that are in no face.
            if rng.uniform() < 0.5:
                lit *= 0.75 + 0.35 * np.cos(rng.uniform(4, 9) * np.sqrt(away) + u)
            else:
                for _ in range(int(rng.integers(1, 3))):
                    du, dv = rng.uniform(-0.5, 0.5, 2)
                    spot = np.exp(-(((u - du) / 0.14) ** 2) - ((v - dv) / 0.10) ** 2)
                    lit = lit * (1 - 0.8 * spot)
        mask = np.clip((1 - away) * 8, 0, 1)[..., None]
        region = picture[low[1] : high[1], low[0] : high[0]]
        region += mask * (lit[..., None] * skin - region)


def _part(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W) 1 in a part of the picture: beyond a wavy border, a straight edge, or in a frame."""
    kind = rng.uniform()
    if kind < 0.4:
        noise = _noise_picture(rng, height, width, rng.uniform(1, 5), 2)
        part: np.ndarray = np.clip(4 * (noise + rng.uniform(-0.4, 0.4)) + 0.5, 0, 1)
        return part
    mask = np.zeros((height, width), dtype=np.float32)
    if kind < 0.7:
        turn, at = rng.uniform(-0.3, 0.3), rng.uniform(0.15, 0.85)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        across = (
            x / width + turn * y / height if rng.uniform() < 0.6 else y / height + turn * x / width
        )
        mask[across > at] = 1
        return mask
    left, right = np.sort(rng.uniform(-0.2, 1.2, 2)) * width
    top, bottom = np.sort(rng.uniform(-0.2, 1.2, 2)) * height
    mask[max(int(top), 0) : max(int(bottom), 0), max(int(left), 0) : max(int(right), 0)] = 1
    return mask


def made_up_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) float32 linear light: one or two kinds of surface with clutter."""
    weights = _WEIGHTS / _WEIGHTS.sum()
    picture = _KINDS[rng.choice(len(_KINDS), p=weights)](rng, height, width)
    for _ in range(int(rng.choice(3, p=[0.5, 0.35, 0.15]))):
        other = _KINDS[rng.choice(len(_KINDS), p=weights)](rng, height, width)
        picture = picture + _part(rng, height, width)[..., None] * (other - picture)
    picture = np.ascontiguousarray(np.clip(picture, 0, 2.0), dtype=np.float32)
    if rng.uniform() < 0.30:
        _draw_glyphs(rng, picture)
    if rng.uniform() < 0.40:
        _draw_blobs(rng, picture)
    picture *= 1 + rng.uniform(0, 0.12) * rng.standard_normal((height, width, 1), dtype=np.float32)
    blur = rng.choice([0.0, rng.uniform(0.3, 1.5), rng.uniform(1.5, 7.0)], p=[0.3, 0.3, 0.4])
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur * width / 320)
    return np.maximum(picture, 0)


def folder_background(
    rng: np.random.Generator, files: tuple[Path, ...], height: int, width: int
) -> np.ndarray:
    """(H, W, 3) float32 linear light: a random part of one of the user's pictures.

    Raises:
        InputError: The picture cannot be read.
    """
    pixels = read_image(files[int(rng.integers(len(files)))])
    rows, columns = pixels.shape[:2]
    share = min(rows / height, columns / width) * rng.uniform(0.4, 1.0)
    part_h, part_w = max(1, int(share * height)), max(1, int(share * width))
    top, left = int(rng.integers(rows - part_h + 1)), int(rng.integers(columns - part_w + 1))
    part = pixels[top : top + part_h, left : left + part_w]
    if rng.uniform() < 0.5:
        part = part[:, ::-1]
    how = cv2.INTER_AREA if part_h > height else cv2.INTER_LINEAR
    part = cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=how)
    picture: np.ndarray = (part.astype(np.float32) / 255) ** GAMMA
    return picture
