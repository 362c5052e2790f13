"""The order of five landmarks, which files count from the picture's left or from the person's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from img2pose.data.importers.label_set import FaceList
from img2pose.errors import InputError
from img2pose.geometry import MIRROR_ORDER_5


def order_five_points(
    faces: Iterable[FaceList], source: Path, swap_left_right: bool
) -> dict[str, int]:
    """Brings five landmarks into the order of annotations, in place; 68 stay as they are.

    Args:
        faces: Of a whole data set.
        source: For messages.
        swap_left_right: The file's left eye and left mouth corner are the person's, which stand
            on the picture's right; annotations count from the picture's left.

    Returns:
        How many faces have their first eye to the right of the second; only heads that are turned
        over should.

    Raises:
        InputError: That holds for most faces, so left and right are exchanged throughout.
    """
    total = reversed_eyes = 0
    for image in faces:
        for index, points in enumerate(image.landmarks):
            if points is None or len(points) != 5:
                continue
            if swap_left_right:
                points = image.landmarks[index] = points[MIRROR_ORDER_5]
            total += 1
            reversed_eyes += bool(points[0, 0] > points[1, 0])
    if 2 * reversed_eyes > total:
        remedy = "leave out" if swap_left_right else "give"
        raise InputError(
            f"{source}: in {reversed_eyes} of {total} faces the first eye stands to the right of"
            " the second, and left and right are meant as seen in the picture;"
            f" {remedy} --swap_left_right"
        )
    return {"faces whose eyes stand right to left": reversed_eyes} if total else {}
