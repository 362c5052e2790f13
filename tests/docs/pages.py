"""README and docs as their readers' programs see them: headings, links, blocks of code."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->")
_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*)")
# Targets hold no blanks or parentheses here; an image is a link to a file too.
_LINK = re.compile(r"!?\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_CODE_SPAN = re.compile(r"(`+)(?:(?!\1).)+\1")
_HEADING = re.compile(r"(?P<level>#{1,6}) +(?P<text>.+?) *$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Path of the page from the repository's root.
        line: Of the opening fence, from 1.
        language: What the fence names; empty if nothing.
        text: What stands in it.
        not_run: Why it is not run, from the comment before it; None without one.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page}:{self.line}"


@dataclass
class Page:
    """A page of Markdown.

    Attributes:
        path: From the repository's root.
        blocks: Its fenced blocks, in order.
        links: Line, from 1, and target of its links and images.
        headings: Their texts.
        indented: Lines of code blocks that are indented in place of fenced.
        widths: Line, from 1, and length of lines outside of blocks.
    """

    path: str
    blocks: list[Block] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    indented: list[int] = field(default_factory=list)
    widths: list[tuple[int, int]] = field(default_factory=list)

    @property
    def anchors(self) -> set[str]:
        """What links may name after the sign #."""
        return set(anchors(self.headings))


def page_paths() -> list[str]:
    """README and all pages of docs/, from the repository's root."""
    pages = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("**/*.md"))
    return ["README.md", *pages]


def read_page(path: str) -> Page:
    """Reads a page.

    Args:
        path: From the repository's root.

    Raises:
        ValueError: A block does not end.
    """
    page = Page(path)
    lines = enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
    reason: str | None = None
    before = ""
    for number, line in lines:
        if fence := _FENCE.fullmatch(line.rstrip()):
            text = "\n".join(_until_fence(lines, fence["indent"], f"{path}:{number}"))
            page.blocks.append(Block(path, number, fence["language"], text + "\n", reason))
            reason = None
            continue
        if marker := NOT_RUN.search(line):
            reason = marker["reason"]
        elif line.strip() and reason is not None:
            raise ValueError(f"{path}:{number}: the comment before is of no block")
        if line.startswith("    ") and not before.strip():
            page.indented.append(number)
        if heading := _HEADING.match(line):
            page.headings.append(heading["text"])
        page.widths.append((number, len(line)))
        page.links += [
            (number, link["target"]) for link in _LINK.finditer(_CODE_SPAN.sub("`code`", line))
        ]
        before = line
    return page


def _until_fence(lines: Iterator[tuple[int, str]], indent: str, where: str) -> Iterator[str]:
    for _, line in lines:
        if line.rstrip() == f"{indent}```":
            return
        yield line.removeprefix(indent)
    raise ValueError(f"{where}: the block does not end")


def anchors(headings: list[str]) -> Iterator[str]:
    """The anchor of each heading, as hosting pages (GitHub's) make it."""
    seen: dict[str, int] = {}
    for heading in headings:
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", html.unescape(heading)).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        yield anchor if count == 0 else f"{anchor}-{count}"
