"""Lens distortion: points to and fro, and pictures, by OpenCV's model."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.geometry import distort_points, undistort_picture, undistort_points

CAMERA = np.array([[400.0, 0, 160], [0, 410, 118], [0, 0, 1]])
LARGEST = [0.15, 0.05, 0.003, 0.003, 0.02, 0.05, 0.02, 0.01, 0.002, 0.002, 0.002, 0.002, 0.02, 0.02]


@given(
    count=st.sampled_from([4, 5, 8, 12, 14]),
    shares=st.lists(st.floats(-1, 1), min_size=14, max_size=14),
    points=st.lists(st.tuples(st.floats(0, 320), st.floats(0, 240)), max_size=6),
)
@settings(deadline=None)
def test_points_come_back(
    count: int, shares: list[float], points: list[tuple[float, float]]
) -> None:
    coefficients = np.multiply(shares, LARGEST)[:count]
    given_points = np.array(points).reshape(-1, 2)
    distorted = distort_points(given_points, CAMERA, coefficients)
    back = undistort_points(distorted, CAMERA, coefficients)
    np.testing.assert_allclose(back, given_points, atol=1e-6)


def test_radial_distortion_by_hand() -> None:
    # One unit to the right of the axis at k1 = 0.1: 1.1 units.
    moved = distort_points([[160 + 400, 118]], CAMERA, [0.1, 0, 0, 0])
    np.testing.assert_allclose(moved, [[160 + 440, 118]], atol=1e-9)
    # The middle stays, and without coefficients everything does.
    np.testing.assert_allclose(distort_points([160, 118], CAMERA, [0.1, 0, 0, 0]), [160, 118])
    points = np.arange(24.0).reshape(2, 3, 4, 1).repeat(2, -1)
    np.testing.assert_allclose(distort_points(points, CAMERA, np.zeros(5)), points, atol=1e-9)


def test_an_edge_is_in_the_undistorted_picture_where_its_points_go() -> None:
    rows, columns = np.mgrid[:240, :320]
    picture = np.stack([columns / 320, rows / 240, np.ones((240, 320))], -1).astype(np.float32)
    coefficients = [-0.2, 0.03, 0.001, -0.001]
    ideal = undistort_picture(picture, CAMERA, coefficients)
    assert ideal.dtype == np.float32
    points = np.array([[60, 50], [200, 100], [250, 180]])
    source = distort_points(points, CAMERA, coefficients)
    seen = ideal[points[:, 1], points[:, 0], :2] * [320, 240]
    # OpenCV's bilinear weights are 1/32 of a pixel.
    np.testing.assert_allclose(seen, source, atol=0.05)
    assert np.abs(source - points).max() > 1
    np.testing.assert_array_equal(
        undistort_picture((picture * 255).astype(np.uint8), CAMERA, coefficients),
        cv2.undistort((picture * 255).astype(np.uint8), CAMERA, np.array(coefficients)),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coefficients": [0.1, 0.2, 0.3]}, "4, 5, 8, 12 or 14"),
        ({"coefficients": [0.1, 0.2, 0.3, np.nan]}, "finite"),
        ({"intrinsics": np.eye(4)}, "intrinsics"),
        ({"intrinsics": CAMERA + [[0, 1, 0], [0, 0, 0], [0, 0, 0]]}, "skew"),
        ({"points": np.zeros(3)}, "points"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    values = {"points": np.zeros((1, 2)), "intrinsics": CAMERA, "coefficients": [0.1] * 4}
    for function in (distort_points, undistort_points):
        with pytest.raises(ValueError, match=message):
            function(**{**values, **arguments})


def test_a_picture_too_wide_for_opencv_is_refused() -> None:
    with pytest.raises(ValueError, match="32766"):
        undistort_picture(np.zeros((1, 40000, 3), np.uint8), CAMERA, [0.1] * 4)
