from __future__ import annotations

import numpy as np

from img2pose.data.transforms import paint_out


def test_paint_out_spares_labelled_faces() -> None:
    pixels = np.full((20, 20, 3), 100, dtype=np.uint8)
    painted = paint_out(pixels, np.array([[2.0, 2, 12, 12]]), np.array([[8.0, 8, 18, 18]]))
    assert (painted[2:8, 2:8] == 0).all()
    assert (painted[8:12, 8:12] == 100).all()
    assert (pixels == 100).all()


def test_paint_out_takes_boxes_beyond_the_picture() -> None:
    pixels = np.full((20, 20, 3), 100, dtype=np.uint8)
    painted = paint_out(pixels, np.array([[-5.0, -5, 4, 4], [30, 30, 40, 40]]), np.zeros((0, 4)))
    assert (painted[:4, :4] == 0).all()
    assert (painted[4:, 4:] == 100).all()
