"""What is worn on the head: glasses, hats, masks, earrings, headphones."""

from __future__ import annotations

import math

import numpy as np

from img2pose.data.synthetic.body import cloth_parameters, random_colour
from img2pose.data.synthetic.head_model import SKULL_CENTER, HeadModel
from img2pose.data.synthetic.materials import (
    CURL,
    FOLDS,
    HIGHLIGHT,
    LENS_DENSITY,
    LENS_MIRROR,
    PARAMETERS,
    PATTERN,
    PATTERN_FREQUENCY,
    PLAIN,
    SLANTED,
    STRAND_CONTRAST,
    STRAND_FREQUENCY,
    Kind,
)
from img2pose.data.synthetic.paint import smooth_step
from img2pose.data.synthetic.parts import Part, plain_part
from img2pose.data.synthetic.skull import on_skull, shell, wrapped
from img2pose.data.synthetic.solids import box, ellipsoid, grid_triangles, joined, tube

HATS = ("cap", "beanie", "brim", "helmet", "scarf", "hood", "band", "turban", "square")


def glasses_parts(
    model: HeadModel, vertices: np.ndarray, rng: np.random.Generator
) -> tuple[list[Part], list[Part]]:
    """Frames, and lenses that are clear or dark; they sit where the person's nose and eyes are."""
    points = vertices[model.landmark_indices]
    eyes = np.stack([points[36:42].mean(0), points[42:48].mean(0)])
    bridge = points[27]
    half_width = rng.uniform(0.20, 0.27)
    half_height = rng.uniform(0.11, 0.20)
    power = rng.uniform(2.0, 5.0)
    sun = rng.uniform() < 0.38
    if sun:
        half_height *= 1.15
    turn = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    sine, cosine = np.sin(turn), np.cos(turn)
    round_off = (np.abs(sine) ** power + np.abs(cosine) ** power) ** (-1 / power)
    drop = rng.uniform(-0.02, 0.05)
    thick = rng.uniform(0.008, 0.028)
    depth = min(float(bridge[2]) - 0.02, float(points[19:25, 2].min())) - 0.02
    frames, lenses = [], []
    for side, sign in ((0, -1.0), (1, 1.0)):
        center = np.array([eyes[side, 0] + 0.01 * sign, eyes[side, 1] + drop, depth])
        ring = np.stack(
            [
                center[0] + half_width * cosine * round_off,
                center[1] + half_height * sine * round_off,
                depth + 0.25 * np.clip(np.abs(center[0] + half_width * cosine) - 0.15, 0, 1) ** 1.3,
            ],
            axis=1,
        )
        frames.append(tube(ring, thick, 5, closed=True))
        outer = ring[np.argmax(sign * ring[:, 0])]
        ear = points[16 if sign > 0 else 0] + [0.04 * sign, 0.0, 0.10]
        hinge = np.array(
            [max(abs(outer[0]), abs(ear[0]) - 0.04) * sign, outer[1] - 0.02, outer[2] + 0.06]
        )
        frames.append(tube(np.stack([outer, hinge, ear]), 0.9 * thick + 0.004, 5))
        lens = np.concatenate([ring, ring.mean(0, keepdims=True)])
        fan = np.stack([np.full(24, 24), np.arange(24), (np.arange(24) + 1) % 24], axis=1)
        lenses.append((lens, fan.astype(np.int32)))
    inner = [
        np.array([eyes[side, 0] - sign * half_width * 0.95, eyes[side, 1] + drop - 0.03, depth])
        for side, sign in ((0, -1.0), (1, 1.0))
    ]
    middle = np.array([bridge[0], bridge[1] + drop - 0.04, depth - 0.02])
    frames.append(tube(np.stack([inner[0], middle, inner[1]]), thick, 5))
    dark = rng.uniform() < 0.6
    colour = np.full(3, rng.uniform(0.005, 0.05)) if dark else random_colour(rng)
    frame = plain_part(Kind.SOLID, *joined(frames), colour, gloss=rng.uniform(0.1, 1.2))
    parameters = np.zeros(PARAMETERS, np.float32)
    # Share of light that a lens keeps back, and that it mirrors.
    parameters[LENS_DENSITY] = rng.uniform(0.75, 0.99) if sun else rng.uniform(0.0, 0.12)
    parameters[LENS_MIRROR] = rng.uniform(0.02, 0.35) if sun else rng.uniform(0.0, 0.12)
    tint = random_colour(rng) * 0.05 if sun else np.full(3, 0.5)
    glass = plain_part(Kind.SOLID, *joined(lenses), tint, gloss=0.6, parameters=parameters)
    return [frame], [glass]


def mask_part(model: HeadModel, vertices: np.ndarray, rng: np.random.Generator) -> Part:
    """A mask over mouth and nose: a sheet that spans from cheek to cheek."""
    points = vertices[model.landmark_indices]
    rows, columns = 9, 21
    across = np.linspace(-1, 1, columns)[None]
    down = np.linspace(0, 1, rows)[:, None]
    low = rng.uniform(0.0, 0.5)
    top = points[28] * (1 - low) + points[30] * low
    bottom = points[8] + [0, 0.05, 0.06]
    # Where it ends on the cheeks, above and below; then over the nose and before the mouth.
    width = 0.5 * (points[13, 0] - points[3, 0])
    edge = np.abs(across) ** 1.8
    y = top[1] + down * (bottom[1] - top[1]) + edge * (0.15 * (1 - down) - 0.16 * down)
    tip = points[30, 2] - 0.05
    front = np.interp(
        down[:, 0], [0, 0.15, 0.5, 0.7, 1], [top[2], tip, tip, points[51, 2] - 0.06, bottom[2]]
    )[:, None]
    cheek = points[3, 2] + (points[5, 2] - points[3, 2]) * down
    z = front - 0.045 + (cheek - front) * edge
    x = points[30, 0] + width * (1.03 - 0.08 * down) * across
    places = np.stack(np.broadcast_arrays(x, y, z), axis=-1).reshape(-1, 3)
    colour = random_colour(rng) if rng.uniform() < 0.5 else np.array([0.35, 0.60, 0.75])
    p = cloth_parameters(rng)
    if rng.uniform() < 0.6:
        p[PATTERN] = PLAIN
    sheet = (places, grid_triangles(rows, columns))
    ears = points[[0, 16]] + [[-0.02, 0.1, 0.05], [0.02, 0.1, 0.05]]
    strings = [
        tube(np.stack([places[row * columns + column], ears[side]]), 0.012, 4)
        for side, column in ((0, 0), (1, columns - 1))
        for row in (0, rows - 1)
    ]
    vertices_all, triangles = joined([sheet, *strings])
    return plain_part(
        Kind.CLOTH, vertices_all, triangles, colour, extra=-1.0, openness=0.95, parameters=p
    )


def hat_parts(skull: np.ndarray, rng: np.random.Generator, kind: str) -> list[Part]:
    """A hat of a kind of `HATS`."""
    columns, rows = 64, 12
    azimuth = np.linspace(0, 360, columns, endpoint=False)
    centered = wrapped(azimuth)
    side = np.abs(centered)
    front = np.cos(np.radians(centered))
    share = np.linspace(0, 1, rows)[:, None]
    colour = random_colour(rng)
    p = cloth_parameters(rng)
    low = rng.uniform(22, 38)
    thick = np.full((rows, columns), rng.uniform(0.08, 0.16))
    hanging, flare = None, 0.0
    edge = low - 14 * (1 - front)
    if kind == "beanie":
        edge = rng.uniform(18, 34) - 12 * (1 - front)
        thick = thick + rng.uniform(0.0, 0.35) * (1 - share) ** 2 + 0.04 * (share > 0.8)
        p[FOLDS] = 0.3
    elif kind == "helmet":
        edge = np.interp(side, [0, 60, 90, 180], [rng.uniform(26, 38), 15, -20, -35])
        thick = thick + rng.uniform(0.08, 0.2)
        p[PATTERN], p[FOLDS] = (PLAIN if rng.uniform() < 0.6 else p[PATTERN]), 0
    elif kind == "scarf":
        edge = np.interp(side, [0, 45, 60, 72, 180], [rng.uniform(30, 42), 26, 6, -25, -25])
        thick = thick * (1 - 0.35 * share) + 0.03
        hanging = rng.uniform(0.9, 1.9) * smooth_step(58, 80, side)
        flare = rng.uniform(-0.1, 0.4)
        p[FOLDS] = 0.35
    elif kind == "hood":
        edge = np.interp(side, [0, 45, 62, 80, 180], [rng.uniform(30, 48), 25, 0, -20, -25])
        thick = thick + rng.uniform(0.1, 0.3)
        hanging = 1.3 * smooth_step(50, 75, side)
        p[FOLDS] = 0.3
    elif kind == "turban":
        edge = rng.uniform(28, 36) - 18 * (1 - front)
        thick = (
            rng.uniform(0.2, 0.4) * (0.5 + np.sin(np.pi * np.clip(share + 0.1, 0, 1))) + 0 * side
        )
        p[PATTERN], p[PATTERN_FREQUENCY] = SLANTED, rng.uniform(2, 6)
    if kind == "band":
        band = np.linspace(1, 0, 4)[:, None]
        rise = low + 12 * band - 12 * (1 - front)[None]
        points = on_skull(skull, np.broadcast_to(azimuth, rise.shape), rise)
        out = points - SKULL_CENTER
        points = points + 0.16 * out / np.linalg.norm(out, axis=-1, keepdims=True)
        return [
            plain_part(
                Kind.CLOTH,
                points.reshape(-1, 3),
                grid_triangles(4, columns, True),
                colour,
                extra=-1.0,
                parameters=p,
            )
        ]
    places, triangles = shell(skull, azimuth, edge, thick, hanging, flare)
    parts = [
        plain_part(
            Kind.CLOTH,
            places,
            triangles,
            colour,
            gloss=0.6 if kind == "helmet" else 0.03,
            extra=-1.0,
            parameters=p,
        )
    ]
    rim = places[(rows - 1) * columns : rows * columns]
    if kind in ("cap", "brim", "square"):
        parts += _brim(kind, rim, centered, colour, rng)
    if kind == "beanie" and rng.uniform() < 0.3:
        crown = places[:columns].mean(axis=0)
        parts.append(
            plain_part(
                Kind.HAIR,
                *ellipsoid(crown - [0, 0.15, 0], np.full(3, 0.25)),
                random_colour(rng),
                parameters=_fluff(),
            )
        )
    return parts


def _fluff() -> np.ndarray:
    p = np.zeros(PARAMETERS, np.float32)
    p[STRAND_FREQUENCY], p[STRAND_CONTRAST], p[CURL], p[HIGHLIGHT] = 25, 0.6, 1.0, 0.1
    return p


def _brim(
    kind: str,
    rim: np.ndarray,
    centered: np.ndarray,
    colour: np.ndarray,
    rng: np.random.Generator,
) -> list[Part]:
    """Peak of a cap (in front, seldom behind), a brim all around, or a square board on top."""
    dark = colour if rng.uniform() < 0.6 else random_colour(rng)
    if kind == "square":
        center = np.array([0.0, -1.62, 0.45])
        places, triangles = box(center, np.array([1.25, 0.04, 1.25]))
        spun = rng.uniform(-0.3, 0.3)
        turn = np.array(
            [[math.cos(spun), 0, math.sin(spun)], [0, 1, 0], [-math.sin(spun), 0, math.cos(spun)]]
        )
        return [plain_part(Kind.SOLID, (places - center) @ turn.T + center, triangles, dark)]
    middle = rim.mean(axis=0)
    outward = (rim - middle) * [1, 0, 1]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    if kind == "cap":
        reach = (
            rng.uniform(0.45, 0.85)
            * np.clip(np.cos(np.radians(centered)) * 1.6 - 0.25, 0, 1) ** 0.6
        )
        if rng.uniform() < 0.12:
            reach = np.roll(reach, len(reach) // 2)
    else:
        reach = np.full(len(rim), rng.uniform(0.3, 0.95))
    dip = rng.uniform(-0.05, 0.45)
    rows = [
        rim + step * reach[:, None] * outward + [0, 1, 0] * (dip * step * reach)[:, None]
        for step in (0.0, 0.35, 0.7, 1.0)
    ]
    p = cloth_parameters(rng)
    p[PATTERN] = PLAIN
    return [
        plain_part(
            Kind.CLOTH,
            np.concatenate(rows),
            grid_triangles(4, len(rim), True),
            dark,
            extra=-1.0,
            parameters=p,
        )
    ]


def ear_parts(model: HeadModel, vertices: np.ndarray, rng: np.random.Generator) -> list[Part]:
    """Earrings or headphones."""
    mean = model.fine.mean
    parts = []
    if rng.uniform() < 0.8:
        colour = np.array([0.6, 0.45, 0.2]) if rng.uniform() < 0.5 else random_colour(rng)
        drop, size = rng.uniform(0.0, 0.3), rng.uniform(0.03, 0.09)
        for sign in (-1, 1):
            lobe = model.fine.masks["ears"] * (mean[:, 1] > 0.05) * (mean[:, 0] * sign > 0)
            if lobe.max() < 0.5:
                continue
            place = vertices[lobe > 0.5].mean(axis=0) + [0.03 * sign, 0.06 + drop, -0.02]
            parts.append(
                plain_part(
                    Kind.SOLID,
                    *ellipsoid(place, np.array([size, size * (1 + 2 * drop), size]), 6, 8),
                    colour,
                    gloss=1.0,
                )
            )
        return parts
    turn = np.linspace(-math.pi / 2, math.pi / 2, 20)
    arch = np.stack([1.0 * np.sin(turn), -0.25 - 1.4 * np.cos(turn), np.full(20, 0.5)], axis=1)
    cups = [tube(arch, 0.06, 6)]
    cups += [
        ellipsoid(np.array([sign * 0.92, -0.15, 0.5]), np.array([0.16, 0.38, 0.32]))
        for sign in (-1, 1)
    ]
    return [plain_part(Kind.SOLID, *joined(cups), random_colour(rng), gloss=0.4)]
