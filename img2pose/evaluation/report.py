"""What an evaluation leaves: `summary.json` and a `report.html` that needs nothing else."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from PIL import Image

from img2pose.files import told_when_unwritable, write_json, write_text

Cell = str | int | float | None
"""Of a table: text and whole numbers as they are, floats rounded, None as a dash."""

_NO_VALUE = "\N{EN DASH}"
_JPEG_QUALITY = 85
# What XML does not allow, and halves of surrogate pairs, which stand for odd bytes in file names.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Table:
    """Rows under a head.

    Attributes:
        title: Above the table; empty for none.
        columns: Heads.
        rows: As many cells each as there are columns.
        digits: Decimals of each column's floats; None, for one column or for all, gives them four
            significant digits.
        note: Below the table; empty for none.

    Raises:
        ValueError: A row, or `digits`, has another number of entries.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    digits: Sequence[int | None] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for row in (*self.rows, *(() if self.digits is None else (self.digits,))):
            if len(row) != len(self.columns):
                raise ValueError(f"{len(row)} entries for {len(self.columns)} columns: {row}")

    def text(self, column: int, cell: Cell) -> str:
        """A cell as it is shown."""
        if cell is None:
            return _NO_VALUE
        if isinstance(cell, float):
            digits = None if self.digits is None else self.digits[column]
            return f"{cell:.4g}" if digits is None else f"{cell:.{digits}f}"
        return str(cell)

    def is_numeric(self, column: int) -> bool:
        """Whether no cell of a column is text."""
        return not any(isinstance(row[column], str) for row in self.rows)

    def markdown(self) -> str:
        """The table for a notebook or a README, numbers to the right."""
        texts = [[self.text(i, cell) for i, cell in enumerate(row)] for row in self.rows]
        rules = ["---:" if self.is_numeric(i) else "---" for i in range(len(self.columns))]
        lines = [self.columns, rules, *texts]
        rows = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        ]
        title = f"**{self.title}**" if self.title else ""
        return "\n\n".join(part for part in (title, "\n".join(rows), self.note) if part)


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes:
        title: Below it, and its text for those who do not see it.
        png: A PNG file (`plots.png_bytes`).
        note: Below the title; empty for none.
        is_wide: Whether it needs the page's whole width.
    """

    title: str
    png: bytes
    note: str = ""
    is_wide: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """A picture with what was found in it.

    Attributes:
        title: Below it: which picture.
        picture: (H, W, 3) uint8 RGB, as large as it is to be stored; about 480 pixels are shown.
        caption: Below the title: what is the matter.
    """

    title: str
    picture: np.ndarray
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a report, in the order of these fields; what is empty is left out.

    Attributes:
        title: Its head.
        text: Paragraphs.
        tables: Beside each other where there is room.
        plots: The same.
        cases: In a grid.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    cases: Sequence[Case] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """A report. All its text is plain: what looks like HTML is shown as it stands.

    Attributes:
        title: Its head.
        subtitle: Below it, in a line or two: which model on which data.
        figures: Names and values of the few figures that matter most, shown large.
        sections: What follows.
        facts: Names and values of how it was made, at the end; see `Summary.facts`.
    """

    title: str
    subtitle: str = ""
    figures: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = ()
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Summary:
    """`summary.json`.

    Attributes:
        figures: Results by name; None where undefined.
        protocol: What the figures mean and how they were measured.
        data: What was judged: paths, counts, fingerprints.
        model: Checkpoint, its hash and the settings it ran with.
        command: As typed.
        seconds: What took how long.
        versions: Of the packages that scored.
    """

    figures: Mapping[str, Any]
    protocol: Mapping[str, Any]
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    command: str
    seconds: Mapping[str, float | None]
    versions: Mapping[str, str]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes it as JSON, whole or not at all.

        Raises:
            OutputError: The disk is full, for example.
            ValueError: A figure is not finite.
        """
        with told_when_unwritable(path):
            write_json(path, asdict(self), indent=1)

    def facts(self) -> list[tuple[str, str]]:
        """What a report says at its end: command, model, data, seconds, versions."""
        groups = {"model": self.model, "data": self.data, "seconds": self.seconds}
        entries = [("command", self.command)]
        for group, values in groups.items():
            entries += [(f"{group}: {name}", _fact(value)) for name, value in values.items()]
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return [*entries, ("versions", versions)]


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = [f"{name}: {_fact(entry)}" for name, entry in value.items()]
    if isinstance(value, list):
        value = ", ".join(map(_fact, value)) or None
    if value is None:
        return _NO_VALUE
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _png_uri(png: bytes) -> str:
    return _data_uri("png", png)


def _picture_uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=_JPEG_QUALITY)
    return _data_uri("jpeg", buffer.getvalue())


def _number_class(table: Table, column: int) -> Markup:
    return Markup(' class="n"' if table.is_numeric(column) else "")


def _cell_text(table: Table, column: int, cell: Cell) -> str:
    return table.text(column, cell)


def _printable(value: Any) -> Any:
    if isinstance(value, Markup):
        return value
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("img2pose.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
    )
    environment.globals |= {
        "png_uri": _png_uri,
        "picture_uri": _picture_uri,
        "number_class": _number_class,
        "cell_text": _cell_text,
    }
    return environment.get_template("report.html.j2")


def render_html(report: Report) -> str:
    """The report as one HTML page that refers to no other file and no network."""
    return _template().render(report=report)


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Writes the page, whole or not at all.

    Raises:
        OutputError: The disk is full, for example.
    """
    with told_when_unwritable(path):
        write_text(path, render_html(report))
