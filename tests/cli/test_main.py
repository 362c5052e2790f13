"""`img2pose COMMAND` reaches every command, and each shows how it is called."""

import json
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from img2pose.cli.commands import COMMANDS, called_by_words, command_line
from img2pose.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
# Those that `img2pose` does not call: they build what is committed, or check commits.
NOT_COMMANDS = {"build_pose_references", "check_large_files"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.words))
def test_a_command_is_a_script_with_an_example_that_can_be_parsed(command):
    assert f"from {command.module} import main" in (ROOT / command.script).read_text("utf-8")
    module = import_module(command.module)
    by_script = module.build_parser()
    assert by_script.prog == f"python {command.script}"
    with called_by_words():
        by_words = module.build_parser()
    assert by_words.prog == " ".join(("img2pose", *command.words))
    lines = by_words.format_help().splitlines()
    calls = [line.strip() for line in lines if line.strip().startswith(f"{by_words.prog} ")]
    examples = [call for call in calls if "..." not in call and "[-h]" not in call]
    assert examples
    for example in examples:
        arguments = shlex.split(example.removeprefix(by_words.prog))
        assert by_words.parse_args([*arguments, "--json"]).json


def test_every_script_is_a_command():
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")} - NOT_COMMANDS
    assert scripts <= {command.module.rpartition(".")[2] for command in COMMANDS}


def test_the_overview_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {' '.join(command.words)} " in text for command in COMMANDS)
    assert main([]) == 2
    assert capsys.readouterr().err == text


def test_the_overview_of_a_group(capsys):
    assert main(["evaluate", "--help"]) == 0
    text = capsys.readouterr().out
    assert "evaluate biwi" in text and "predict" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretict"], "error: no command 'pretict'; did you mean predict? (img2pose --help"),
        (["xyzzy"], "error: no command 'xyzzy' (img2pose --help"),
        (["evaluate"], "error: img2pose evaluate needs one of wider, aflw2000, biwi, landmarks"),
        (["evaluate", "mars"], "error: img2pose evaluate needs one of wider"),
    ],
)
def test_words_that_name_no_command(words, message, capsys):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)


def test_a_command_is_called_and_answers_with_its_exit_code(tmp_path, capsys):
    missing = tmp_path / "missing"
    assert main(["plot", str(missing), "--output_path", str(tmp_path / "curves.png")]) == 2
    assert str(missing) in capsys.readouterr().err


def test_a_recorded_call_can_be_given_again():
    assert command_line("train.py", ["--prefix", "a b"]) == "python train.py --prefix 'a b'"
    with called_by_words():
        assert command_line("train.py", ["--prefix", "a"]) == "img2pose train --prefix a"


def test_as_a_module():
    def run(*words):
        command = [sys.executable, "-m", "img2pose", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout

    assert run("--version").startswith("img2pose ")
    assert "torch" not in json.loads(
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import json, sys; from img2pose.cli.main import main; main(['--help']);"
                " print(json.dumps(sorted(sys.modules)))",
            ],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        ).stdout.splitlines()[-1]
    )
