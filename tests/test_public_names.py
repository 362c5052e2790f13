"""What `import img2pose` promises."""

from __future__ import annotations

import importlib

import pytest

import img2pose


@pytest.mark.parametrize("name", img2pose.__all__)
def test_each_public_name_is_that_of_its_module(name: str) -> None:
    found = getattr(img2pose, name)
    assert found is getattr(importlib.import_module(found.__module__), name)


def test_another_name_is_told() -> None:
    with pytest.raises(AttributeError, match="'img2pose' has no attribute 'detector'"):
        img2pose.detector  # noqa: B018
