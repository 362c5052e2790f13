"""The pages made from the code are up to date and complete."""

from __future__ import annotations

import dataclasses

import pytest

from img2pose.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from tests.docs.pages import ROOT
from tests.docs.reference_pages import PAGES, attribute_texts


@pytest.mark.parametrize("path", PAGES)
def test_page_is_up_to_date(path: str) -> None:
    made = PAGES[path]()
    assert (ROOT / path).read_text(encoding="utf-8") == made, (
        f"{path} is behind the code: python -m tests.docs.reference_pages"
    )


@pytest.mark.parametrize("kind", [TrainConfig, ModelConfig, DataConfig, OptimConfig])
def test_every_setting_is_described(kind: type) -> None:
    texts = attribute_texts(kind)
    assert list(texts) == [field.name for field in dataclasses.fields(kind)]
    assert all(len(text) > 4 for text in texts.values())
