"""The check of what a detector returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from img2pose.annotators.protocol import checked_faces
from img2pose.errors import InputError

BOX = [1, 2, 3, 4]
FIVE = np.zeros((5, 2))


def test_lists_will_do_and_so_will_points_of_both_kinds() -> None:
    found = checked_faces(([BOX, BOX], [1, 0.5], [FIVE.tolist(), np.ones((68, 2))]), "mine")
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float64
    assert [points.shape for points in found.landmarks] == [(5, 2), (68, 2)]


@pytest.mark.parametrize(
    "nothing", [([], [], []), (np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))]
)
def test_a_picture_without_faces(nothing: Any) -> None:
    found = checked_faces(nothing, "mine")
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert len(found.landmarks) == 0


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "must return boxes, scores and landmarks"),
        (([BOX], [1]), "must return boxes, scores and landmarks"),
        (([["a", 1, 2, 3]], [1], [FIVE]), "must return boxes, scores and landmarks"),
        (([BOX], [1, 2], [FIVE]), r"scores \(2,\)"),
        (([[1, 2, 3, 4, 0.5]], [1], [FIVE]), r"boxes \(1, 5\)"),
        (([BOX], [1], []), "0 sets of landmarks"),
        (([BOX], [1], [np.zeros((6, 2))]), r"landmarks \(6, 2\)"),
        (([BOX], [1], [np.zeros((5, 3))]), r"landmarks \(5, 3\)"),
        (([BOX], [np.nan], [FIVE]), "not finite"),
        (([BOX], [1], [FIVE + np.inf]), "not finite"),
        (([[10, 20, 5, 5]], [1], [FIVE]), "ends before it begins"),
    ],
)
def test_anything_else_is_refused_by_the_detectors_name(returned: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"detector mine: .*{message}"):
        checked_faces(returned, "mine")
