"""Who a head belongs to: shape, expression, colours and traits, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from img2pose.data.synthetic.head_model import HeadModel

IDENTITY_SPREAD = 1.15
"""Standard deviation of the identity coefficients; sampled adults have 1."""

# Linear albedo of skin from palest to darkest; a person has one between two of them.
_SKIN_TONES = np.array(
    [
        [0.78, 0.56, 0.47],
        [0.70, 0.45, 0.34],
        [0.62, 0.37, 0.25],
        [0.48, 0.27, 0.165],
        [0.34, 0.175, 0.10],
        [0.21, 0.100, 0.056],
        [0.115, 0.055, 0.034],
        [0.062, 0.033, 0.024],
    ]
)
_HAIR_TONES = np.array(
    [
        [0.008, 0.007, 0.007],
        [0.020, 0.013, 0.010],
        [0.050, 0.028, 0.016],
        [0.105, 0.058, 0.030],
        [0.20, 0.115, 0.055],
        [0.38, 0.25, 0.115],
        [0.52, 0.40, 0.23],
        [0.22, 0.065, 0.020],
        [0.30, 0.29, 0.28],
        [0.62, 0.61, 0.60],
    ]
)
_IRIS_TONES = np.array(
    [
        [0.030, 0.013, 0.006],
        [0.075, 0.032, 0.012],
        [0.14, 0.085, 0.030],
        [0.10, 0.12, 0.045],
        [0.10, 0.17, 0.24],
        [0.16, 0.20, 0.23],
    ]
)


@dataclass(frozen=True, eq=False)
class Person:
    """A head's shape and traits.

    Attributes:
        identity: (50,) coefficients.
        expression: (52,) in 0..1.
        childlike: 0 adult .. 1 small child: larger cranium and eyes, smaller jaw and nose.
        age: 0 young .. 1 old: furrows, grey hair, blotches.
        bearded: Whether facial hair may grow.
        skin: (3,) linear albedo.
        redness: Flush of cheeks, nose and ears.
        hair: (3,) linear albedo.
        iris: (3,) linear albedo.
        gaze: (2, 3) unit directions of the eyes (x < 0, x > 0) in the head's frame.
        lipstick: Share of lip colour that is made up.
        lips: (3,) linear albedo of the lips.
        make_up: 0..1 strength of shadows and lines around the eyes.
        seed: Of the noise in the paint.
    """

    identity: np.ndarray
    expression: np.ndarray
    childlike: float
    age: float
    bearded: bool
    skin: np.ndarray
    redness: float
    hair: np.ndarray
    iris: np.ndarray
    gaze: np.ndarray
    lipstick: float
    lips: np.ndarray
    make_up: float
    seed: int

    def shape(self, vertices: np.ndarray) -> np.ndarray:
        """Adds what the model of adults lacks: the proportions of children."""
        if self.childlike <= 0:
            return vertices
        amount = self.childlike
        moved = vertices.copy()
        x, y, z = vertices.T
        # A larger cranium and a smaller lower face; the eyes' line stays.
        above = np.clip(-(y + 0.45), 0, 1.2)
        below = np.clip(y + 0.30, 0, 1.2)
        moved[:, 1] += amount * (-0.10 * above - 0.14 * below)
        wide = 1 + amount * (0.07 * np.clip(above / 0.6, 0, 1) - 0.05 * np.clip(below / 0.6, 0, 1))
        moved[:, 0] *= wide
        nose = np.exp(-((x / 0.16) ** 2) - ((y + 0.02) / 0.22) ** 2) * np.clip(-z - 0.35, 0, 0.5)
        moved[:, 2] += amount * 0.25 * nose
        cheeks = np.exp(-(((np.abs(x) - 0.42) / 0.2) ** 2) - ((y - 0.12) / 0.25) ** 2) * (z < 0.2)
        moved[:, 2] -= amount * 0.05 * cheeks
        for side in (-1, 1):
            center = np.array([0.295 * side, -0.41])
            offset = vertices[:, :2] - center
            near = np.exp(-(offset**2).sum(axis=1) / (2 * 0.17**2)) * (z < -0.05)
            moved[:, :2] += amount * 0.16 * near[:, None] * offset
        return moved


def between(table: np.ndarray, place: float) -> np.ndarray:
    """A row of a table, linear between neighbours; place in 0..1."""
    at = np.clip(place, 0, 1) * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    row: np.ndarray = table[low] + (at - low) * (table[low + 1] - table[low])
    return row


def _expression(rng: np.random.Generator, names: tuple[str, ...]) -> np.ndarray:
    """Coefficients of a random facial expression."""
    values = dict.fromkeys(names, 0.0)

    def both(name: str, amount: float, uneven: float = 0.15) -> None:
        for side in ("Left", "Right"):
            values[name + side] += amount * (1 + uneven * rng.normal())

    kind = rng.choice(
        ["neutral", "smile", "laugh", "talk", "shout", "sad", "angry", "surprise", "pucker", "odd"],
        p=[0.22, 0.23, 0.14, 0.12, 0.05, 0.05, 0.05, 0.05, 0.04, 0.05],
    )
    strength = rng.uniform(0.35, 1.0)
    if kind in ("smile", "laugh"):
        both("mouthSmile", strength)
        both("cheekSquint", 0.6 * strength * rng.uniform())
        both("eyeSquint", 0.5 * strength * rng.uniform())
        both("mouthDimple", 0.3 * rng.uniform())
        if kind == "laugh":
            values["jawOpen"] += rng.uniform(0.08, 0.45)
            both("mouthUpperUp", rng.uniform(0.2, 0.7))
            both("mouthLowerDown", rng.uniform(0.0, 0.4))
        elif rng.uniform() < 0.5:
            # Lips parted over the teeth.
            both("mouthUpperUp", rng.uniform(0.2, 0.6))
            both("mouthLowerDown", rng.uniform(0.1, 0.5))
            values["jawOpen"] += rng.uniform(0.0, 0.12)
    elif kind == "talk":
        values["jawOpen"] += rng.uniform(0.05, 0.35)
        values["mouthFunnel"] += rng.uniform(0, 0.5)
        both("mouthLowerDown", rng.uniform(0, 0.5))
        both("mouthStretch", rng.uniform(0, 0.4))
    elif kind == "shout":
        values["jawOpen"] += rng.uniform(0.5, 1.0)
        both("mouthUpperUp", rng.uniform(0, 0.6))
        both("mouthLowerDown", rng.uniform(0, 0.6))
        both("browDown", rng.uniform(0, 0.8))
    elif kind == "sad":
        both("mouthFrown", strength)
        values["browInnerUp"] += strength
        values["mouthShrugLower"] += rng.uniform(0, 0.6)
    elif kind == "angry":
        both("browDown", strength)
        both("noseSneer", rng.uniform(0, 0.8))
        both("mouthPress", rng.uniform(0, 0.8))
        both("eyeSquint", rng.uniform(0, 0.6))
    elif kind == "surprise":
        values["browInnerUp"] += strength
        both("browOuterUp", strength)
        both("eyeWide", strength)
        values["jawOpen"] += rng.uniform(0.05, 0.6)
    elif kind == "pucker":
        values["mouthPucker"] += strength
        values["cheekPuff"] += rng.uniform(0, 0.7) * (rng.uniform() < 0.4)
    elif kind == "odd":
        for name in rng.choice(names, 6, replace=False):
            values[str(name)] += rng.uniform(0.1, 0.7)
    lids = rng.uniform()
    if lids < 0.08:
        both("eyeBlink", rng.uniform(0.85, 1.0), 0.02)
    elif lids < 0.11:
        values[str(rng.choice(["eyeBlinkLeft", "eyeBlinkRight"]))] += 0.95
    elif lids < 0.6:
        both("eyeBlink", rng.uniform(0.0, 0.35), 0.1)
    both("browDown", 0.3 * rng.uniform() ** 2)
    values["browInnerUp"] += 0.3 * rng.uniform() ** 2
    values["jawLeft"] += 0.3 * rng.uniform() ** 4
    values["jawRight"] += 0.3 * rng.uniform() ** 4
    values["mouthLeft"] += 0.3 * rng.uniform() ** 4
    values["mouthRight"] += 0.3 * rng.uniform() ** 4
    return np.clip([values[name] for name in names], 0, 1)


def draw_person(rng: np.random.Generator, model: HeadModel) -> Person:
    """Draws a person; everything depends on the generator alone."""
    childlike = rng.uniform(0.2, 1.0) if rng.uniform() < 0.2 else 0.0
    age = 0.0 if childlike else float(rng.beta(1.3, 2.0))
    tone = rng.uniform(0.0, 1.0) ** 1.5
    skin = between(_SKIN_TONES, tone) * np.exp(rng.normal(0, [0.07, 0.06, 0.10]))
    if age > 0.65 and rng.uniform() < 0.75:
        hair = between(_HAIR_TONES[8:], rng.uniform())
    elif rng.uniform() < 0.05:
        # Dyed.
        hair = rng.uniform(0.01, 0.5, 3)
    else:
        lightness = rng.uniform(0, 1) ** 1.5 * (1 - 0.85 * max(tone - 0.45, 0) / 0.55)
        hair = between(_HAIR_TONES[:8], lightness)
    hair = hair * np.exp(rng.normal(0, 0.15))
    look = rng.normal(0, [0.22, 0.13]) if rng.uniform() < 0.8 else rng.uniform(-0.55, 0.55, 2)
    gaze = np.array([[look[0], look[1], -1.0]] * 2) + rng.normal(0, 0.02, (2, 3))
    gaze /= np.linalg.norm(gaze, axis=1, keepdims=True)
    female = rng.uniform() < 0.5
    lipstick = rng.uniform(0.2, 0.9) if female and not childlike and rng.uniform() < 0.45 else 0.0
    natural = skin * [1.0, 0.62, 0.62] * rng.uniform(0.75, 1.05)
    painted = between(
        np.array([[0.45, 0.03, 0.04], [0.55, 0.12, 0.16], [0.25, 0.02, 0.05], [0.5, 0.2, 0.15]]),
        rng.uniform(),
    )
    return Person(
        rng.normal(0, IDENTITY_SPREAD, len(model.identities)).clip(-3, 3),
        _expression(rng, model.expression_names),
        childlike,
        age,
        not female and not childlike,
        np.clip(skin, 0.02, 0.85),
        float(rng.uniform(0.0, 0.28)),
        np.clip(hair, 0.004, 0.8),
        between(_IRIS_TONES, rng.uniform() ** (1.0 + 3.0 * tone)) * np.exp(rng.normal(0, 0.2)),
        gaze,
        lipstick,
        natural + lipstick * (painted - natural),
        rng.uniform(0.2, 1.0) if female and not childlike and rng.uniform() < 0.6 else 0.0,
        int(rng.integers(1 << 20)),
    )
