"""A simple body below the head: neck, shoulders, chest and arms, in clothes or bare."""

from __future__ import annotations

import math

import numpy as np

from img2pose.data.synthetic.identities import Person
from img2pose.data.synthetic.materials import (
    BARE_SKIN_COLOUR,
    BLOTCHES,
    FOLDS,
    HAS_TIE,
    PARAMETERS,
    PATTERN,
    PATTERN_FREQUENCY,
    PATTERNS,
    PLAIN,
    PORES,
    SECOND_COLOUR,
    SEED,
    SUIT,
    THIRD_COLOUR,
    Kind,
)
from img2pose.data.synthetic.noise import fractal_noise
from img2pose.data.synthetic.parts import Part, plain_part
from img2pose.data.synthetic.solids import (
    capsule,
    capsules,
    ellipsoid,
    grid_triangles,
    joined,
    lofted,
)

NECK_PIVOT = np.array([0.0, 0.62, 0.62])
"""Where the body turns against the head."""

_COLUMNS = 40
# Height y, half width, half depth, middle's z of the rings from the neck to the waist.
_RINGS = np.array(
    [
        [0.55, 0.42, 0.40, 0.60],
        [0.80, 0.45, 0.44, 0.64],
        [1.02, 0.52, 0.48, 0.70],
        [1.18, 0.72, 0.52, 0.74],
        [1.32, 1.05, 0.56, 0.76],
        [1.46, 1.40, 0.60, 0.78],
        [1.64, 1.68, 0.64, 0.80],
        [1.90, 1.86, 0.68, 0.80],
        [2.30, 1.92, 0.76, 0.76],
        [2.80, 1.84, 0.82, 0.72],
        [3.50, 1.76, 0.80, 0.72],
        [4.60, 1.66, 0.74, 0.76],
        [6.50, 1.70, 0.76, 0.80],
        [16.0, 1.60, 0.76, 0.80],
    ]
)


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) linear albedo of cloth or paint: black, white, gray or coloured."""
    kind = rng.uniform()
    if kind < 0.18:
        return np.full(3, rng.uniform(0.008, 0.04)) * np.exp(rng.normal(0, 0.1, 3))
    if kind < 0.36:
        return np.full(3, rng.uniform(0.5, 0.85)) * np.exp(rng.normal(0, 0.04, 3))
    if kind < 0.5:
        return np.full(3, rng.uniform(0.04, 0.5)) * np.exp(rng.normal(0, 0.08, 3))
    colour = rng.dirichlet(np.full(3, 0.7)) * rng.uniform(0.15, 1.3)
    return np.clip(colour + rng.uniform(0, 0.15), 0.01, 0.8)


def cloth_parameters(rng: np.random.Generator, skin: np.ndarray | None = None) -> np.ndarray:
    """Parameters of a random cloth; `skin` is what shows where the cloth leaves off."""
    p = np.zeros(PARAMETERS, dtype=np.float32)
    p[PATTERN] = rng.integers(PATTERNS) if rng.uniform() < 0.6 else PLAIN
    p[SECOND_COLOUR : SECOND_COLOUR + 3] = random_colour(rng)
    p[THIRD_COLOUR : THIRD_COLOUR + 3] = random_colour(rng)
    p[PATTERN_FREQUENCY] = np.exp(rng.uniform(math.log(1.5), math.log(9)))
    p[FOLDS] = rng.uniform(0.05, 0.35)
    p[BARE_SKIN_COLOUR : BARE_SKIN_COLOUR + 3] = skin if skin is not None else 0.3
    p[HAS_TIE] = rng.uniform()
    p[SEED] = rng.integers(1 << 20)
    return p


def torso_parts(person: Person, rng: np.random.Generator, coarse: bool) -> list[Part]:
    """Neck, shoulders and chest with clothes, and what is worn around the neck."""
    columns = 20 if coarse else _COLUMNS
    turn = np.linspace(0, 2 * math.pi, columns, endpoint=False)
    wide = rng.uniform(0.86, 1.18) * (0.82 if person.childlike else 1.0)
    deep = rng.uniform(0.9, 1.15)
    steps = np.linspace(0, len(_RINGS) - 1, 14 if coarse else 32)
    table = np.stack(
        [np.interp(steps, np.arange(len(_RINGS)), column) for column in _RINGS.T], axis=1
    )
    y, a, b, z = table.T
    # Short necks and long ones.
    y = np.where(y > 0.8, 0.8 + (y - 0.8) * rng.uniform(0.78, 1.02), y)
    a = a * (1 + (wide - 1) * np.clip((y - 1.0) / 0.6, 0, 1))
    b = b * (1 + (deep - 1) * np.clip((y - 1.0) / 0.6, 0, 1))
    sine, cosine = np.sin(turn), np.cos(turn)
    # Between an ellipse and a rectangle.
    round_off = (np.abs(sine) ** 2.6 + np.abs(cosine) ** 2.6) ** (-1 / 2.6)
    rings = np.stack(
        [
            a[:, None] * sine * round_off,
            y[:, None] + 0.10 * np.clip((y[:, None] - 1.1), 0, 0.6) * np.abs(sine),
            z[:, None] - b[:, None] * cosine * round_off,
        ],
        axis=-1,
    )
    places, triangles = lofted(rings)
    bare, neckline = _neckline(places, turn, len(y), rng)
    p = cloth_parameters(rng, person.skin)
    if neckline == "suit":
        p[PATTERN], p[PATTERN_FREQUENCY] = SUIT, 1
    # Below the chin little light comes in.
    openness = np.clip(0.72 + 0.5 * (places[:, 1] - 0.85), 0.6, 1.0)
    parts = [
        plain_part(
            Kind.CLOTH,
            places,
            triangles,
            random_colour(rng),
            openness=openness,
            gloss=rng.uniform(0, 0.06) if rng.uniform() < 0.8 else 0.25,
            extra=bare,
            parameters=p,
        )
    ]
    if not coarse:
        parts += _neckwear(neckline, rng)
    return parts


def _neckline(
    places: np.ndarray, turn: np.ndarray, rings: int, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """(V,) above 0 where skin is bare, and what the clothes are called."""
    x, y = places[:, 0], places[:, 1]
    front = np.tile(np.clip(np.cos(turn), 0, 1), rings)
    kind = str(
        rng.choice(
            ["crew", "vneck", "collar", "suit", "high", "wide", "bare", "straps"],
            p=[0.26, 0.14, 0.18, 0.10, 0.12, 0.09, 0.05, 0.06],
        )
    )
    if kind == "high":
        level = np.full(len(y), rng.uniform(0.7, 0.95))
    elif kind == "vneck":
        depth = rng.uniform(0.4, 1.0)
        level = 1.12 + depth * np.clip(1 - np.abs(x) / rng.uniform(0.4, 0.8), 0, 1) * (front > 0)
    elif kind in ("collar", "suit"):
        level = np.full(len(y), 1.0) + 0.12 * front
    elif kind == "wide":
        level = rng.uniform(1.35, 1.7) + 0.15 * front
    elif kind == "bare":
        level = np.full(len(y), rng.uniform(1.9, 7.0))
    elif kind == "straps":
        strap = np.abs(np.abs(x) - rng.uniform(0.7, 1.1)) < rng.uniform(0.06, 0.16)
        level = np.where(strap, 1.2, rng.uniform(1.9, 2.3))
    else:
        level = 1.10 + rng.uniform(0.05, 0.28) * front
    return np.asarray(level - y), kind


def _neckwear(kind: str, rng: np.random.Generator) -> list[Part]:
    """Collars, scarves, necklaces and hoods."""
    turn = np.linspace(0, 2 * math.pi, 36, endpoint=False)
    parts = []
    if kind in ("collar", "suit"):
        stand = rng.uniform(0.12, 0.26)
        gap = 0.35 * np.exp(-((np.minimum(turn, 2 * math.pi - turn) / 0.28) ** 2))
        rings = []
        for row, out in ((0.0, 0.05), (0.35, 0.10), (0.7, 0.09), (1.0, 0.05)):
            y = 1.10 - stand * (1 - abs(2 * row - 0.7)) + 0.2 * row + 0 * turn
            rings.append(
                np.stack(
                    [
                        (0.50 + out) * np.sin(turn),
                        y + gap,
                        0.68 - (0.47 + out) * np.cos(turn),
                    ],
                    axis=-1,
                )
            )
        places, triangles = lofted(np.array(rings))
        parts.append(
            plain_part(
                Kind.CLOTH,
                places,
                triangles,
                np.full(3, 0.75) if kind == "suit" else random_colour(rng),
                openness=0.75,
                parameters=np.zeros(PARAMETERS, np.float32),
                extra=-1.0,
            )
        )
    if rng.uniform() < 0.09:
        # A scarf: a fat, uneven ring.
        rows = np.linspace(-1, 1, 8)[:, None]
        thick = rng.uniform(0.18, 0.36)
        radius = 0.50 + thick * np.sqrt(np.clip(1 - rows**2, 0, 1))
        places = np.stack(
            [
                radius * np.sin(turn) * 1.05,
                1.0 + 0.30 * rows + 0.12 * np.cos(turn) + 0 * turn,
                0.62 - radius * np.cos(turn),
            ],
            axis=-1,
        ).reshape(-1, 3)
        lump = fractal_noise(places * 3, int(rng.integers(1 << 20)), 2)[:, None]
        places = places + 0.10 * lump * (places - [0, 1, 0.62])
        parts.append(
            plain_part(
                Kind.CLOTH,
                places,
                grid_triangles(8, 36, closed=True),
                random_colour(rng),
                openness=0.8,
                extra=-1.0,
                parameters=cloth_parameters(rng),
            )
        )
    elif rng.uniform() < 0.12:
        drop = rng.uniform(0.1, 0.7)
        beads = [
            ellipsoid(
                np.array(
                    [
                        0.56 * math.sin(t),
                        1.14 + drop * max(math.cos(t), 0) ** 1.5,
                        0.66 - (0.56 + 0.12 * max(math.cos(t), 0)) * math.cos(t),
                    ]
                ),
                np.full(3, rng.uniform(0.025, 0.06)),
                5,
                6,
            )
            for t in turn[::2]
        ]
        parts.append(plain_part(Kind.SOLID, *joined(beads), random_colour(rng), gloss=0.8))
    return parts


def arm_parts(person: Person, rng: np.random.Generator, raised: bool | None = None) -> list[Part]:
    """Up to two arms in random poses, sleeved or bare: skin that is no face.

    Args:
        person: Whose they are.
        rng: The only source of chance.
        raised: Whether they are lifted; None: one in five is.
    """
    parts = []
    sleeve = random_colour(rng)
    cloth = cloth_parameters(rng)
    bare = rng.uniform() < 0.5
    for sign in (-1.0, 1.0):
        if rng.uniform() < 0.35:
            continue
        shoulder = np.array([1.52 * sign, 1.80, 0.8])
        lifted = rng.uniform() < 0.22 if raised is None else raised
        if lifted:
            elbow = shoulder + [
                sign * rng.uniform(-0.2, 1.4),
                rng.uniform(-2.2, 0.4),
                rng.uniform(-1.2, 0.4),
            ]
        else:
            elbow = shoulder + [
                sign * rng.uniform(0.0, 0.6),
                rng.uniform(1.8, 2.3),
                rng.uniform(-0.6, 0.5),
            ]
        hand = (
            elbow
            + rng.normal(0, 1, 3) * [1.1, 1.1, 0.7]
            + [-sign * 0.6, -0.3 if lifted else 0.4, -0.6]
        )
        upper = capsule(shoulder, elbow, 0.42, 0.34)
        lower = capsule(elbow, hand, 0.34, 0.22)
        for limb, short in ((upper, False), (lower, True)):
            in_skin = bare or (short and rng.uniform() < 0.4)
            parameters = np.zeros(PARAMETERS, np.float32)
            parameters[PORES], parameters[BLOTCHES] = 0.03, 0.08
            parts.append(
                plain_part(
                    Kind.SKIN if in_skin else Kind.CLOTH,
                    *limb,
                    person.skin * 0.95 if in_skin else sleeve,
                    gloss=0.04,
                    extra=-1.0,
                    parameters=parameters if in_skin else cloth,
                )
            )
        parts += hand_parts(hand, np.asarray(hand - elbow), person.skin, rng)
    return parts


def hand_parts(
    wrist: np.ndarray, along: np.ndarray, skin: np.ndarray, rng: np.random.Generator
) -> list[Part]:
    """A hand from its wrist on: palm and five bent fingers.

    Args:
        wrist: (3,) where it begins.
        along: (3,) the direction that the forearm points in.
        skin: (3,) linear albedo.
        rng: For how the fingers are bent and spread.
    """
    forward = along / (np.linalg.norm(along) + 1e-9)
    aside = np.cross(forward, rng.normal(0, 1, 3))
    aside /= np.linalg.norm(aside) + 1e-9
    inward = np.cross(forward, aside)
    size = rng.uniform(0.85, 1.1)
    palm_end = wrist + forward * 0.80 * size
    # Start, end and the two radii of each limb.
    limbs = [(wrist - 0.1 * forward, palm_end, 0.24 * size, 0.22 * size)]
    limbs += [
        (
            wrist + 0.2 * forward + side * 0.2 * aside,
            palm_end + side * 0.24 * aside,
            0.18 * size,
            0.14 * size,
        )
        for side in (-1.0, 1.0)
    ]
    bend = rng.uniform(0, 1.4)
    spread = rng.uniform(0.02, 0.25)
    for finger in range(5):
        place = (finger - 1.5) / 1.5
        lengths: tuple[float, ...]
        if finger == 4:
            start = wrist + (0.25 * forward + 0.28 * aside) * size
            direction = 0.6 * forward + 0.8 * aside
            lengths = (0.34, 0.30)
        else:
            start = palm_end + 0.30 * place * aside * size
            direction = forward + spread * place * aside
            lengths = (0.40 - 0.05 * abs(place), 0.28, 0.22)
        angle = bend * rng.uniform(0.6, 1.2)
        for number, length in enumerate(lengths):
            turn = angle * (0.5 + 0.5 * number)
            step = math.cos(turn) * direction + math.sin(turn) * inward
            end = start + step / np.linalg.norm(step) * length * size
            radius = (0.115 - 0.012 * number) * size
            limbs.append((start, end, radius, radius * 0.9))
            start = end
    parameters = np.zeros(PARAMETERS, np.float32)
    parameters[PORES], parameters[BLOTCHES] = 0.04, 0.10
    parameters[SEED] = rng.integers(1 << 20)
    starts, ends, start_radii, end_radii = (np.array(column) for column in zip(*limbs, strict=True))
    places, triangles = capsules(starts, ends, start_radii, end_radii)
    # Between the fingers it is darker.
    near = np.clip(1.25 - 0.5 * np.abs((places - palm_end) @ inward) / 0.2, 0.55, 1)
    return [
        plain_part(
            Kind.SKIN, places, triangles, skin, openness=near, gloss=0.05, parameters=parameters
        )
    ]
