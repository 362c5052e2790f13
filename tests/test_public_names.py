"""`import img2pose`: its names load when they are asked for."""

from __future__ import annotations

import pytest

import img2pose


def test_every_public_name_is_there_and_is_its_homes() -> None:
    for name in img2pose.__all__:
        value = getattr(img2pose, name)
        assert value.__name__ == name
        assert value.__module__.startswith("img2pose.")
        assert name in dir(img2pose)
    with pytest.raises(AttributeError, match="has no attribute 'Detektor'"):
        _ = img2pose.Detektor
