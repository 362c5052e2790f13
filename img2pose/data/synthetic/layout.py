"""Where heads are in a picture, how large they are and where they look."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from img2pose.data.synthetic.settings import SyntheticSettings

FACE_HEIGHT = 1.75
"""Reference units from chin to hairline; sizes of faces in pixels mean this height."""

_LEAST_BACK_DEG = 135.0
# Reference units from the camera; nearer heads would reach into it.
_NEAREST = 1.6
# Faces of less than this share of their size apart would be in each other.
_APART = 0.62


@dataclass(frozen=True, eq=False)
class HeadPlace:
    """A head in front of the camera.

    Attributes:
        rotation: (3, 3) from the head's frame to the camera's.
        translation: (3,) likewise.
        body_rotation: (3, 3) of the body in the head's frame.
        pixels: Height of the face in the picture.
        is_back: It is turned away and shows no face.
    """

    rotation: np.ndarray
    translation: np.ndarray
    body_rotation: np.ndarray
    pixels: float
    is_back: bool


@dataclass(frozen=True, eq=False)
class Layout:
    """Heads of a picture.

    Attributes:
        heads: Any number.
        focal: Factor on the assumed focal length.
        kind: "negative", "crowd", "group", "pair" or "portrait".
        roll: (3, 3) turn of the whole picture.
    """

    heads: tuple[HeadPlace, ...]
    focal: float
    kind: str
    roll: np.ndarray


def rotation_x(angle: float) -> np.ndarray:
    """(3, 3) about x, radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(angle: float) -> np.ndarray:
    """(3, 3) about y, radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(angle: float) -> np.ndarray:
    """(3, 3) about z, radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def facing(direction: np.ndarray) -> np.ndarray:
    """(3, 3) that turns the viewing axis to a direction: what is seen there looks frontal."""
    x, y, z = direction / np.linalg.norm(direction)
    return rotation_y(math.atan2(x, z)) @ rotation_x(-math.asin(y))


def depth_of(pixels: float, size_hw: tuple[int, int], focal: float) -> float:
    """Reference units from the camera to a face.

    Args:
        pixels: Height of the face in the picture.
        size_hw: Height and width of the picture in pixels.
        focal: Factor on the assumed focal length.
    """
    return max(focal * sum(size_hw) * FACE_HEIGHT / pixels, _NEAREST)


def _draw_angles(
    rng: np.random.Generator, settings: SyntheticSettings
) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a face."""
    kind = rng.uniform()
    if kind < 0.50:
        yaw, pitch = rng.normal(0, 18), rng.normal(0, 10)
    elif kind < 0.75:
        yaw, pitch = rng.normal(0, 40), rng.normal(0, 15)
    else:
        yaw, pitch = rng.uniform(-90, 90), rng.normal(0, 18)
    roll = rng.normal(0, 11) if rng.uniform() < 0.88 else rng.normal(0, 40)
    spread = settings.pose_spread
    most = settings.max_yaw_deg
    yaw, pitch, roll = spread * yaw, float(np.clip(spread * pitch, -55, 55)), spread * roll
    if abs(yaw) > most:
        yaw = rng.uniform(-most, most)
    return yaw, pitch, roll


def _rotations(
    rng: np.random.Generator,
    angles_deg: tuple[float, float, float],
    direction: np.ndarray,
    roll: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The head's rotation, and the body's in the head's frame."""
    yaw, pitch, tilt = np.radians(angles_deg)
    view = facing(direction)
    head = view @ roll @ rotation_z(tilt) @ rotation_x(pitch) @ rotation_y(yaw)
    # The body follows the head part of the way.
    share = rng.uniform(0.0, 1.0)
    body = (
        view
        @ roll
        @ rotation_z(tilt * rng.uniform(0, 0.6))
        @ rotation_x(pitch * rng.uniform(0, 0.4) + rng.normal(0, 0.08))
        @ rotation_y(yaw * share + rng.normal(0, 0.22))
    )
    turn = head.T @ body
    # Necks bend by no more than about 70 degrees.
    angle = math.acos(min(max((np.trace(turn) - 1) / 2, -1.0), 1.0))
    if angle > 1.2:
        turn = rotation_y(0.5 * math.copysign(1.0, -yaw))
    return head, turn


def _place(
    rng: np.random.Generator,
    settings: SyntheticSettings,
    center: tuple[float, float],
    pixels: float,
    focal: float,
    roll: np.ndarray,
    is_back: bool,
) -> HeadPlace:
    height, width = settings.size_hw
    length = focal * (height + width)
    direction = np.array(
        [(center[0] - width // 2) / length, (center[1] - height // 2) / length, 1.0]
    )
    if is_back:
        yaw = rng.choice([-1, 1]) * rng.uniform(_LEAST_BACK_DEG, 180)
        angles = (yaw, rng.normal(0, 12), rng.normal(0, 12))
    else:
        angles = _draw_angles(rng, settings)
    rotation, body = _rotations(rng, angles, direction, roll)
    depth = depth_of(pixels, settings.size_hw, focal)
    return HeadPlace(rotation, direction * depth, body, pixels, is_back)


def draw_layout(rng: np.random.Generator, settings: SyntheticSettings) -> Layout:
    """Draws heads that are not in each other; nearer ones may hide others."""
    height, width = settings.size_hw
    focal = 1.0
    if rng.uniform() < settings.focal_share:
        low, high = np.log(settings.focal_range)
        focal = float(np.exp(rng.uniform(low, high)))
    tilt = rng.normal(0, 4) if rng.uniform() < 0.96 else rng.uniform(-180, 180)
    roll = rotation_z(math.radians(settings.pose_spread * tilt))
    short = min(height, width)
    kind = "negative"
    if rng.uniform() >= settings.negatives:
        shares = [settings.crowds, settings.groups, settings.pairs]
        kinds = ["crowd", "group", "pair", "portrait"]
        kind = kinds[int(np.searchsorted(np.cumsum(shares), rng.uniform(), side="right"))]
    if kind == "negative":
        count = int(rng.choice([0, 1, 2, 4], p=[0.45, 0.3, 0.15, 0.1]))
        sizes = np.exp(rng.uniform(np.log(0.08), np.log(0.6), count)) * short
    elif kind == "crowd":
        count = int(rng.integers(7, 15))
        middle = np.exp(rng.uniform(np.log(13 / 320), np.log(34 / 320))) * short
        sizes = middle * np.exp(rng.normal(0, 0.25, count))
    elif kind == "group":
        count = int(rng.integers(4, 8))
        sizes = (
            np.exp(rng.uniform(np.log(0.09), np.log(0.24)))
            * short
            * np.exp(rng.normal(0, 0.15, count))
        )
    elif kind == "pair":
        count = int(rng.integers(2, 4))
        sizes = rng.uniform(0.16, 0.48) * short * np.exp(rng.normal(0, 0.15, count))
    else:
        count = 1
        sizes = np.array([rng.uniform(0.22, 0.85) * short])
        if rng.uniform() < 0.2:
            # Somebody in the background.
            count = 2
            sizes = np.append(sizes, sizes[0] * rng.uniform(0.15, 0.5))
    rows = np.full(count, np.nan)
    if count > 2 and rng.uniform() < 0.8:
        # Who stands behind looks over the heads of those before: the small ones are higher up.
        sizes = np.sort(sizes)
        middle, spread = (rng.uniform(0.35, 0.55), 0.13) if kind == "group" else (0.5, 0.25)
        rows = np.clip(np.sort(rng.normal(middle, spread, count)), 0.05, 0.95)
    heads: list[HeadPlace] = []
    taken: list[tuple[float, float, float]] = []
    line = rng.uniform(0.3, 0.6)
    for number in range(count):
        pixels = float(sizes[number])
        for _ in range(14):
            if kind == "portrait" and number == 0:
                u, v = rng.normal(0.5, 0.12), rng.normal(0.46, 0.09)
            elif kind in ("group", "pair"):
                u, v = rng.uniform(0.06, 0.94), rng.normal(line, 0.13)
            else:
                u, v = rng.uniform(0.02, 0.98), rng.uniform(0.05, 0.95)
            if not math.isnan(rows[number]):
                v = rows[number] + rng.normal(0, 0.03)
            x, y = u * width, v * height
            if all(
                math.hypot(x - tx, 0.8 * (y - ty)) > _APART * 0.5 * (pixels + size) * 1.25
                for tx, ty, size in taken
            ):
                break
        else:
            continue
        taken.append((x, y, pixels))
        is_back = kind == "negative" or (number > 0 and rng.uniform() < 0.07)
        heads.append(_place(rng, settings, (x, y), pixels, focal, roll, is_back))
    return Layout(tuple(heads), focal, kind, roll)
