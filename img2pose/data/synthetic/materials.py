"""Kinds of surface, and where the shading finds the numbers that each kind goes by.

The numbers lie in `Part.parameters`; a colour takes three places (linear red, green, blue), a
direction or place three as well. All kinds have a `SEED`.
"""

from __future__ import annotations

from enum import IntEnum

PARAMETERS = 32
SEED = 31


class Kind(IntEnum):
    """How a part is painted; see `shading`."""

    HEAD = 0
    EYE = 1
    TEETH = 2
    HAIR = 3
    CLOTH = 4
    SKIN = 5
    SOLID = 6


# HEAD; of SKIN only pores and blotches. Strengths are relative changes of colour.
PORES = 0
FRECKLES = 1
FRECKLE_FREQUENCY = 2
BROW_HALF_WIDTH = 3
BROW_DENSITY = 4
BROW_COLOUR = 5
# Above where the mean head has its brows, and how much more at the outer ends.
BROW_HEIGHT = 8
BROW_RISE = 9
UPPER_LASHES = 10
SHORT_HAIR_COLOUR = 11
WRINKLES = 14
BLOTCHES = 15
LOWER_LASHES = 16
BROW_HAIR_TILT = 17
STUBBLE_FREQUENCY = 18

# EYE; the left one has x < 0. Sizes are cosines of the angle at the eyeball's centre.
GAZE_LEFT = 0
GAZE_RIGHT = 3
IRIS_COSINE = 6
PUPIL_COSINE = 7
IRIS_COLOUR = 8
RIGHT_EYE_CENTER = 11
VEINS = 14

# TEETH: radians of the gaps' wave for each unit across.
TEETH_FREQUENCY = 0

# HAIR
STRAND_FREQUENCY = 0
STRAND_CONTRAST = 1
CURL = 2
HIGHLIGHT = 3

# CLOTH
PATTERN = 0
SECOND_COLOUR = 1
THIRD_COLOUR = 4
PATTERN_FREQUENCY = 7
FOLDS = 8
BARE_SKIN_COLOUR = 9
HAS_TIE = 12

PLAIN, RINGS, STRIPES, SLANTED, CHECKS, DOTS, PATCHES, PRINT, SUIT = range(9)
"""Values of `PATTERN`."""
PATTERNS = 9

# Lenses: the share of light that they keep back, and that they mirror.
LENS_DENSITY = 0
LENS_MIRROR = 1
