"""A change that moves the first losses of a training run is meant to, or a mistake."""

from __future__ import annotations

import numpy as np

from tests.golden.training_losses import FIGURES, first_losses


def test_first_losses_are_the_golden_ones() -> None:
    golden = np.loadtxt(FIGURES)
    assert golden.shape == (10, 5)
    # Rounding differs between processors, and grows from step to step.
    np.testing.assert_allclose(first_losses(), golden, rtol=1e-3, atol=1e-5)
