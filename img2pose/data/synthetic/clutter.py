"""What stands about and is no face: things, limbs without anybody, clothes without a head."""

from __future__ import annotations

import math

import numpy as np

from img2pose.data.synthetic.body import (
    arm_parts,
    cloth_parameters,
    random_colour,
    torso_parts,
)
from img2pose.data.synthetic.head_model import default_head_model
from img2pose.data.synthetic.identities import draw_person
from img2pose.data.synthetic.layout import Layout, depth_of, rotation_y
from img2pose.data.synthetic.materials import (
    BLOTCHES,
    CURL,
    HIGHLIGHT,
    PARAMETERS,
    PORES,
    SEED,
    STRAND_CONTRAST,
    STRAND_FREQUENCY,
    Kind,
)
from img2pose.data.synthetic.parts import Figure, Part, plain_part
from img2pose.data.synthetic.rendering import PlacedFigure
from img2pose.data.synthetic.settings import SyntheticSettings
from img2pose.data.synthetic.solids import Surface, box, capsule, ellipsoid, lofted

_SHARE_WITH_THINGS = 0.4
_SHARE_OF_NEGATIVES_WITH_LIMBS = 0.55


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    turn: np.ndarray = np.linalg.qr(rng.normal(0, 1, (3, 3)))[0]
    return turn * np.sign(np.linalg.det(turn))


def _shape(rng: np.random.Generator) -> Surface:
    """A solid of about the size of a face around the origin."""
    kind = rng.integers(4)
    if kind == 0:
        return ellipsoid(np.zeros(3), rng.uniform(0.3, 1.0, 3), 14, 20)
    if kind == 1:
        return box(np.zeros(3), rng.uniform(0.1, 1.0, 3))
    if kind == 2:
        length = rng.uniform(0.3, 2.5)
        return capsule(
            np.array([0.0, -length, 0.0]),
            np.array([0.0, length, 0.0]),
            rng.uniform(0.1, 0.6),
            rng.uniform(0.1, 0.6),
        )
    # A vase, bottle or lamp.
    turn = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    radii = 0.15 + 0.6 * np.abs(np.convolve(rng.normal(0, 0.6, 14), np.ones(4) / 4, "same"))
    rings = [
        np.stack([r * np.sin(turn), y + 0 * turn, r * np.cos(turn)], axis=1)
        for y, r in zip(np.linspace(-1, 1, 14), radii, strict=True)
    ]
    return lofted(np.array(rings))


def _thing(rng: np.random.Generator) -> Part:
    surface = _shape(rng)
    kind = Kind(
        int(rng.choice([Kind.CLOTH, Kind.SOLID, Kind.SKIN, Kind.HAIR], p=[0.4, 0.3, 0.18, 0.12]))
    )
    colour = random_colour(rng)
    parameters = cloth_parameters(rng)
    if kind in (Kind.SKIN, Kind.HAIR):
        person = draw_person(rng, default_head_model())
        colour = person.skin if kind is Kind.SKIN else person.hair
        parameters = np.zeros(PARAMETERS, np.float32)
        parameters[SEED] = person.seed
        if kind is Kind.SKIN:
            parameters[PORES], parameters[BLOTCHES] = rng.uniform(0.02, 0.1, 2)
        else:
            parameters[STRAND_FREQUENCY], parameters[STRAND_CONTRAST] = rng.uniform(20, 70), 0.7
            parameters[CURL], parameters[HIGHLIGHT] = rng.uniform(0, 1), 1.0
    return plain_part(
        kind,
        *surface,
        colour,
        gloss=rng.uniform(0, 0.3) ** 2 * 5,
        extra=-1.0,
        parameters=parameters,
    )


def _place(
    rng: np.random.Generator, settings: SyntheticSettings, focal: float, depth: float
) -> np.ndarray:
    """(3,) a place in the picture at a depth."""
    height, width = settings.size_hw
    length = focal * (height + width)
    u, v = rng.uniform(-0.05, 1.05) - 0.5, rng.uniform(-0.05, 1.1) - 0.5
    return np.array([u * width / length, v * height / length, 1.0]) * depth


def draw_clutter(
    rng: np.random.Generator, settings: SyntheticSettings, layout: Layout
) -> list[PlacedFigure]:
    """Things behind, beside and seldom before the heads; in negatives also limbs and clothes."""
    height, width = settings.size_hw
    short = min(height, width)
    result: list[PlacedFigure] = []
    if rng.uniform() < _SHARE_WITH_THINGS:
        nearest = min((head.translation[2] for head in layout.heads), default=0.0)
        for _ in range(int(rng.integers(1, 6))):
            pixels = float(np.exp(rng.uniform(np.log(0.05), np.log(0.6)))) * short
            depth = depth_of(pixels, settings.size_hw, layout.focal)
            part = _thing(rng)
            if depth < nearest and rng.uniform() < 0.85:
                # Behind the heads, and larger, so that it looks the same.
                farther = nearest * rng.uniform(1.05, 1.8)
                part = part.moved(np.eye(3) * (farther / depth), np.zeros(3))
                depth = farther
            place = _place(rng, settings, layout.focal, depth)
            result.append(PlacedFigure(Figure((part,)), _random_rotation(rng), place, pixels))
    if layout.kind == "negative" and rng.uniform() < _SHARE_OF_NEGATIVES_WITH_LIMBS:
        for _ in range(int(rng.integers(1, 4))):
            person = draw_person(rng, default_head_model())
            pixels = rng.uniform(0.1, 0.6) * short
            depth = depth_of(pixels, settings.size_hw, layout.focal)
            place = _place(rng, settings, layout.focal, depth)
            if rng.uniform() < 0.4:
                # Its neck is above the picture.
                parts = torso_parts(person, rng, False)
                place[1] = (
                    -rng.uniform(0.5, 0.75) * height / (layout.focal * (height + width)) * depth - 1
                )
                turn = rotation_y(rng.uniform(-math.pi, math.pi))
            else:
                parts = arm_parts(person, rng, raised=bool(rng.uniform() < 0.5))
                turn = _random_rotation(rng)
            if parts:
                result.append(PlacedFigure(Figure(tuple(parts)), turn, place, pixels))
    return result
