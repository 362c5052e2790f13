"""The pages of docs/ that are made from the code: all settings, all commands.

`python -m tests.docs.reference_pages` writes them anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import html
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from img2pose.cli import train
from img2pose.cli.commands import COMMANDS, Command
from img2pose.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from img2pose.files import write_text
from tests.docs.pages import ROOT

_RENEWED = (
    "<!-- Made from the code by `python -m tests.docs.reference_pages`; edit that, not this. -->"
)
_SECTIONS = (
    ("The run", "", TrainConfig),
    ("Model", "model", ModelConfig),
    ("Data and augmentation", "data", DataConfig),
    ("Optimizer and schedule", "optim", OptimConfig),
)
_WIDTH = 118
_NEEDED = ", needed"
_PLAIN_GROUPS = ("positional arguments", "options")
# Named differently in the text where they depend on the machine.
_DEFAULTS = {"num_workers": "one a core, at most 8"}


def attribute_texts(kind: type) -> dict[str, str]:
    """What the section `Attributes:` of a class's docstring says of each."""
    text = inspect.getdoc(kind) or ""
    (section,) = re.findall(r"^Attributes:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: " ".join(entry.split()) for name, entry in entries}


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _kind_shown(hint: Any) -> str:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        name = _kind_shown(arguments[0])
        return f"list of {name}" if arguments[-1] is Ellipsis else f"two of {name}"
    if arguments:
        return " or ".join("null" if a is type(None) else _kind_shown(a) for a in arguments)
    return {str: "text", bool: "true, false", int: "whole number", float: "number"}[hint]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _also(flags: Sequence[str]) -> str:
    return f" Also {' and '.join(flags)}." if flags else ""


def _setting_rows(prefix: str, kind: type) -> Iterator[tuple[str, ...]]:
    flags: dict[str, list[str]] = {}
    for flag, name in train.FLAGS.items():
        flags.setdefault(name, []).append(f"`--{flag}`")
    for flag, (name, value, _) in train.SWITCHES.items():
        meant = "" if value is True else f" ({_shown(value)})"
        flags.setdefault(name, []).append(f"`--{flag}`{meant}")
    texts, hints = attribute_texts(kind), typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            continue
        full_name = f"{prefix}.{field.name}" if prefix else field.name
        yield (
            f"`{full_name}`",
            _kind_shown(hints[field.name]),
            f"`{_shown(field.default)}`",
            texts[field.name] + _also(flags.get(full_name, [])),
        )


def configuration_page() -> str:
    """`docs/configuration.md`."""
    lines = [
        "# Configuration",
        "",
        _RENEWED,
        "",
        _paragraph(
            "All settings of a training, with their defaults, made from the dataclasses in"
            " `img2pose/config.py`. A configuration file is YAML with the sections `model`, `data`"
            " and `optim` and the run's own settings beside them; what it does not name keeps its"
            " default. `--set NAME=VALUE` sets one from the command line, with the full name of the"
            " first column; flags that are named beside a meaning do the same. Flags win over"
            " `--set`, `--set` over the file. Lists are written `[200, 300]` in YAML, and `200,300`"
            ' or `"200, 300"` in a shell. Unknown names and values out of range are refused when'
            " they are read; `null` is Python's `None`. [Training](training.md) says what to"
            " choose."
        ),
    ]
    for title, prefix, kind in _SECTIONS:
        intro = (inspect.getdoc(kind) or "").split("\n\nAttributes:")[0]
        lines += ["", f"## {title}", "", intro, ""]
        columns = ("setting", "type", "default", "meaning")
        lines += _table(columns, _setting_rows(prefix, kind))
    return "\n".join(lines) + "\n"


def _help_of(action: argparse.Action) -> str:
    values = {**vars(action)}
    values["default"] = _DEFAULTS.get(action.dest, action.default)
    return _plain((action.help or "") % values)


def _plain(text: str) -> str:
    """Text of a command line as Markdown: no HTML, no emphasis."""
    return html.escape(" ".join(text.split()), quote=False).replace("*", r"\*")


def _heading(title: str) -> str:
    return _plain(title[:1].upper() + title[1:])


def _paragraph(text: str) -> str:
    return textwrap.fill(_plain(text), _WIDTH, break_long_words=False, break_on_hyphens=False)


def _flag_of(action: argparse.Action) -> str:
    metavar = action.metavar or action.dest.upper()
    if action.choices is not None:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    value = {0: "", "+": f" {metavar} [...]", "*": f" [{metavar} ...]"}.get(
        typing.cast(Any, action.nargs), f" {metavar}"
    )
    if not action.option_strings:
        return f"`{value.strip()}`"
    return ", ".join(f"`{name}{value}`" for name in action.option_strings)


def _rows(actions: Iterable[argparse.Action]) -> list[tuple[str, str]]:
    return [
        (_flag_of(action) + (_NEEDED if action.required else ""), _help_of(action))
        for action in actions
        if action.dest not in ("help", "json")
        and not isinstance(action, argparse._SubParsersAction)
    ]


def _parts_of_epilog(epilog: str) -> tuple[list[str], str]:
    """The example calls, and what follows them."""
    calls, _, notes = epilog.replace("%%", "%").partition("\n\n")
    return [line.strip() for line in calls.splitlines()[1:]], notes.strip("\n")


class _Groups:
    """Groups of flags; one that several commands share is shown once."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, list[tuple[str, str]]]] = {}

    def lines(self, title: str, rows: list[tuple[str, str]], where: str) -> Iterator[str]:
        command, known = self._shown.setdefault(title, (where, rows))
        if command == where:
            yield from ("", f"**{_heading(title)}**", "")
            yield from _table(("flag", "meaning"), rows)
            return
        anchor = re.sub(r"[^\w\- ]", "", command).replace(" ", "-")
        others = [row for row in rows if row not in known]
        flags = {flag.removesuffix(_NEEDED) for flag, _ in rows}
        left_out = [flag for flag, _ in known if flag.removesuffix(_NEEDED) not in flags]
        text = f"**{_heading(title)}**: as [`{command}`](#{anchor}) has them"
        text += f", without {', '.join(left_out)}" if left_out else ""
        text += ", but:" if others else "."
        yield from ("", textwrap.fill(text, _WIDTH, break_on_hyphens=False))
        if others:
            yield ""
            yield from _table(("flag", "meaning"), others)


def _parser_lines(
    parser: argparse.ArgumentParser, name: str, groups: _Groups, level: str
) -> Iterator[str]:
    yield from ("", _paragraph(parser.description or ""))
    calls, notes = _parts_of_epilog(parser.epilog or "")
    yield from ("", "<!-- not run: names files that this page does not make -->")
    yield from ("```bash", *calls, "```")
    formats = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    own = [group for group in parser._action_groups if _rows(group._group_actions)]
    plain = [group for group in own if group.title in _PLAIN_GROUPS]
    if plain:
        yield ""
        rows = [row for group in plain for row in _rows(group._group_actions)]
        yield from _table(("flag", "meaning"), rows)
    for group in own:
        if group.title not in _PLAIN_GROUPS:
            yield from groups.lines(group.title or "", _rows(group._group_actions), name)
    if notes:
        yield from ("", "```text", notes, "```")
    for action in formats:
        # What all formats share, the first one shows.
        (first, first_parser), *others = action.choices.items()
        shared = _rows(first_parser._actions)
        for word, command in ((first, first_parser), *others):
            yield from ("", f"{level} {name} {word}")
            rows = _rows(command._actions)
            if word != first:
                rows = [row for row in rows if row not in shared]
            calls, notes = _parts_of_epilog(command.epilog or "")
            yield from ("", _paragraph(command.description or ""))
            yield from ("", "<!-- not run: names files that this page does not make -->")
            yield from ("```bash", *calls, "```")
            if notes:
                yield from ("", "```text", notes, "```")
            if word != first:
                anchor = f"{name} {first}".replace(" ", "-")
                text = f"Flags: as [`{name} {first}`](#{anchor}) has them"
                yield from ("", text + (", and:" if rows else "."))
            if rows:
                yield ""
                yield from _table(("flag", "meaning"), rows)


def _command_lines(command: Command, groups: _Groups) -> Iterator[str]:
    name = " ".join(("img2pose", *command.words))
    parser = import_module(command.module).build_parser()
    yield from ("", f"## {name}", "", f"From a checkout: `python {command.script}`.")
    yield from _parser_lines(parser, name, groups, "###")


def commands_page() -> str:
    """`docs/commands.md`."""
    lines = [
        "# Commands",
        "",
        _RENEWED,
        "",
        _paragraph(
            "Every command has two names that do the same: a script of the checkout, and words"
            " after `img2pose` wherever the package is installed. Each understands `--help`, which"
            " shows what stands here, and `--json`, which prints its results as one object on"
            " standard output; logs and progress go to standard error."
        ),
        "",
        *_table(
            ("exit code", "meaning"),
            (("0", "done"), ("1", "failed"), ("2", "bad input or usage: one line says what")),
        ),
        "",
    ]
    lines += _table(
        ("command", "what it does"),
        (
            (f"[`img2pose {' '.join(c.words)}`](#img2pose-{'-'.join(c.words)})", c.summary)
            for c in COMMANDS
        ),
    )
    groups = _Groups()
    for command in COMMANDS:
        lines += _command_lines(command, groups)
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration_page,
    "docs/commands.md": commands_page,
}


def main() -> None:
    """Writes the pages."""
    for path, made in PAGES.items():
        write_text(ROOT / path, made())


if __name__ == "__main__":
    main()
