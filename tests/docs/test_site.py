"""The pages of docs/ build as a site without a warning, and need nothing from elsewhere."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

mkdocs_config = pytest.importorskip("mkdocs.config", reason="mkdocs is not installed ('.[docs]')")


def test_site_builds_without_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from mkdocs.commands.build import build

    config = mkdocs_config.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    with caplog.at_level(logging.WARNING, logger="mkdocs"):
        build(config)
    assert [record.message for record in caplog.records] == []
    built = sorted(tmp_path.glob("*.html"))
    assert {page.stem for page in built} >= {p.stem for p in (ROOT / "docs").glob("*.md")}
    for page in built:
        fetched = re.findall(
            r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:[^\"]+)", page.read_text()
        )
        assert fetched == [], page.name
