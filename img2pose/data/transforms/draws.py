"""Distributions that several changes draw from."""

from __future__ import annotations

import math

import numpy as np


def draw_log_uniform(low_high: tuple[float, float], rng: np.random.Generator) -> float:
    """A factor between two positive ones, log-uniform."""
    low, high = low_high
    return math.exp(rng.uniform(math.log(low), math.log(high)))
