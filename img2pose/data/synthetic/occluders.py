"""Things before faces: hands, phones, microphones, cups, sheets and sticks."""

from __future__ import annotations

import math

import numpy as np

from img2pose.data.synthetic.body import cloth_parameters, hand_parts, random_colour
from img2pose.data.synthetic.identities import Person
from img2pose.data.synthetic.materials import (
    BLOTCHES,
    PARAMETERS,
    PORES,
    Kind,
)
from img2pose.data.synthetic.parts import Part, plain_part
from img2pose.data.synthetic.solids import box, capsule, ellipsoid, lofted


def occluder_parts(person: Person, rng: np.random.Generator) -> list[Part]:
    """Something before or beside the face, in the head's frame."""
    kind = rng.choice(
        ["hand", "hands", "microphone", "phone", "cup", "sheet", "stick"],
        p=[0.42, 0.10, 0.12, 0.12, 0.08, 0.10, 0.06],
    )
    if kind == "hand":
        return _hand_at_face(person, rng, rng.choice([-1.0, 1.0]))
    if kind == "hands":
        return _hand_at_face(person, rng, -1.0) + _hand_at_face(person, rng, 1.0)
    if kind == "microphone":
        head = np.array(
            [rng.uniform(-0.35, 0.35), rng.uniform(0.35, 0.75), rng.uniform(-1.1, -0.8)]
        )
        tail = head + [rng.uniform(-0.8, 0.8), 1.4, rng.uniform(-0.8, -0.1)]
        return [
            plain_part(
                Kind.SOLID, *ellipsoid(head, np.full(3, 0.2)), random_colour(rng) * 0.5, gloss=0.3
            ),
            plain_part(Kind.SOLID, *capsule(head, tail, 0.09, 0.08), np.full(3, 0.02), gloss=0.4),
            *hand_parts(tail - [0, 0.6, 0], np.array([0.2, -1.0, 0.1]), person.skin, rng),
        ]
    if kind == "phone":
        sign = rng.choice([-1.0, 1.0])
        place = np.array(
            [sign * rng.uniform(0.5, 1.0), rng.uniform(-0.3, 0.3), rng.uniform(-0.7, 0.3)]
        )
        return [
            plain_part(
                Kind.SOLID, *box(place, np.array([0.1, 0.7, 0.38])), random_colour(rng), gloss=0.8
            ),
            *hand_parts(place + [sign * 0.2, 1.0, 0], np.array([0.0, -1.0, 0.0]), person.skin, rng),
        ]
    if kind == "cup":
        place = np.array([rng.uniform(-0.3, 0.3), rng.uniform(0.4, 0.9), -1.0])
        turn = np.linspace(0, 2 * math.pi, 20, endpoint=False)
        rings = [
            place + np.stack([r * np.sin(turn), y + 0 * turn, r * np.cos(turn)], axis=1)
            for r, y in ((0.30, -0.35), (0.28, 0.0), (0.24, 0.4), (0.01, 0.4))
        ]
        return [
            plain_part(Kind.SOLID, *lofted(np.array(rings)), random_colour(rng), gloss=0.5),
            *hand_parts(place + [0.6, 0.6, 0], np.array([-0.7, -0.7, -0.2]), person.skin, rng),
        ]
    if kind == "sheet":
        place = np.array([rng.normal(0, 0.6), rng.uniform(0.2, 1.0), rng.uniform(-1.6, -1.0)])
        half = np.array([rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.6), 0.01])
        surface = box(place, half)
        return [
            plain_part(
                Kind.CLOTH,
                *surface,
                random_colour(rng),
                extra=-1.0,
                parameters=cloth_parameters(rng),
            )
        ]
    start = np.array([rng.uniform(-1.5, 1.5), 1.6, rng.uniform(-1.5, -0.9)])
    end = np.array([rng.uniform(-1.5, 1.5), -1.6, rng.uniform(-1.5, -0.9)])
    radius = rng.uniform(0.02, 0.12)
    return [
        plain_part(Kind.SOLID, *capsule(start, end, radius, radius), random_colour(rng), gloss=0.1)
    ]


def _hand_at_face(person: Person, rng: np.random.Generator, sign: float) -> list[Part]:
    """A hand at chin, cheek, mouth, brow or beside the face, and its forearm."""
    place = rng.choice(["chin", "cheek", "mouth", "brow", "beside"], p=[0.3, 0.28, 0.12, 0.1, 0.2])
    target = {
        "chin": np.array([sign * 0.25, 0.85, -0.45]),
        "cheek": np.array([sign * 0.70, 0.25, -0.25]),
        "mouth": np.array([sign * 0.20, 0.35, -0.80]),
        "brow": np.array([sign * 0.45, -0.75, -0.60]),
        "beside": np.array([sign * 1.15, 0.1, -0.3]),
    }[str(place)] + rng.normal(0, 0.08, 3)
    elbow = target + [sign * rng.uniform(0.2, 1.6), rng.uniform(1.6, 2.6), rng.uniform(-0.9, 0.2)]
    along = target - elbow
    along = along / np.linalg.norm(along)
    wrist = target - 0.95 * along
    sleeve = rng.uniform() < 0.5
    parameters = np.zeros(PARAMETERS, np.float32)
    parameters[PORES], parameters[BLOTCHES] = 0.03, 0.08
    arm = capsule(elbow, wrist, 0.34, 0.22)
    return [
        plain_part(
            Kind.CLOTH if sleeve else Kind.SKIN,
            *arm,
            random_colour(rng) if sleeve else person.skin,
            gloss=0.04,
            extra=-1.0,
            parameters=cloth_parameters(rng) if sleeve else parameters,
        ),
        *hand_parts(wrist, along, person.skin * rng.uniform(0.9, 1.05), rng),
    ]
