"""A few portraits in the layouts of AFLW2000-3D and BIWI, on which evaluations can be tried.

The people are made up, so figures of them say nothing of the benchmarks; what the files hold, and
so every step of an evaluation, is as of the real sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as count_up
from pathlib import Path

import numpy as np

from img2pose.data import biwi
from img2pose.data.importers import aflw2000
from img2pose.data.synthetic.figures import Wardrobe
from img2pose.data.synthetic.layout import draw_layout
from img2pose.data.synthetic.pictures import SyntheticPicture, make_picture
from img2pose.data.synthetic.settings import SyntheticSettings
from img2pose.files import write_text
from img2pose.geometry import matrix_to_rotvec, pose_to_euler, rotvec_to_matrix
from img2pose.images import write_picture

AFLW2000_SIZE_HW = (450, 450)
BIWI_SIZE_HW = (480, 640)
# Heights of faces over that of the picture, as in the real sets.
_AFLW2000_FACES = (0.4, 0.6)
_BIWI_FACES = (0.2, 0.4)
# One picture after the other, so that each of an evaluation's bands gets as many.
_YAW_BANDS_DEG = ((0, 30), (30, 60), (60, 85))
_MOST_PITCH_DEG = 35.0
_MOST_ROLL_DEG = 30.0
_FRAMES_EACH = 3
# Of a reference unit, on an average head (pose_references/README.md).
_UNIT_MM = 105.9


def make_portraits(
    count: int, seed: int, size_hw: tuple[int, int], face_range: tuple[float, float]
) -> Iterator[SyntheticPicture]:
    """Pictures of one face each, nothing before it, in the camera that poses assume.

    The absolute yaw of one after the other lies between 0 and 30, 30 and 60, and 60 and 85 degrees.

    Args:
        count: Pictures.
        seed: Of all of them; more pictures begin with the same ones.
        size_hw: Height and width in pixels.
        face_range: Least and greatest height of the face over that of the picture.
    """
    settings = SyntheticSettings(
        size_hw=size_hw,
        negatives=0,
        crowds=0,
        groups=0,
        pairs=0,
        focal_share=0,
        samples=1,
        wardrobe=Wardrobe(masks=0, occluders=0),
    )
    made = 0
    for index in count_up():
        if made == count:
            return
        # Where the head is and where it looks is drawn first, which costs little.
        heads = draw_layout(np.random.default_rng((seed, index)), settings).heads
        if len(heads) != 1 or heads[0].is_back:
            continue
        rotvec = np.asarray(matrix_to_rotvec(heads[0].rotation))
        pitch, yaw, roll = np.abs(np.asarray(pose_to_euler(np.array([*rotvec, 0, 0, 1.0]))))
        low, high = _YAW_BANDS_DEG[made % len(_YAW_BANDS_DEG)]
        least, most = (share * size_hw[0] for share in face_range)
        if not (low <= yaw < high and pitch < _MOST_PITCH_DEG and roll < _MOST_ROLL_DEG):
            continue
        if not least <= heads[0].pixels <= most:
            continue
        yield make_picture(settings, seed, index)
        made += 1


def write_aflw2000(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Writes `imageNNNNN.jpg` and `.mat` as AFLW2000-3D has them.

    Points are the person's own, angles those of the exact pose.

    Args:
        folder: Is made if it is missing.
        count: Pictures.
        seed: Of all of them.

    Returns:
        The pictures' names.
    """
    names = []
    portraits = make_portraits(count, seed, AFLW2000_SIZE_HW, _AFLW2000_FACES)
    for number, picture in enumerate(portraits):
        name = f"image{number:05d}"
        (face,) = picture.faces
        write_picture(folder / f"{name}.jpg", picture.pixels)
        euler_deg = np.asarray(pose_to_euler(face.pose))
        aflw2000.write_face(folder / f"{name}.mat", face.landmarks, euler_deg)
        names.append(f"{name}.jpg")
    return names


def write_biwi(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Writes `NN/frame_XXXXX_rgb.png` and `..._pose.txt` as BIWI has them, three frames a folder.

    Rotations are exact, positions in millimetres, of an average head. Each frame shows somebody
    else, unlike the real set's, and depth is not written.

    Args:
        folder: Is made if it is missing.
        count: Frames.
        seed: Of all of them.

    Returns:
        The frames' names, `NN/frame_XXXXX`.
    """
    names = []
    for number, picture in enumerate(make_portraits(count, seed, BIWI_SIZE_HW, _BIWI_FACES)):
        name = f"{1 + number // _FRAMES_EACH:02d}/frame_{3 + number % _FRAMES_EACH:05d}"
        (face,) = picture.faces
        write_picture(folder / biwi.image_name(name), picture.pixels)
        pose = biwi.BiwiPose(rotvec_to_matrix(face.pose[:3]), _UNIT_MM * face.pose[3:])
        write_text(folder / biwi.pose_name(name), biwi.pose_text(pose))
        names.append(name)
    return names
