"""The head's own surfaces: skin with its slow changes of colour, eyes, teeth."""

from __future__ import annotations

import math

import numpy as np

from img2pose.data.synthetic.head_model import HeadMesh, HeadModel
from img2pose.data.synthetic.identities import Person
from img2pose.data.synthetic.materials import (
    BLOTCHES,
    BROW_COLOUR,
    BROW_DENSITY,
    BROW_HAIR_TILT,
    BROW_HALF_WIDTH,
    BROW_HEIGHT,
    BROW_RISE,
    FRECKLE_FREQUENCY,
    FRECKLES,
    GAZE_LEFT,
    GAZE_RIGHT,
    IRIS_COLOUR,
    IRIS_COSINE,
    LOWER_LASHES,
    PARAMETERS,
    PORES,
    PUPIL_COSINE,
    RIGHT_EYE_CENTER,
    SEED,
    SHORT_HAIR_COLOUR,
    STUBBLE_FREQUENCY,
    TEETH_FREQUENCY,
    UPPER_LASHES,
    VEINS,
    WRINKLES,
    Kind,
)
from img2pose.data.synthetic.noise import fractal_noise
from img2pose.data.synthetic.parts import Part, plain_part
from img2pose.data.synthetic.solids import grid_triangles, joined

_TEETH_COLUMNS = 15


def smooth_step(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between; also falling, with low > high."""
    share = np.clip((value - low) / (high - low), 0, 1)
    result: np.ndarray = share * share * (3 - 2 * share)
    return result


def beard_region(mean: np.ndarray, cheeks: float, moustache: float, chin: float) -> np.ndarray:
    """(V,) 0..1 density of facial hair.

    Args:
        mean: (V, 3) places on the mean head.
        cheeks: How much grows on jaw and cheeks.
        moustache: On the upper lip.
        chin: On the chin.
    """
    x, y, z = mean.T
    side = np.abs(x)
    # Above a line from the ears to the mouth's corners there is none.
    line = 0.20 - 0.50 * np.clip(side - 0.42, 0, 0.4)
    jaw = smooth_step(-0.07, 0.07, y - line) * smooth_step(0.15, 0.30, side + 0.6 * (y - 0.35))
    jaw *= smooth_step(0.62, 0.48, z) * smooth_step(0.86, 0.72, y)
    sideburn = (
        smooth_step(0.60, 0.68, side) * smooth_step(0.36, 0.26, z) * smooth_step(-0.5, -0.35, y)
    )
    sideburn *= smooth_step(0.12, 0.3, z)
    lip = smooth_step(0.075, 0.10, y) * smooth_step(0.25, 0.20, y) * smooth_step(0.32, 0.24, side)
    lip *= smooth_step(-0.30, -0.36, z)
    beside = (
        smooth_step(0.22, 0.26, side) * smooth_step(0.34, 0.29, side) * smooth_step(0.1, 0.2, y)
    )
    beside *= smooth_step(0.5, 0.4, y) * smooth_step(-0.25, -0.3, z)
    below = smooth_step(0.36, 0.42, y) * smooth_step(0.34, 0.22, side) * smooth_step(0.9, 0.75, y)
    below *= smooth_step(0.1, 0.0, z)
    density: np.ndarray = np.maximum.reduce(
        [
            cheeks * np.maximum(jaw, sideburn),
            moustache * lip,
            min(moustache, chin) * beside,
            chin * below,
        ]
    )
    return density


def skin_part(
    mesh: HeadMesh,
    vertices: np.ndarray,
    person: Person,
    rng: np.random.Generator,
    short_hair: np.ndarray,
) -> Part:
    """Skin, lips, the mouth's inside and the tongue.

    Args:
        mesh: Level of detail.
        vertices: (V, 3) the person's.
        person: Whose it is.
        rng: For what varies besides.
        short_hair: (V,) density of stubble, beard and shaven hair.
    """
    mean = mesh.mean.astype(np.float64)
    colours = np.broadcast_to(person.skin, mean.shape).copy()
    slow = fractal_noise(mean * 2.2 + 7, person.seed, 2)
    colours *= 1 + 0.10 * slow[:, None]
    red = person.redness * mesh.flush * (1 + 0.5 * slow)
    colours *= 1 + red[:, None] * np.array([0.25, -0.55, -0.45])
    # The skin is thin and dark around the eyes, and in folds.
    tired = rng.uniform(0.0, 0.35) * (0.5 + person.age)
    colours *= 1 - tired * mesh.socket[:, None] * np.array([0.6, 0.9, 0.85])
    if person.make_up > 0:
        shadow = person.make_up * mesh.masks["eyelids"] * (mean[:, 1] < -0.40)
        colour = person.skin * rng.uniform(0.1, 0.9, 3)
        colours += (rng.uniform(0.3, 0.9) * shadow)[:, None] * (colour - colours)
    lips = np.clip(mesh.masks["lips"] * rng.uniform(0.7, 1.1), 0, 1) * rng.uniform(0.65, 1.0)
    colours += lips[:, None] * (person.lips * (1 + 0.1 * slow[:, None]) - colours)
    inside = np.maximum(mesh.masks["inside-mouth"], mesh.is_tongue)[:, None]
    colours += inside * (np.array([0.32, 0.07, 0.06]) - colours)
    openness = mesh.openness.astype(np.float64)
    # Whatever the mouth does, little light comes in; the tongue lies at its front.
    openness = np.where(mesh.is_tongue, 0.25, np.maximum(openness, 0.05 * inside[:, 0]))
    shine = rng.uniform(0.02, 0.16)
    gloss = shine * mesh.shiny
    gloss = np.where(
        mesh.masks["lips"] > 0.5, rng.uniform(0.04, 0.16) + 0.25 * person.lipstick, gloss
    )
    gloss = np.where(inside[:, 0] > 0.5, 0.15, gloss)
    p = np.zeros(PARAMETERS, dtype=np.float32)
    p[PORES] = rng.uniform(0.02, 0.09) * (1 + person.age)
    p[FRECKLES] = rng.uniform(0.1, 0.55) if rng.uniform() < 0.2 else 0.0
    p[FRECKLE_FREQUENCY] = rng.uniform(14, 30)
    p[BROW_HALF_WIDTH] = np.exp(rng.normal(math.log(0.036), 0.35)) * (
        0.75 if person.childlike else 1.0
    )
    p[BROW_DENSITY] = rng.uniform(0.35, 0.98)
    p[BROW_COLOUR : BROW_COLOUR + 3] = person.hair * rng.uniform(0.4, 0.9)
    p[BROW_HEIGHT] = rng.normal(0, 0.018)
    p[BROW_RISE] = rng.normal(0, 0.07)
    p[UPPER_LASHES] = rng.uniform(0.3, 0.75) if person.make_up == 0 else rng.uniform(0.7, 1.0)
    p[SHORT_HAIR_COLOUR : SHORT_HAIR_COLOUR + 3] = person.hair * rng.uniform(0.6, 1.0)
    p[WRINKLES] = max(0.0, 1.2 * (person.age - 0.35)) + 0.12 * rng.uniform()
    p[BLOTCHES] = rng.uniform(0.01, 0.065) * (1 + person.age)
    p[LOWER_LASHES] = 0.6 * person.make_up * rng.uniform() + 0.25 * rng.uniform()
    p[BROW_HAIR_TILT] = rng.uniform(-1.2, 0.2)
    p[STUBBLE_FREQUENCY] = rng.uniform(35, 80)
    p[SEED] = person.seed
    return Part(
        Kind.HEAD,
        vertices,
        mesh.triangles,
        np.clip(colours, 0.003, 0.95).astype(np.float32),
        mesh.mean,
        openness.astype(np.float32),
        gloss.astype(np.float32),
        np.asarray(short_hair, dtype=np.float32),
        p,
        mesh.is_face,
    )


def eye_part(
    model: HeadModel,
    mesh: HeadMesh,
    vertices: np.ndarray,
    person: Person,
    rng: np.random.Generator,
) -> Part:
    """Both eyeballs; vertices (V, 3) are all of the level of detail."""
    white = np.array([0.62, 0.58, 0.54]) * rng.uniform(0.75, 1.1)
    p = np.zeros(PARAMETERS, dtype=np.float32)
    p[GAZE_LEFT : GAZE_LEFT + 3], p[GAZE_RIGHT : GAZE_RIGHT + 3] = person.gaze
    iris = math.radians(rng.uniform(23, 27) * (1 + 0.12 * person.childlike))
    p[IRIS_COSINE], p[PUPIL_COSINE] = math.cos(iris), math.cos(iris * rng.uniform(0.28, 0.55))
    p[IRIS_COLOUR : IRIS_COLOUR + 3] = person.iris
    p[RIGHT_EYE_CENTER : RIGHT_EYE_CENTER + 3] = model.eye_center
    p[VEINS] = rng.uniform(0, 0.5)
    p[SEED] = person.seed
    # The upper lid shades the eye; towards the corners less light comes in.
    mean = mesh.mean[mesh.eye_indices]
    openness = np.clip(0.62 + 3.2 * (mean[:, 1] - model.eye_center[1]), 0.18, 0.85)
    aside = np.abs(np.abs(mean[:, 0]) - model.eye_center[0])
    openness = openness * np.clip(1.15 - 3.5 * aside, 0.4, 1.0)
    return plain_part(
        Kind.EYE,
        vertices[mesh.eye_indices],
        mesh.eye_triangles,
        white,
        pattern=mean,
        openness=openness,
        gloss=rng.uniform(0.3, 1.8),
        parameters=p,
        is_face=True,
    )


def _row_of_teeth(top: float, bottom: float) -> tuple[np.ndarray, np.ndarray]:
    """An arch behind the lips on the mean head; top and bottom in y."""
    along = np.linspace(-1, 1, _TEETH_COLUMNS)
    x = 0.215 * np.sin(1.25 * along) / math.sin(1.25)
    z = -0.462 + 0.30 * (1 - np.cos(1.2 * along))
    heights = np.linspace(top, bottom, 4)
    rows = [
        np.stack([x, np.full_like(x, y), z + 0.015 * (row % 3 == 0)], axis=1)
        for row, y in enumerate(heights)
    ]
    return np.concatenate(rows), grid_triangles(4, _TEETH_COLUMNS)


def teeth_part(
    model: HeadModel, vertices: np.ndarray, person: Person, rng: np.random.Generator
) -> Part | None:
    """Upper and lower teeth, which the model lacks; None while the mouth is shut.

    The upper ones move with the nose's base, the lower ones with the chin, as jaws do.

    Args:
        model: For the mean head.
        vertices: (V, 3) the person's fine vertices.
        person: Whose they are.
        rng: For their colour.
    """
    landmarks = vertices[model.landmark_indices]
    if landmarks[66, 1] - landmarks[62, 1] < 0.045:
        return None
    mean = model.fine.mean.astype(np.float64)[model.landmark_indices]
    width = np.ptp(landmarks[[36, 45], 0]) / np.ptp(mean[[36, 45], 0])
    above = landmarks[[31, 33, 35]].mean(0) - mean[[31, 33, 35]].mean(0)
    below = landmarks[[7, 8, 9]].mean(0) - mean[[7, 8, 9]].mean(0)
    upper, triangles = _row_of_teeth(0.19, 0.295 + rng.uniform(-0.02, 0.02))
    lower, _ = _row_of_teeth(0.305 + rng.uniform(-0.01, 0.03), 0.40)
    upper = upper * [width, 1, 1] + above
    lower = (lower + [0, 0, 0.02]) * [0.92 * width, 1, 1] + below
    places, corners = joined([(upper, triangles), (lower, triangles)])
    shade = np.tile(np.clip(1.15 - np.abs(np.linspace(-1, 1, _TEETH_COLUMNS)), 0.15, 1), 8)
    colour = (
        np.array([0.66, 0.58, 0.46])
        * rng.uniform(0.6, 1.15)
        * [1, rng.uniform(0.92, 1.0), rng.uniform(0.8, 1.0)]
    )
    p = np.zeros(PARAMETERS, dtype=np.float32)
    p[TEETH_FREQUENCY], p[SEED] = rng.uniform(80, 105), person.seed
    return plain_part(
        Kind.TEETH,
        places,
        corners,
        colour,
        pattern=np.concatenate([upper, lower]),
        openness=0.62 * shade,
        gloss=0.25,
        parameters=p,
        is_face=True,
    )
