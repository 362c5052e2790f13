"""How the pages are written, and where their links lead; nothing is fetched."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

from tests.docs.pages import ROOT, Page, anchors, page_paths, read_page

PAGES = page_paths()


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {path: read_page(path) for path in PAGES}


def broken_links(page: Page, pages: dict[str, Page]) -> list[str]:
    """Links of a page to files or headings that are not there."""
    broken = []
    for line, target in page.links:
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page.path).parent / path if path else ROOT / page.path
        if not file.exists():
            broken.append(f"{page.path}:{line}: {target}: no such file")
            continue
        name = file.resolve().relative_to(ROOT).as_posix()
        if page.path.startswith("docs/") and not name.startswith("docs/"):
            broken.append(f"{page.path}:{line}: {target}: lies outside of the built pages")
        if anchor and anchor not in (pages[name].anchors if name in pages else set()):
            broken.append(f"{page.path}:{line}: {target}: no such heading")
    return broken


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path: str, pages: dict[str, Page]) -> None:
    assert broken_links(pages[path], pages) == []


def test_broken_links_are_seen(tmp_path: Path, pages: dict[str, Page]) -> None:
    text = "# Here\n[a](docs/no.md) [b](#here) [c](#there)\n![d](no.png) `[e](no.md)`\n"
    text += "[f](docs/conventions.md#no-such) [g](https://example.org/no)\n"
    (tmp_path / "page.md").write_text(text)
    page = read_page((tmp_path / "page.md").as_posix())
    page.path = "README.md"
    broken = broken_links(page, {**pages, "README.md": page})
    assert [re.findall(r":(\d): (\S+):", one)[0] for one in broken] == [
        ("2", "docs/no.md"),
        ("2", "#there"),
        ("3", "no.png"),
        ("4", "docs/conventions.md#no-such"),
    ]


@pytest.mark.parametrize("path", [path for path in PAGES if path.startswith("docs/")])
def test_anchors_are_the_same_on_the_hosting_page_and_in_the_built_one(
    path: str, pages: dict[str, Page]
) -> None:
    for page in pages.values():
        for _, target in page.links:
            if target.partition("#")[2]:
                _, _, anchor = target.partition("#")
                assert re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)*", anchor), target
    for heading, anchor in zip(pages[path].headings, anchors(pages[path].headings), strict=True):
        plain = heading.replace("`", "")
        if re.fullmatch(r"[\w ]+", plain):
            assert slugify(plain, "-") == anchor.removesuffix("-1")


@pytest.mark.parametrize("path", PAGES)
def test_code_is_fenced_with_a_language_and_lines_are_short(
    path: str, pages: dict[str, Page]
) -> None:
    page = pages[path]
    assert page.indented == [], "fence code with ``` and its language"
    assert [block.where for block in page.blocks if not block.language] == []
    text = (ROOT / path).read_text(encoding="utf-8").splitlines()
    # Rows of tables cannot be wrapped, and blocks do not count.
    wide = [n for n, width in page.widths if width > 120 and not text[n - 1].startswith("|")]
    assert wide == [], "wrap at 120 columns"


def test_every_page_is_in_the_menu_once() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = Counter(re.findall(r"[\w-]+\.md", menu))
    assert named == Counter(Path(path).name for path in PAGES if path != "README.md")


def test_every_page_can_be_reached_from_the_readme(pages: dict[str, Page]) -> None:
    reached, waiting = set[str](), ["README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path not in pages:
            continue
        reached.add(path)
        for _, target in pages[path].links:
            file = (ROOT / path).parent / target.partition("#")[0]
            if file.suffix == ".md" and file.resolve().is_relative_to(ROOT):
                waiting.append(file.resolve().relative_to(ROOT).as_posix())
    assert sorted(set(pages) - reached) == []
