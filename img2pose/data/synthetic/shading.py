"""Paint and light for each visible sample, in one compiled pass over the picture.

The rasterizer says which triangle a sample shows and where in it; here the paint is found from the
place on the surface, so that it costs nothing where nothing is seen, and its detail fades where a
sample is too coarse for it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from img2pose.data.synthetic.materials import (
    BARE_SKIN_COLOUR,
    BLOTCHES,
    BROW_COLOUR,
    BROW_DENSITY,
    BROW_HAIR_TILT,
    BROW_HALF_WIDTH,
    BROW_HEIGHT,
    BROW_RISE,
    CHECKS,
    CURL,
    DOTS,
    FOLDS,
    FRECKLE_FREQUENCY,
    FRECKLES,
    GAZE_LEFT,
    GAZE_RIGHT,
    HAS_TIE,
    HIGHLIGHT,
    IRIS_COLOUR,
    IRIS_COSINE,
    LOWER_LASHES,
    PATCHES,
    PATTERN,
    PATTERN_FREQUENCY,
    PORES,
    PRINT,
    PUPIL_COSINE,
    RIGHT_EYE_CENTER,
    RINGS,
    SECOND_COLOUR,
    SEED,
    SHORT_HAIR_COLOUR,
    SLANTED,
    STRAND_CONTRAST,
    STRAND_FREQUENCY,
    STRIPES,
    STUBBLE_FREQUENCY,
    SUIT,
    TEETH_FREQUENCY,
    THIRD_COLOUR,
    UPPER_LASHES,
    VEINS,
    WRINKLES,
    Kind,
)
from img2pose.data.synthetic.noise import hashed, value_noise
from sim3dr.compilation import compiled, f4, f8, i4, part, read, written

_HEAD, _EYE, _TEETH = int(Kind.HEAD), int(Kind.EYE), int(Kind.TEETH)
_HAIR, _CLOTH, _SKIN = int(Kind.HAIR), int(Kind.CLOTH), int(Kind.SKIN)

# The brow on the picture's right and the lids, (x, y) in the mean head's frame: x is taken without
# sign, so the other side's are the same.
_BROW = np.array(
    [[0.102, -0.545], [0.244, -0.600], [0.326, -0.600], [0.475, -0.590], [0.575, -0.530]]
)
_UPPER_LID = np.array(
    [[0.184, -0.394], [0.259, -0.445], [0.312, -0.452], [0.365, -0.439], [0.417, -0.399]]
)
_LOWER_LID = np.array(
    [[0.184, -0.394], [0.264, -0.362], [0.317, -0.358], [0.371, -0.364], [0.417, -0.399]]
)


@part
def _to_polyline(x: float, y: float, line: Any) -> tuple[float, float]:
    """Distance to a line and place along it in 0..1."""
    best, along = 1e9, 0.0
    count = line.shape[0] - 1
    for piece in range(count):
        ax, ay = line[piece, 0], line[piece, 1]
        bx, by = line[piece + 1, 0] - ax, line[piece + 1, 1] - ay
        share = ((x - ax) * bx + (y - ay) * by) / (bx * bx + by * by)
        share = min(max(share, 0.0), 1.0)
        dx, dy = x - ax - share * bx, y - ay - share * by
        distance = dx * dx + dy * dy
        if distance < best:
            best = distance
            along = (piece + share) / count
    return math.sqrt(best), along


@part
def _step(low: float, high: float, value: float) -> float:
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


@part
def _fade(frequency: float, footprint: float) -> float:
    """How much of a pattern a sample of this size can show."""
    return min(max(1.4 - 2.0 * frequency * footprint, 0.0), 1.0)


@part
def _paint_head(
    r: float, g: float, b: float, x: float, y: float, z: float, hair: float, p: Any, grain: float
) -> tuple[float, float, float]:
    seed = int(p[SEED])
    light = 1.0
    if p[PORES] > 0.0:
        fade = _fade(38.0, grain)
        if fade > 0.0:
            light += p[PORES] * fade * value_noise(38.0 * x, 38.0 * y, 38.0 * z, seed)
        fade = _fade(90.0, grain)
        if fade > 0.0:
            light += p[PORES] * fade * value_noise(90.0 * x, 90.0 * y, 90.0 * z, seed + 1)
    if p[BLOTCHES] > 0.0:
        blotch = value_noise(5.0 * x, 5.0 * y, 5.0 * z, seed + 2)
        blotch += 0.6 * value_noise(11.0 * x, 11.0 * y, 11.0 * z, seed + 3)
        light += p[BLOTCHES] * blotch
        red = 0.5 * p[BLOTCHES] * value_noise(7.0 * x, 7.0 * y, 7.0 * z, seed + 4)
        r *= 1.0 + red
        g *= 1.0 - 0.4 * red
        b *= 1.0 - 0.4 * red
    if p[FRECKLES] > 0.0:
        fade = _fade(p[FRECKLE_FREQUENCY], grain)
        if fade > 0.0:
            spot = value_noise(
                p[FRECKLE_FREQUENCY] * x,
                p[FRECKLE_FREQUENCY] * y,
                p[FRECKLE_FREQUENCY] * z,
                seed + 5,
            )
            dark = fade * p[FRECKLES] * _step(0.45, 0.75, spot)
            r *= 1.0 - 0.55 * dark
            g *= 1.0 - 0.75 * dark
            b *= 1.0 - 0.85 * dark
    if p[WRINKLES] > 0.0 and z < 0.0:
        warp = 0.05 * value_noise(4.0 * x, 9.0 * y, 1.0, seed + 6)
        furrow = 0.0
        if y < -0.62 and y > -1.1 and abs(x) < 0.5:
            furrow = math.sin(50.0 * (y + warp)) * (1.0 - abs(x) / 0.5)
        elif abs(x) > 0.40 and y > -0.60 and y < -0.2:
            furrow = math.sin(60.0 * (y + warp + 0.3 * (abs(x) - 0.4))) * 0.8
        # From the nose's wings to the mouth's corners.
        away = abs(x) - (0.17 + 0.38 * (y - 0.02) + 0.5 * warp)
        if y > 0.0 and y < 0.42:
            fold = math.exp(-(away * away) / 0.0008)
            light -= 0.45 * p[WRINKLES] * fold
        if furrow > 0.3:
            light -= 0.35 * p[WRINKLES] * (furrow - 0.3) * _fade(25.0, grain)
    r, g, b = r * light, g * light, b * light
    if hair > 0.003:
        frequency = p[STUBBLE_FREQUENCY]
        strand = 0.5
        fade = _fade(frequency, grain)
        if fade > 0.0:
            noise = value_noise(frequency * x, 0.45 * frequency * y, frequency * z, seed + 7)
            strand += 0.5 * fade * noise
        amount = min(max(hair * (0.55 + 0.9 * strand), 0.0), 1.0)
        r += amount * (p[SHORT_HAIR_COLOUR] - r)
        g += amount * (p[SHORT_HAIR_COLOUR + 1] - g)
        b += amount * (p[SHORT_HAIR_COLOUR + 2] - b)
    side = abs(x)
    if z < 0.05 and side < 0.72 and y < -0.3 and y > -0.85:
        if p[BROW_DENSITY] > 0.0 and y < -0.45:
            raised = y + p[BROW_HEIGHT] + p[BROW_RISE] * (side - 0.3)
            distance, along = _to_polyline(side, raised, _BROW)
            # Thick towards the nose, thin at the outer end.
            half = p[BROW_HALF_WIDTH] * (1.0 - 0.55 * along) * _step(-0.25, 0.25, along)
            if distance < 2.5 * half + 0.01:
                sign = 1.0 if x > 0 else -1.0
                noise = value_noise(
                    50.0 * (x + sign * p[BROW_HAIR_TILT] * y), 14.0 * y, 3.0, seed + 8
                ) * _fade(50.0, grain)
                wild = value_noise(9.0 * x, 9.0 * y, 4.0, seed + 9)
                edge = half * (1.0 + 0.35 * noise + 0.25 * wild)
                amount = p[BROW_DENSITY] * (
                    1.0 - _step(0.45 * edge, 1.15 * edge + 0.4 * grain, distance)
                )
                amount *= min(max(1.0 + 0.45 * noise, 0.0), 1.0)
                r += amount * (p[BROW_COLOUR] - r)
                g += amount * (p[BROW_COLOUR + 1] - g)
                b += amount * (p[BROW_COLOUR + 2] - b)
        if p[UPPER_LASHES] > 0.0 and side > 0.14 and side < 0.47 and y > -0.5 and y < -0.32:
            distance, along = _to_polyline(side, y, _UPPER_LID)
            width = 0.010 + 0.008 * along
            amount = p[UPPER_LASHES] * (1.0 - _step(width, width + 0.012 + 0.5 * grain, distance))
            r *= 1.0 - amount
            g *= 1.0 - amount
            b *= 1.0 - amount
            if p[LOWER_LASHES] > 0.0:
                distance, _ = _to_polyline(side, y, _LOWER_LID)
                amount = p[LOWER_LASHES] * (1.0 - _step(0.006, 0.018 + 0.5 * grain, distance))
                r *= 1.0 - amount
                g *= 1.0 - amount
                b *= 1.0 - amount
    return r, g, b


@part
def _paint_eye(
    r: float, g: float, b: float, x: float, y: float, z: float, p: Any
) -> tuple[float, float, float]:
    seed = int(p[SEED])
    right = x > 0.0
    first = GAZE_RIGHT if right else GAZE_LEFT
    dx, dy, dz = (
        x - (p[RIGHT_EYE_CENTER] if right else -p[RIGHT_EYE_CENTER]),
        y - p[RIGHT_EYE_CENTER + 1],
        z - p[RIGHT_EYE_CENTER + 2],
    )
    length = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    dx, dy, dz = dx / length, dy / length, dz / length
    cosine = dx * p[first] + dy * p[first + 1] + dz * p[first + 2]
    on_iris = _step(p[IRIS_COSINE] - 0.012, p[IRIS_COSINE] + 0.006, cosine)
    if p[VEINS] > 0.0:
        vein = value_noise(30.0 * dx, 30.0 * dy, 30.0 * dz, seed)
        amount = p[VEINS] * (0.4 + 0.6 * vein * vein) * (1.0 - _step(0.6, 0.95, cosine))
        g *= 1.0 - 0.5 * amount
        b *= 1.0 - 0.5 * amount
    spokes = 1.0 + 0.25 * value_noise(25.0 * dx, 25.0 * dy, 25.0 * dz, seed + 1)
    # The rim of the iris is dark.
    spokes *= 0.45 + 0.55 * _step(p[IRIS_COSINE], p[IRIS_COSINE] + 0.035, cosine)
    r += on_iris * (p[IRIS_COLOUR] * spokes - r)
    g += on_iris * (p[IRIS_COLOUR + 1] * spokes - g)
    b += on_iris * (p[IRIS_COLOUR + 2] * spokes - b)
    pupil = _step(p[PUPIL_COSINE] - 0.004, p[PUPIL_COSINE] + 0.004, cosine)
    r += pupil * (0.003 - r)
    g += pupil * (0.003 - g)
    b += pupil * (0.003 - b)
    return r, g, b


@part
def _paint_cloth(
    r: float, g: float, b: float, x: float, y: float, z: float, p: Any, grain: float
) -> tuple[float, float, float]:
    seed = int(p[SEED])
    pattern = int(p[PATTERN])
    frequency = p[PATTERN_FREQUENCY]
    second, third = 0.0, 0.0
    fade = _fade(1.5 * frequency, grain)
    u, v = frequency * x, frequency * y
    if pattern == RINGS:
        second = _step(-0.1, 0.1, math.sin(6.2832 * v))
    elif pattern == STRIPES:
        second = _step(-0.1, 0.1, math.sin(6.2832 * u) - 0.4)
    elif pattern == SLANTED:
        second = _step(-0.15, 0.15, math.sin(4.5 * (u + v)))
    elif pattern == CHECKS:
        second = 0.5 * _step(0.2, 0.4, math.sin(6.2832 * u)) + 0.5 * _step(
            0.2, 0.4, math.sin(6.2832 * v)
        )
        third = max(_step(0.9, 0.97, math.sin(3.1416 * u)), _step(0.9, 0.97, math.sin(3.1416 * v)))
    elif pattern == DOTS:
        du, dv = u - math.floor(u) - 0.5, v - math.floor(v) - 0.5
        second = 1.0 - _step(0.06, 0.10, du * du + dv * dv)
    elif pattern == PATCHES:
        noise = value_noise(u, v, 2.0 * z, seed)
        second = _step(0.0, 0.15, noise)
        third = _step(0.1, 0.25, value_noise(1.3 * u + 9.0, 1.3 * v, 2.0 * z, seed + 1))
    elif pattern == PRINT:
        # A print in the middle of the chest: blocks like letters.
        if abs(x) < 0.7 and y > 1.9 and y < 2.7:
            row, column = math.floor(8.0 * y), math.floor(9.0 * x)
            second = 1.0 if hashed(int(column), int(row), 0, seed) > 0.5 else 0.0
            if int(row) % 3 == 0:
                second = 0.0
    elif pattern == SUIT:
        # Lapels, a shirt between them and a tie.
        if z < 0.6:
            opening = 0.62 - 0.30 * (y - 1.0)
            second = 1.0 - _step(opening - 0.01, opening + 0.01, abs(x))
            width = 0.07 + 0.03 * (y - 1.0)
            third = (1.0 - _step(width - 0.01, width + 0.01, abs(x))) * (
                1.0 if p[HAS_TIE] > 0.5 else 0.0
            )
            third *= second
        fade = 1.0
    second *= fade
    third *= fade
    r += second * (p[SECOND_COLOUR] - r)
    g += second * (p[SECOND_COLOUR + 1] - g)
    b += second * (p[SECOND_COLOUR + 2] - b)
    r += third * (p[THIRD_COLOUR] - r)
    g += third * (p[THIRD_COLOUR + 1] - g)
    b += third * (p[THIRD_COLOUR + 2] - b)
    weave = 1.0
    fade = _fade(30.0, grain)
    if fade > 0.0:
        weave += 0.08 * fade * value_noise(30.0 * x, 60.0 * y, 30.0 * z, seed + 2)
    return r * weave, g * weave, b * weave


@part
def _shadow(maps: Any, frames: Any, figure: int, x: float, y: float, z: float) -> float:
    """Share of the first light that comes to a place, from the figure's own shadow map."""
    size = maps.shape[1]
    u = frames[figure, 0, 0] * x + frames[figure, 0, 1] * y + frames[figure, 0, 2] * z
    v = frames[figure, 1, 0] * x + frames[figure, 1, 1] * y + frames[figure, 1, 2] * z
    w = frames[figure, 2, 0] * x + frames[figure, 2, 1] * y + frames[figure, 2, 2] * z
    u, v, w = u + frames[figure, 0, 3], v + frames[figure, 1, 3], w + frames[figure, 2, 3]
    if not (u >= 0.0 and v >= 0.0 and u < size - 1.0 and v < size - 1.0):
        return 1.0
    left, top = int(u), int(v)
    du, dv = u - left, v - top
    lit = 0.0
    for down in range(2):
        for across in range(2):
            weight = (du if across else 1.0 - du) * (dv if down else 1.0 - dv)
            if maps[figure, top + down, left + across] > w:
                lit += weight
    return lit


@compiled(
    read(i4, 2),
    read(f4, 3),
    read(f8, 2),
    read(i4, 2),
    read(f4, 2),
    read(i4, 1),
    read(i4, 1),
    read(f4, 2),
    read(i4, 1),
    read(f4, 2),
    read(f4, 2),
    read(f4, 2),
    read(f4, 1),
    read(f4, 3),
    read(f4, 3),
    read(i4, 1),
    f8,
    written(f4, 3),
)
def shade(
    triangle_index: Any,
    barycentric: Any,
    vertices: Any,
    triangles: Any,
    attributes: Any,
    part_of_triangle: Any,
    kinds: Any,
    parameters: Any,
    figure_of_part: Any,
    light_directions: Any,
    light_colours: Any,
    surroundings: Any,
    skyward: Any,
    shadow_maps: Any,
    shadow_frames: Any,
    has_shadow: Any,
    focal: float,
    picture: Any,
) -> None:
    """Writes the linear colour of each sample that shows a triangle.

    Args:
        triangle_index: (H, W), -1 where nothing is seen.
        barycentric: (H, W, 3).
        vertices: (V, 3) in the camera's frame.
        triangles: (T, 3).
        attributes: (V, ATTRIBUTES).
        part_of_triangle: (T,).
        kinds: (P,).
        parameters: (P, PARAMETERS).
        figure_of_part: (P,).
        light_directions: (L, 3) unit vectors towards the lights; the first one casts shadows.
        light_colours: (L, 3).
        surroundings: (2, 3) colour of the light from above and from below.
        skyward: (3,) unit vector upwards.
        shadow_maps: (F, S, S) depths seen from the first light, bias added.
        shadow_frames: (F, 3, 4) from the camera's frame to a map's columns, rows and depths.
        has_shadow: (F,) whether a figure has a map.
        focal: In samples.
        picture: (H, W, 3), written where a triangle is seen.
    """
    height, width = triangle_index.shape
    lights = light_directions.shape[0]
    for row in range(height):
        for column in range(width):
            triangle = triangle_index[row, column]
            if triangle < 0:
                continue
            a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            wa, wb = barycentric[row, column, 0], barycentric[row, column, 1]
            wc = barycentric[row, column, 2]
            red = wa * attributes[a, 0] + wb * attributes[b, 0] + wc * attributes[c, 0]
            green = wa * attributes[a, 1] + wb * attributes[b, 1] + wc * attributes[c, 1]
            blue = wa * attributes[a, 2] + wb * attributes[b, 2] + wc * attributes[c, 2]
            x = wa * attributes[a, 3] + wb * attributes[b, 3] + wc * attributes[c, 3]
            y = wa * attributes[a, 4] + wb * attributes[b, 4] + wc * attributes[c, 4]
            z = wa * attributes[a, 5] + wb * attributes[b, 5] + wc * attributes[c, 5]
            nx = wa * attributes[a, 6] + wb * attributes[b, 6] + wc * attributes[c, 6]
            ny = wa * attributes[a, 7] + wb * attributes[b, 7] + wc * attributes[c, 7]
            nz = wa * attributes[a, 8] + wb * attributes[b, 8] + wc * attributes[c, 8]
            openness = wa * attributes[a, 9] + wb * attributes[b, 9] + wc * attributes[c, 9]
            gloss = wa * attributes[a, 10] + wb * attributes[b, 10] + wc * attributes[c, 10]
            extra = wa * attributes[a, 11] + wb * attributes[b, 11] + wc * attributes[c, 11]
            px = wa * vertices[a, 0] + wb * vertices[b, 0] + wc * vertices[c, 0]
            py = wa * vertices[a, 1] + wb * vertices[b, 1] + wc * vertices[c, 1]
            pz = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]
            number = part_of_triangle[triangle]
            kind = kinds[number]
            p = parameters[number]
            seed = int(p[SEED])
            figure = figure_of_part[number]
            grain = pz / focal
            length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / length, ny / length, nz / length
            away = math.sqrt(px * px + py * py + pz * pz) + 1e-9
            ex, ey, ez = -px / away, -py / away, -pz / away
            facing = nx * ex + ny * ey + nz * ez
            if facing < 0.0 and kind >= _HAIR:
                nx, ny, nz, facing = -nx, -ny, -nz, -facing
            exponent = 18.0
            soft_red, soft_green, soft_blue = 0.0, 0.0, 0.0
            bump = 0.0
            if kind == _HEAD:
                red, green, blue = _paint_head(red, green, blue, x, y, z, extra, p, grain)
                soft_red, soft_green, soft_blue = 0.22, 0.08, 0.04
                fade = _fade(45.0, grain)
                if fade > 0.0:
                    bump = (
                        0.6 * p[PORES] * fade * value_noise(45.0 * x, 45.0 * y, 45.0 * z, seed + 20)
                    )
                gloss *= 1.0 - 0.7 * min(extra, 1.0)
            elif kind == _EYE:
                red, green, blue = _paint_eye(red, green, blue, x, y, z, p)
                exponent = 260.0
                soft_red = soft_green = soft_blue = 0.2
            elif kind == _TEETH:
                gap = math.cos(x * p[TEETH_FREQUENCY])
                line = 1.0 - 0.55 * _step(0.9, 0.99, -gap) * _fade(0.3 * p[TEETH_FREQUENCY], grain)
                red, green, blue = red * line, green * line, blue * line
                exponent = 40.0
            elif kind == _HAIR:
                strands = 0.0
                fade = _fade(0.35 * p[STRAND_FREQUENCY], grain)
                warp = p[CURL] * value_noise(3.0 * x, 2.0 * y, z, seed)
                across = p[STRAND_FREQUENCY] * (x + 0.10 * warp)
                if fade > 0.0:
                    strands = fade * value_noise(
                        across, (0.9 + 6.0 * p[CURL]) * y, 3.0 * z, seed + 1
                    )
                locks = value_noise(0.22 * across, (0.6 + 4.0 * p[CURL]) * y, 2.0 * z, seed + 2)
                tone = 1.0 + p[STRAND_CONTRAST] * (0.55 * strands + 0.65 * locks)
                tone = max(tone, 0.1)
                red, green, blue = red * tone, green * tone, blue * tone
                bump = 0.35 * strands + 0.3 * locks
                gloss = max(gloss * p[HIGHLIGHT] * (1.0 + 1.5 * strands), 0.0)
                exponent = 10.0
                soft_red = soft_green = soft_blue = 0.15
            elif kind == _CLOTH:
                if extra > 0.0:
                    red, green = p[BARE_SKIN_COLOUR], p[BARE_SKIN_COLOUR + 1]
                    blue = p[BARE_SKIN_COLOUR + 2]
                    soft_red, soft_green, soft_blue = 0.22, 0.08, 0.04
                    blotch = value_noise(5.0 * x, 5.0 * y, 5.0 * z, seed + 4)
                    tone = 1.0 + 0.08 * blotch
                    red, green, blue = red * tone, green * tone, blue * tone
                else:
                    red, green, blue = _paint_cloth(red, green, blue, x, y, z, p, grain)
                    folds = value_noise(2.2 * x, 1.1 * y, 2.2 * z, seed + 5)
                    folds += 0.5 * value_noise(5.0 * x, 2.5 * y, 5.0 * z, seed + 6)
                    bump = p[FOLDS] * folds
                    # A hem's shadow.
                    openness *= 1.0 - 0.4 * (1.0 - _step(-0.06, 0.0, -extra - 0.06))
            elif kind == _SKIN:
                soft_red, soft_green, soft_blue = 0.22, 0.08, 0.04
                tone = 1.0 + p[BLOTCHES] * value_noise(6.0 * x, 6.0 * y, 6.0 * z, seed + 4)
                fade = _fade(38.0, grain)
                if fade > 0.0:
                    tone += p[PORES] * fade * value_noise(38.0 * x, 38.0 * y, 38.0 * z, seed)
                red, green, blue = red * tone, green * tone, blue * tone
            else:
                exponent = 35.0
            openness = min(max(openness, 0.0), 1.0)
            up = 0.5 + 0.5 * (nx * skyward[0] + ny * skyward[1] + nz * skyward[2])
            dim = openness * (1.0 + 0.5 * bump)
            lit_red = dim * (up * surroundings[0, 0] + (1.0 - up) * surroundings[1, 0])
            lit_green = dim * (up * surroundings[0, 1] + (1.0 - up) * surroundings[1, 1])
            lit_blue = dim * (up * surroundings[0, 2] + (1.0 - up) * surroundings[1, 2])
            shine_red, shine_green, shine_blue = 0.0, 0.0, 0.0
            # Narrow openings hide from lamps as well.
            cave = _step(0.05, 0.45, openness)
            for light in range(lights):
                lx, ly = light_directions[light, 0], light_directions[light, 1]
                lz = light_directions[light, 2]
                cosine = nx * lx + ny * ly + nz * lz + bump * 0.6
                if cosine < -0.25:
                    continue
                visible = cave
                if light == 0 and has_shadow[figure]:
                    # A step off the surface keeps it out of its own shadow.
                    visible *= _shadow(
                        shadow_maps,
                        shadow_frames,
                        figure,
                        px + 0.03 * nx,
                        py + 0.03 * ny,
                        pz + 0.03 * nz,
                    )
                if visible <= 0.0:
                    continue
                cr, cg, cb = (
                    light_colours[light, 0],
                    light_colours[light, 1],
                    light_colours[light, 2],
                )
                lit_red += visible * cr * max((cosine + soft_red) / (1.0 + soft_red), 0.0)
                lit_green += visible * cg * max((cosine + soft_green) / (1.0 + soft_green), 0.0)
                lit_blue += visible * cb * max((cosine + soft_blue) / (1.0 + soft_blue), 0.0)
                if gloss > 0.0 and cosine > 0.0:
                    hx, hy, hz = lx + ex, ly + ey, lz + ez
                    half = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
                    into = (nx * hx + ny * hy + nz * hz) / half
                    if into > 0.0:
                        shine = visible * gloss * into**exponent
                        shine_red += shine * cr
                        shine_green += shine * cg
                        shine_blue += shine * cb
            # Grazing surfaces mirror their surroundings.
            rim = 1.0 - max(facing, 0.0)
            rim = 0.12 * gloss * rim * rim * rim * dim
            picture[row, column, 0] = red * lit_red + shine_red + rim * surroundings[0, 0]
            picture[row, column, 1] = green * lit_green + shine_green + rim * surroundings[0, 1]
            picture[row, column, 2] = blue * lit_blue + shine_blue + rim * surroundings[0, 2]
