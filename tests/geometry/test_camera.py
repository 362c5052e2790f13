"""Cameras from what is known of a lens."""

from __future__ import annotations

import numpy as np
import pytest

from img2pose.geometry import intrinsics_from_35mm, project_points


def test_a_lens_on_full_frame_sees_what_its_focal_length_says() -> None:
    # A sensor of 36 x 24 mm with a hundred pixels a millimetre.
    camera = intrinsics_from_35mm(2400, 3600, 50)
    np.testing.assert_allclose(camera, [[5000, 0, 1799.5], [0, 5000, 1199.5], [0, 0, 1]])
    # What lies 18 mm to the side where the film is ends half a pixel beyond the last centre.
    edge = project_points(np.array([[18.0, 0, 0]]), np.array([[0, 0, 0, 0, 0, 50.0]]), camera)
    np.testing.assert_allclose(edge[0, 0], [3599.5, 1199.5])


def test_other_formats_are_compared_by_their_diagonal() -> None:
    wide, square = intrinsics_from_35mm(300, 400, 35), intrinsics_from_35mm(300, 300, 35)
    assert wide[0, 0] / square[0, 0] == pytest.approx(500 / np.hypot(300, 300))


@pytest.mark.parametrize("focal_length_mm", [0, -35, float("nan")])
def test_a_focal_length_is_positive(focal_length_mm: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        intrinsics_from_35mm(300, 400, focal_length_mm)
