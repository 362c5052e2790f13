"""What an evaluation leaves: `summary.json` and a `report.html` that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Cell = str | int | float | None
"""Of a table: text as it is, numbers as formatted by the column, None as a dash."""


@dataclass(frozen=True)
class Table:
    """Rows under a head.

    Attributes:
        title: Above the table; empty for none.
        columns: Heads.
        rows: As many cells each as there are columns.
        digits: Decimals of the floats, by column; None writes floats with 4 significant digits.
        note: Below the table; empty for none.

    Raises:
        ValueError: A row has another number of cells.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    digits: Sequence[int | None] | None = None
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes:
        title: Above it, also its text for those who do not see it.
        png: Bytes of a PNG file (`plots.png_bytes`).
        note: Below it; empty for none.
    """

    title: str
    png: bytes
    note: str = ""


@dataclass(frozen=True, eq=False)
class Case:
    """A picture with what was found in it.

    Attributes:
        title: Under it, in bold: which picture.
        picture: (H, W, 3) uint8 RGB.
        caption: Under the title: what is the matter.
    """

    title: str
    picture: np.ndarray
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a report; what is empty is left out, the order is that of the fields.

    Attributes:
        title: Its head.
        text: Paragraphs.
        tables: Tables, one below the other.
        plots: Two beside each other where there is room.
        cases: In a grid.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    cases: Sequence[Case] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """A report; all text in it is plain text and escaped.

    Attributes:
        title: Its head.
        subtitle: Which model on which data, in a line.
        figures: The most important figures as (name, value) with the value as it is to be read,
            shown large.
        sections: What follows.
        facts: Provenance at the end: name and value.
    """

    title: str
    subtitle: str = ""
    figures: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = ()
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)


def render_html(report: Report) -> str:
    """The report as one HTML page that refers to no other file and no network."""
    raise NotImplementedError


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Writes the page, whole or not at all.

    Raises:
        OutputError: The disk is full, for example.
    """
    raise NotImplementedError


@dataclass(frozen=True)
class Summary:
    """`summary.json`.

    Attributes:
        figures: By name; None where undefined.
        protocol: What each figure means and how it was measured.
        data: Fingerprints and counts of what was judged.
        model: Checkpoint, its hash and settings.
        command: As typed.
        seconds: `total` and what else was timed.
        versions: Of the packages.
    """

    figures: dict[str, Any]
    protocol: dict[str, Any]
    data: dict[str, Any]
    model: dict[str, Any]
    command: str
    seconds: dict[str, float | None]
    versions: dict[str, str]
