"""Hair of the head and of the face: shells with strands, and what is painted on the skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from img2pose.data.synthetic.head_model import SKULL_CENTER, HeadMesh, HeadModel
from img2pose.data.synthetic.identities import Person
from img2pose.data.synthetic.materials import (
    CURL,
    HIGHLIGHT,
    PARAMETERS,
    SEED,
    STRAND_CONTRAST,
    STRAND_FREQUENCY,
    Kind,
)
from img2pose.data.synthetic.noise import fractal_noise
from img2pose.data.synthetic.paint import beard_region, smooth_step
from img2pose.data.synthetic.parts import Part, plain_part
from img2pose.data.synthetic.skull import shell, wrapped
from img2pose.data.synthetic.solids import ellipsoid, grid_triangles, tube

# Elevation of the hairline by azimuth, both in degrees around the skull's centre.
_HAIRLINE_AZIMUTH = np.array([0, 25, 42, 54, 64, 74, 80, 86, 98, 110, 125, 150, 180])
_HAIRLINE = np.array([41, 41, 34, 24, 16, 6, -8, -2, 0, -14, -34, -42, -44])


@dataclass(frozen=True)
class HairStyle:
    """What the hair of a head is like.

    Attributes:
        bald: No shell; only what is painted.
        shaven: 0..1 density of painted hair on the scalp.
        top: Thickness at the crown, reference units.
        side: At the sides.
        back: At the back.
        front: Change of the hairline's height over the forehead, degrees; negative is lower.
        temples: Change at the temples; positive recedes.
        fringe: Degrees that hair falls over the forehead.
        fringe_side: -1..1, where the fringe is parted.
        length: How far it hangs down, 0 for short hair.
        opening: Azimuth in degrees where hanging hair begins.
        curl: 0 straight .. 1.
        rough: Unevenness of the surface.
        frequency: Strands a unit across.
        contrast: Of strands.
        gathered: "", "bun", "ponytail" or "puffs".
    """

    bald: bool = False
    shaven: float = 0.0
    top: float = 0.12
    side: float = 0.06
    back: float = 0.08
    front: float = 0.0
    temples: float = 0.0
    fringe: float = 0.0
    fringe_side: float = 0.0
    length: float = 0.0
    opening: float = 70.0
    curl: float = 0.0
    rough: float = 0.03
    frequency: float = 60.0
    contrast: float = 0.6
    gathered: str = ""


def draw_hair_style(rng: np.random.Generator, person: Person) -> HairStyle:
    """Draws a style that goes with a person."""
    if person.bearded and rng.uniform() < 0.08 + 0.22 * person.age:
        return HairStyle(bald=True, shaven=rng.choice([0.0, 0.3, 0.7]) * rng.uniform())
    curl = rng.uniform(0.25, 1.0) if rng.uniform() < 0.35 else 0.15 * rng.uniform()
    thick = float(np.exp(rng.normal(0, 0.35)))
    front, temples = rng.normal(0, 5), rng.normal(0, 3)
    fringe = 0.0
    long_hair = rng.uniform() < (0.12 if person.bearded else 0.60)
    if person.bearded:
        front += 22 * person.age * rng.uniform()
        temples += 25 * person.age * rng.uniform()
    if rng.uniform() < (0.25 if person.bearded else 0.42):
        fringe = rng.uniform(5, 30)
    length, gathered = 0.0, ""
    opening = rng.uniform(52, 88)
    if long_hair:
        length = rng.uniform(0.25, 2.6)
    elif rng.uniform() < 0.5 and not person.bearded:
        gathered = str(rng.choice(["bun", "ponytail", "puffs"]))
    big = 2.6 if rng.uniform() < 0.07 else 1.0
    return HairStyle(
        shaven=rng.uniform(0.5, 1.0),
        top=min(rng.uniform(0.05, 0.22) * thick * big, 0.55),
        side=min(rng.uniform(0.02, 0.13) * thick * big * (0.6 if gathered else 1.0), 0.5),
        back=min(rng.uniform(0.04, 0.16) * thick * big, 0.55),
        front=front,
        temples=temples,
        fringe=fringe,
        fringe_side=rng.uniform(-1, 1),
        length=length,
        opening=opening,
        curl=curl,
        rough=rng.uniform(0.01, 0.05) * (1 + 1.5 * curl) * (big**0.5),
        frequency=rng.uniform(35, 90),
        contrast=rng.uniform(0.35, 0.85),
        gathered=gathered,
    )


def _hairline_deg(style: HairStyle, azimuth_deg: np.ndarray) -> np.ndarray:
    """Elevation of the hair's roots at azimuths."""
    side = np.abs(wrapped(azimuth_deg))
    line: np.ndarray = np.interp(side, _HAIRLINE_AZIMUTH, _HAIRLINE)
    line = line + style.front * np.clip(1 - side / 60, 0, 1)
    return line + style.temples * np.exp(-(((side - 42) / 16) ** 2))


def painted_hair(
    mesh: HeadMesh, person: Person, style: HairStyle, rng: np.random.Generator
) -> np.ndarray:
    """(V,) density of hair that is painted on the skin: scalp, stubble, beard."""
    mean = mesh.mean.astype(np.float64)
    above = mesh.elevation_deg - _hairline_deg(style, mesh.azimuth_deg)
    scalp = style.shaven * smooth_step(-3, 4, above) * (1 - mesh.masks["ears"])
    scalp *= ~((mean[:, 2] < 0.35) & (mean[:, 1] > -0.30))
    density = scalp
    if person.bearded and rng.uniform() < 0.62:
        full = rng.uniform(0.15, 1.0)
        kind = rng.integers(5)
        cheeks, moustache, chin = [
            (full, full, full),
            (0.35 * full, full, full),
            (0.0, full, full),
            (0.0, full, 0.0),
            (0.6 * full, 0.6 * full, 0.6 * full),
        ][kind]
        beard = beard_region(mean, cheeks, moustache, chin)
        patchy = 1 + 0.5 * fractal_noise(mean * 6, person.seed + 40, 2)
        density = np.maximum(density, np.clip(beard * patchy, 0, 1))
    return np.where(mesh.masks["lips"] > 0.4, 0.0, np.clip(density, 0, 1))


def _hair_parameters(style: HairStyle, person: Person, rng: np.random.Generator) -> np.ndarray:
    p = np.zeros(PARAMETERS, dtype=np.float32)
    p[STRAND_FREQUENCY], p[STRAND_CONTRAST] = style.frequency, style.contrast
    p[CURL] = style.curl
    p[HIGHLIGHT], p[SEED] = rng.uniform(0.5, 1.5), person.seed
    return p


def _edge(
    style: HairStyle, azimuth_deg: np.ndarray, jagged: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """(N,) elevation at which each column leaves the skull, and the length that hangs from there.

    Args:
        style: Of the hair.
        azimuth_deg: (N,) of the columns.
        jagged: (N,) unevenness of about 1.
    """
    centered = wrapped(azimuth_deg)
    side = np.abs(centered)
    edge = _hairline_deg(style, azimuth_deg)
    if style.fringe > 0:
        over = np.clip(1.25 - side / 46, 0, 1) ** 0.7
        parted = np.clip(np.abs(centered / 40 - style.fringe_side) * 1.6, 0.25, 1)
        edge = edge - style.fringe * over * parted + 0.12 * style.fringe * over * jagged
    if style.length <= 0:
        return edge + 0.9 * jagged, None
    covering = smooth_step(style.opening - 6, style.opening + 6, side)
    edge = edge + covering * (np.minimum(edge, -2.0) - edge)
    hanging = style.length * smooth_step(style.opening - 4, style.opening + 10, side)
    return edge, hanging * (1 + 0.10 * jagged)


def _thickness(
    style: HairStyle,
    seed: int,
    azimuth_deg: np.ndarray,
    share: np.ndarray,
    hanging: np.ndarray | None,
) -> np.ndarray:
    """(R, N) distance of the shell from the skull; share (R, 1) runs from crown to edge."""
    side = np.abs(wrapped(azimuth_deg))
    sine, cosine = np.sin(np.radians(side)), np.cos(np.radians(side))
    lower = style.side * sine**2
    lower = lower + style.back * np.clip(-cosine, 0, 1)
    lower = lower + (0.25 * style.top + 0.02) * np.clip(cosine, 0, 1) ** 2
    blend = share**1.2
    thickness = style.top * (1 - blend) + lower * blend
    # Roots lie on the skin; hair that hangs or falls over the forehead does not.
    ends = np.zeros(len(side))
    if hanging is not None:
        ends = np.maximum(ends, np.clip(hanging * 3, 0, 1))
    if style.fringe > 0:
        ends = np.maximum(ends, 0.75 * np.clip(1.25 - side / 46, 0, 1))
    root = 1 - (1 - ends) * smooth_step(0.72, 1.0, np.broadcast_to(share, thickness.shape))
    thickness = thickness * root + 0.012
    turn = np.radians(azimuth_deg)
    places = np.broadcast_arrays(np.sin(turn) * 3, share * 3, np.cos(turn) * 3)
    ways = np.stack(places, axis=-1).reshape(-1, 3) * (1 + 2 * style.curl)
    lumps = fractal_noise(ways, seed, 3).reshape(thickness.shape)
    return np.maximum(thickness + style.rough * lumps * (0.3 + 0.7 * root), 0.008)


def hair_parts(
    skull: np.ndarray,
    person: Person,
    style: HairStyle,
    rng: np.random.Generator,
    coarse: bool,
) -> list[Part]:
    """The hair's shell, loose locks and what is gathered behind; empty for a bald head."""
    if style.bald:
        return []
    columns, rows = (36, 8) if coarse else (84, 14)
    azimuth = np.linspace(0, 360, columns, endpoint=False)
    centered = wrapped(azimuth)
    side = np.abs(centered)
    jagged = rng.normal(0, 1, columns)
    jagged = 0.6 * jagged + 0.4 * np.roll(jagged, 1)
    edge, hanging = _edge(style, azimuth, jagged)
    share = np.linspace(0, 1, rows)[:, None]
    thickness = _thickness(style, person.seed + 50, azimuth, share, hanging)
    front_share = 0.5 + 0.5 * np.cos(np.radians(side))
    places, triangles = shell(
        skull, azimuth, edge, thickness, hanging, flare=rng.uniform(-0.25, 0.30)
    )
    total_rows = len(places) // columns
    if style.length > 0 and not coarse:
        wave = fractal_noise(places * [1.5, 2.5, 1.5], person.seed + 51, 2).reshape(
            total_rows, columns
        )
        wave[:rows] = 0
        places = places + (0.05 + 0.12 * style.curl) * wave.reshape(-1, 1) * [1, 0, 1]
    down = np.concatenate([share[:, 0], 1 + np.arange(1, total_rows - rows + 1) / 8])
    pattern = np.stack(
        np.broadcast_arrays(
            0.75 * np.radians(side),
            1.4 * down[:, None],
            0.5 * np.sign(centered),
        ),
        axis=-1,
    ).reshape(-1, 3)
    # Roots and the under side are darker.
    openness = np.broadcast_to(
        np.clip(0.55 + 0.45 * np.sin(np.clip(down, 0, 1) * 2.6 + 0.4), 0.3, 1)[:, None]
        * (0.85 + 0.15 * front_share),
        (total_rows, columns),
    ).reshape(-1)
    p = _hair_parameters(style, person, rng)
    tone = 1 + 0.12 * fractal_noise(places * 2, person.seed + 52, 2)
    colours = person.hair * tone[:, None]
    parts = [
        Part(
            Kind.HAIR,
            places,
            triangles,
            colours.astype(np.float32),
            pattern.astype(np.float32),
            openness.astype(np.float32),
            np.full(len(places), rng.uniform(0.02, 0.10) * (1 - 0.5 * style.curl), np.float32),
            np.zeros(len(places), np.float32),
            p,
        )
    ]
    if not coarse:
        parts.append(_strands(places, columns, person, style, p, rng))
    for center, radii in _gathered(style, rng):
        places, triangles = ellipsoid(center, radii, 7, 12)
        places = places + 0.04 * fractal_noise(places * 6, person.seed + 53, 2)[:, None] * (
            places - center
        ) / np.min(radii)
        parts.append(
            plain_part(
                Kind.HAIR,
                places,
                triangles,
                person.hair,
                pattern=places * [1, 0.6, 1],
                openness=np.clip(0.8 - 0.4 * (places[:, 1] - center[1]) / radii[1], 0.3, 1),
                gloss=0.05,
                parameters=p,
            )
        )
    return parts


def _strands(
    places: np.ndarray,
    columns: int,
    person: Person,
    style: HairStyle,
    parameters: np.ndarray,
    rng: np.random.Generator,
) -> Part:
    """Thin locks that leave the shell, so that hair has no smooth outline.

    Args:
        places: (R * columns, 3) vertices of the shell, row by row.
        columns: Of the shell.
        person: Whose hair it is.
        style: Of the hair.
        parameters: Of the shell's paint.
        rng: For their places.
    """
    grid = places.reshape(-1, columns, 3)
    rows = len(grid)
    count = int(rng.integers(60, 260))
    row = np.minimum((rows - 1) * rng.beta(2.0, 1.2, count), rows - 2).astype(int)
    column = rng.integers(columns, size=count)
    roots = grid[row, column]
    along = grid[row + 1, column] - roots
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    outward = roots - SKULL_CENTER
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
    length = rng.uniform(0.08, 0.16 + 0.25 * min(style.top * 3 + style.length, 1.0), count)
    wild = rng.uniform(0.05, 0.45) + 0.5 * style.curl
    aside = rng.normal(0, wild, (count, 3))
    steps = np.linspace(0, 1, 4)[None, :, None]
    path = roots[:, None] + length[:, None, None] * (
        steps * along[:, None]
        + steps**2 * (aside + 0.4 * wild * np.abs(rng.normal(0, 1, (count, 1))) * outward)[:, None]
        + 0.25 * np.sin(np.pi * steps) * outward[:, None]
    )
    across = np.cross(along, outward)
    width = rng.uniform(0.006, 0.03, (count, 1, 1)) * (1 - 0.85 * steps)
    ribbon = np.stack([path - width * across[:, None], path + width * across[:, None]], axis=2)
    one = grid_triangles(4, 2)
    first = np.arange(count, dtype=np.int32)[:, None, None] * np.int32(8)
    tones = np.exp(rng.normal(0, 0.35, (count, 1, 1, 1)))
    colours = np.broadcast_to(person.hair * tones, ribbon.shape).reshape(-1, 3)
    vertices = ribbon.reshape(-1, 3)
    return plain_part(
        Kind.HAIR,
        vertices,
        (one + first).reshape(-1, 3),
        colours,
        pattern=vertices,
        openness=0.85,
        gloss=0.03,
        parameters=parameters,
    )


def _gathered(style: HairStyle, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    size = rng.uniform(0.2, 0.42)
    if style.gathered == "bun":
        center = np.array([0.0, rng.uniform(-1.65, -0.3), 0.0])
        center[2] = 0.55 + 0.95 * np.sqrt(max(1 - ((center[1] + 0.45) / 1.25) ** 2, 0.0))
        return [(center, np.array([size, size, size]))]
    if style.gathered == "ponytail":
        center = np.array([rng.uniform(-0.3, 0.3), rng.uniform(-0.6, 0.6), 1.62])
        return [(center, np.array([0.6 * size, rng.uniform(0.5, 1.2), 0.6 * size]))]
    if style.gathered == "puffs":
        height = rng.uniform(-1.3, 0.1)
        return [
            (np.array([sign * rng.uniform(0.8, 0.95), height, 0.7]), np.array([size, size, size]))
            for sign in (-1, 1)
        ]
    return []


def beard_part(
    model: HeadModel, vertices: np.ndarray, person: Person, rng: np.random.Generator
) -> Part | None:
    """A full beard or moustache that stands off the skin; mostly there is none."""
    if not person.bearded or rng.uniform() > 0.24:
        return None
    mean = model.fine.mean.astype(np.float64)
    shape = rng.integers(3)
    cheeks, moustache, chin = [(1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (0.0, 1.0, 0.0)][shape]
    density = beard_region(mean, cheeks, moustache, chin)
    density = np.where(model.fine.masks["lips"] > 0.35, 0, density)
    density[model.fine.masks["inside-mouth"] > 0.3] = 0
    inside = density > 0.12
    triangles = model.fine.triangles[inside[model.fine.triangles].all(axis=1)]
    used, corners = np.unique(triangles, return_inverse=True)
    if not len(used):
        return None
    length = rng.uniform(0.02, 0.16) * (2.2 if rng.uniform() < 0.12 else 1.0)
    if shape == 2:
        length *= 0.35
    places = vertices[used]
    from_center = places - vertices[model.landmark_indices[[33, 8]]].mean(0) - [0, -0.1, 0.35]
    outward = from_center / (np.linalg.norm(from_center, axis=1, keepdims=True) + 1e-9)
    lump = 1 + 0.6 * fractal_noise(mean[used] * 9, person.seed + 60, 2)
    grown = length * smooth_step(0.1, 0.7, density[used]) * lump
    low = np.clip((mean[used, 1] - 0.3) / 0.4, 0, 1)
    places = places + (grown + 0.006)[:, None] * (
        outward + [0, 0.2, 0] + low[:, None] * [0, 0.9, 0]
    )
    p = np.zeros(PARAMETERS, dtype=np.float32)
    p[STRAND_FREQUENCY], p[STRAND_CONTRAST] = rng.uniform(40, 80), 0.7
    p[CURL], p[HIGHLIGHT] = rng.uniform(0.2, 0.8), 0.6
    p[SEED] = person.seed + 5
    across = np.abs(mean[used, 0]) + 0.3 * mean[used, 2]
    return plain_part(
        Kind.HAIR,
        places,
        corners.reshape(-1, 3),
        person.hair * rng.uniform(0.5, 1.1),
        pattern=np.stack([1.2 * across, mean[used, 1], mean[used, 0]], axis=1),
        openness=np.clip(0.35 + 0.9 * density[used] - 0.35 * low, 0.2, 0.95),
        gloss=0.03,
        parameters=p,
    )


def loose_strands(person: Person, style: HairStyle, rng: np.random.Generator) -> Part | None:
    """A lock that has come loose and hangs over the face."""
    if style.bald or style.length < 0.3 or rng.uniform() > 0.25:
        return None
    sign = rng.choice([-1.0, 1.0])
    steps = np.linspace(0, 1, 10)[:, None]
    start = np.array([sign * rng.uniform(0.1, 0.45), -1.05, -0.42])
    end = np.array(
        [sign * rng.uniform(0.45, 0.75), rng.uniform(-0.2, 0.6), rng.uniform(-0.5, -0.05)]
    )
    bow = np.sin(np.pi * steps) * np.array([[sign * 0.18, 0.0, -0.12]])
    places, triangles = tube(
        start + steps * (end - start) + bow,
        rng.uniform(0.012, 0.035) * np.linspace(1.0, 0.3, 10),
        5,
    )
    return plain_part(
        Kind.HAIR,
        places,
        triangles,
        person.hair,
        pattern=places * [1, 0.3, 1],
        gloss=0.05,
        parameters=_hair_parameters(style, person, rng),
    )
