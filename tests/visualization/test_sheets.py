from __future__ import annotations

import numpy as np
import pytest

from img2pose.visualization import contact_sheet


def test_a_contact_sheet_keeps_shapes_and_order() -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    images = [
        np.full((size, 40, 3), color, np.uint8)
        for size, color in zip((40, 20, 80), colors, strict=True)
    ]
    sheet = contact_sheet(images, columns=2, cell=60)
    assert sheet.shape == (120, 120, 3)
    for row, column, color in ((0, 0, 0), (0, 1, 1), (1, 0, 2)):
        pixel = sheet[60 * row + 30, 60 * column + 30]
        np.testing.assert_array_equal(pixel, colors[color])
    # The second is twice as wide as high, so its cell is half empty.
    assert (sheet[:60, 60:] == colors[1]).all(-1).sum() == 60 * 30
    assert contact_sheet(images, columns=9, cell=10).shape == (10, 30, 3)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])
