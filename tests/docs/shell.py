"""Shell commands of the pages: whether they could be run, and running those of the package."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec

from torch.distributed.run import get_args_parser

from img2pose.cli.commands import COMMANDS, Command
from img2pose.cli.main import main
from img2pose.config import TrainConfig, read_config, values_from_assignments
from img2pose.errors import InputError
from tests.docs.pages import ROOT

# Of others' programs only the name is looked at.
_FOREIGN = ("cd", "git", "source", "tensorboard", "ssh", ".venv/bin/pre-commit", "export")
_HARMLESS = ("cat", "head", "ls", "mkdir")


class ShellError(ValueError):
    """A line that nobody could run."""


def command_lines(text: str) -> Iterator[str]:
    """The commands of a block, a line each: continued lines are joined, comments gone."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def _words(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"\w+=\S*", words[0]):
        del words[0]
    return words


def _simple_commands(line: str) -> Iterator[list[str]]:
    for part in re.split(r"\s+&&\s+|\s+\|\s+", line):
        if words := _words(part):
            yield words


def _of_package(words: Sequence[str]) -> tuple[Command, list[str]] | None:
    for command in COMMANDS:
        if words[0] == "img2pose" and tuple(words[1 : 1 + len(command.words)]) == command.words:
            return command, list(words[1 + len(command.words) :])
        if words[:2] == ["python", command.script]:
            return command, list(words[2:])
    return None


def _check_arguments(command: Command, arguments: Sequence[str]) -> None:
    parser: argparse.ArgumentParser = import_module(command.module).build_parser()
    if "--help" in arguments:
        return
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as stopped:
        raise ShellError(f"{command.script} does not take {shlex.join(arguments)}") from stopped
    config = getattr(parsed, "config", None)
    if hasattr(parsed, "set"):
        try:
            read_config(
                TrainConfig,
                None if config is None else ROOT / config,
                values_from_assignments("--set", parsed.set),
            )
        except InputError as error:
            raise ShellError(str(error)) from error


def _check_launch(words: Sequence[str]) -> None:
    try:
        launch = get_args_parser().parse_args(words[1:])
    except SystemExit as stopped:
        raise ShellError(f"torchrun does not take {shlex.join(words[1:])}") from stopped
    _check_simple(["python", launch.training_script, *launch.training_script_args])


def _check_installation(arguments: Sequence[str]) -> None:
    if arguments[:1] != ["install"]:
        raise ShellError("pip: only install is expected")
    with open(ROOT / "pyproject.toml", "rb") as file:
        known = tomllib.load(file)["project"]["optional-dependencies"]
    for argument in arguments[1:]:
        for extra in re.findall(r"\[([\w,-]+)\]", argument):
            if unknown := set(extra.split(",")) - set(known):
                raise ShellError(f"pyproject.toml has no extra {', '.join(sorted(unknown))}")


def _check_targets(arguments: Sequence[str]) -> None:
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in arguments:
        if target not in made:
            raise ShellError(f"the Makefile makes no {target}")


def _check_simple(words: list[str]) -> None:
    if found := _of_package(words):
        _check_arguments(*found)
    elif words[0] == "torchrun":
        _check_launch(words)
    elif words[0] == "pip":
        _check_installation(words[1:])
    elif words[0] == "make":
        _check_targets(words[1:])
    elif words[:2] == ["img2pose", "--help"]:
        return
    elif words[:2] == ["python", "-m"]:
        if find_spec(words[2]) is None:
            raise ShellError(f"there is no module {words[2]}")
    elif words[0] == "python" and len(words) > 1:
        if not (ROOT / words[1]).is_file():
            raise ShellError(f"there is no {words[1]}")
    elif words[0] not in (*_FOREIGN, *_HARMLESS):
        raise ShellError(f"{words[0]} is no command that this test knows")


def check_line(line: str) -> None:
    """Whether a command could be run: its program, flags, settings, extras and targets exist.

    Raises:
        ShellError: It could not.
    """
    for words in _simple_commands(line):
        _check_simple(words)


def _has_workers(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> bool:
    return hasattr(parser.parse_args(arguments), "num_workers")


def _help(words: Sequence[str]) -> int:
    if words[0] != "img2pose":
        raise ShellError(f"help of {words[0]} is not shown by a test")
    try:
        return main(words[1:])
    except SystemExit as stopped:
        return int(stopped.code or 0)


def run_line(line: str) -> None:
    """Runs a command of the package in this process, or a harmless one in a shell.

    Where a command has worker processes, it runs without: their start costs more than the work.

    Raises:
        ShellError: It failed, or is of another kind.
    """
    words = _words(line)
    if words[-1] == "--help":
        code = _help(words)
    elif found := _of_package(words):
        command, arguments = found
        module = import_module(command.module)
        if "--num_workers" not in arguments and _has_workers(module.build_parser(), arguments):
            arguments += ["--num_workers", "0"]
        code = module.main(arguments)
    elif words[0] in _HARMLESS:
        code = subprocess.run(["bash", "-c", line], check=False).returncode
    else:
        raise ShellError(f"cannot be run by a test; say why before the block: {line}")
    if code != 0:
        raise ShellError(f"ended with {code}: {line}")
