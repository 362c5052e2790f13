from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim3dr import dot_coverage


@pytest.mark.parametrize("radius", [0.5, 1.7, 4.0])
def test_a_dot_covers_its_area_about_its_place(radius: float) -> None:
    place = np.array([20.3, 11.8])
    covered = dot_coverage(place[None], 30, 40, radius)
    assert covered.max() <= 1
    y, x = np.mgrid[:30, :40]
    np.testing.assert_allclose(
        [(covered * axis).sum() / covered.sum() for axis in (x, y)], place, atol=0.1
    )
    area = np.pi * (radius**2 + 1 / 12)
    np.testing.assert_allclose(covered.sum(), area, rtol=0.25)


def test_dots_do_not_add_up_and_odd_points_are_left_out() -> None:
    one = dot_coverage([[5.0, 5.0]], 12, 12, 2.0)
    many = [[5.0, 5], [5, 5], [np.nan, 5], [1e300, 5], [-np.inf, 2], [-50, 5]]
    np.testing.assert_array_equal(dot_coverage(many, 12, 12, 2.0), one)
    np.testing.assert_array_equal(dot_coverage(np.zeros((0, 2)), 3, 4, 2.0), np.zeros((3, 4)))
    # At the corner a quarter is left.
    corner = dot_coverage([[0.0, 0.0]], 12, 12, 2.0)
    np.testing.assert_array_equal(corner[:4, :4], one[5:9, 5:9])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.zeros((2, 3))}, "points must have shape"),
        ({"points": np.zeros(2)}, "points must have shape"),
        ({"height": 0}, "height and width"),
        ({"radius": 0.0}, "radius"),
        ({"radius": np.nan}, "radius"),
        ({"radius": 1e9}, "radius"),
    ],
)
def test_wrong_input_is_named(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"points": np.zeros((1, 2)), "height": 4, "width": 5, "radius": 1.0}
    with pytest.raises(ValueError, match=message):
        dot_coverage(**(arguments | changes))
