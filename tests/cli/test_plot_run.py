"""The command that draws the curves of runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from img2pose.cli.plot_run import main
from img2pose.training.curves import (
    choose_panels,
    draw_runs,
    read_run,
    run_names,
    running_mean,
)
from img2pose.training.logging import METRICS_FILE


def write_metrics(folder: Path, points: int = 12, rate: float = 1e-3) -> Path:
    """Metrics of a run, one training line every 10 steps."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(1, points + 1):
        place = {"step": 10 * number, "epoch": number / 4, "time": 1.0}
        loss = {"loss": 5 / number, "loss_points": None if number == 3 else 1 / number}
        lines.append({"group": "train", **place, **loss, "learning_rate": rate / number})
        if number % 4 == 0:
            lines.append({"group": "validation", **place, "loss": 6 / number})
            lines.append({"group": "landmarks", **place, "recall_at_50": 1 - 1 / number})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / METRICS_FILE).write_text(text, encoding="utf-8")
    return folder


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run, in the current folder's `first`."""
    monkeypatch.chdir(tmp_path)
    return write_metrics(tmp_path / "first")


def test_several_runs_are_drawn_to_one_png(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_metrics(Path("second"), points=8)
    arguments = ["first", f"second/{METRICS_FILE}", "--output_path", "made/curves.png"]
    assert main([*arguments, "--smooth", "3", "--x", "epoch"]) == 0
    assert capsys.readouterr().out == "curves: made/curves.png\n"
    with Image.open("made/curves.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
    assert [path.name for path in Path("made").iterdir()] == ["curves.png"]


def test_a_run_in_progress_is_drawn_without_its_torn_line(run: Path) -> None:
    with open(run / METRICS_FILE, "a") as file:
        file.write('{"group": "train", "step": 130, "ep')
    assert main(["first", "--output_path", "curves.png"]) == 0
    assert read_run(run).series["train", "loss"].steps.max() == 120


def test_panels_share_training_and_validation_and_part_evaluators(run: Path) -> None:
    figure = draw_runs([read_run(run)], smooth=2)
    assert titles(figure) == ["loss", "loss_points", "learning_rate", "landmarks/recall_at_50"]
    loss, points, rate, recall = figure.axes
    raw, means, validation = loss.lines
    np.testing.assert_array_equal(raw.get_xdata(), np.arange(10, 130, 10))
    np.testing.assert_allclose(raw.get_ydata(), 5 / np.arange(1, 13))
    assert means.get_ydata()[0] == pytest.approx(3.75)
    np.testing.assert_array_equal(validation.get_xdata(), [40, 80, 120])
    assert validation.get_marker() == "o"
    assert np.isnan(points.lines[0].get_ydata()[2])
    # The rate is not smoothed; it spans more than a decade.
    assert len(rate.lines) == 1
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear", "log", "linear"]
    np.testing.assert_allclose(recall.lines[0].get_ydata(), [3 / 4, 7 / 8, 11 / 12])
    assert {axes.get_xlabel() for axes in figure.axes} == {"step"}
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert all(axes.get_ylabel() for axes in figure.axes)


def test_runs_have_their_colours_and_names_in_the_legend(run: Path, tmp_path: Path) -> None:
    # Names that a legend would leave out or typeset.
    others = [write_metrics(tmp_path / "_hidden"), write_metrics(tmp_path / "cost$x$")]
    figure = draw_runs([read_run(path) for path in (run, *others)], smooth=5)
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        "first",
        "_hidden",
        "cost$x$",
        "train, mean of 5 points",
        "train, as logged",
        "validation",
    ]
    assert not any(text.get_parse_math() for text in legend.get_texts())
    colors = [to_rgba(line.get_color()) for line in legend.get_lines()[:3]]
    assert len(set(colors)) == 3
    recall = figure.axes[-1]
    assert [to_rgba(line.get_color()) for line in recall.lines] == colors


def test_axis_of_epochs_and_last_step(run: Path) -> None:
    curves = read_run(run, max_step=40)
    figure = draw_runs([curves], fields=["loss"], x="epoch")
    assert figure.axes[0].get_xlabel() == "epoch"
    raw, validation = figure.axes[0].lines
    np.testing.assert_array_equal(raw.get_xdata(), [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(validation.get_xdata(), [1.0])


def test_learning_rate_within_a_decade_is_linear(tmp_path: Path) -> None:
    figure = draw_runs([read_run(write_metrics(tmp_path / "run", points=9))])
    assert figure.axes[titles(figure).index("learning_rate")].get_yscale() == "linear"


def test_fields_are_drawn_in_their_order(run: Path) -> None:
    curves = [read_run(run)]
    named = choose_panels(curves, ["recall_at_50", "loss", "landmarks/recall_at_50"])
    assert [panel.title for panel in named] == ["landmarks/recall_at_50", "loss"]


def test_a_spike_leaves_the_panel(run: Path) -> None:
    lines = [
        {"group": "train", "step": step, "epoch": 0.0, "loss": 1e6 if step == 500 else step % 7}
        for step in range(1000)
    ]
    (run / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    low, high = draw_runs([read_run(run)], smooth=50).axes[0].get_ylim()
    assert low < 0
    assert 1e4 < high < 1e5


def test_values_without_any_number_get_an_empty_panel(run: Path) -> None:
    line = {"group": "train", "step": 1, "epoch": 0.1, "loss": None}
    (run / METRICS_FILE).write_text(json.dumps(line) + "\n")
    figure = draw_runs([read_run(run)], smooth=3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no finite values"]
    assert main(["first", "--output_path", "curves.png"]) == 0


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [1, 2, math.nan, 4, 9]),
        (2, [1.5, 2, 4, 6.5, 9]),
        (3, [1.5, 1.5, 3, 6.5, 6.5]),
        (10**12, [4, 4, 4, 4, 4]),
    ],
)
def test_running_mean_known_answers(count: int, expected: list[float]) -> None:
    values = np.array([1, 2, math.nan, 4, 9])
    np.testing.assert_allclose(running_mean(values, count), expected)


def test_names_grow_until_they_differ() -> None:
    assert run_names([Path("/a/x/run"), Path("/a/y/run")]) == ["x/run", "y/run"]
    assert run_names([Path("/a/one"), Path("/b/two")]) == ["one", "two"]
    assert run_names([Path("/")]) == ["/"]
    (name,) = run_names([Path("/a") / ("b" * 99)])
    assert name == "…" + "b" * 59


BAD_INPUT = {
    "no folder": (["missing"], "missing: no such folder"),
    "no metrics": (["empty"], f"holds no {METRICS_FILE}"),
    "damaged": (["damaged"], "line 2"),
    "no points": (["blank"], "no points"),
    "no points so early": (["first", "--max_step", "5"], "no points up to step 5"),
    "negative step": (["first", "--max_step", "-1"], "--max_step"),
    "field": (["first", "--fields", "loss,speed"], "--fields speed"),
    "empty field": (["first", "--fields", "loss,"], "--fields"),
    "smooth": (["first", "--smooth", "0"], "--smooth 0"),
    "twice": (["first", f"first/{METRICS_FILE}"], "given twice"),
    "suffix": (["first", "--output_path", "curves.svg"], ".png"),
    "output is a folder": (["first", "--output_path", "folder.png"], "is a folder"),
    "output below a file": (["first", "--output_path", "file/c.png"], "is a file"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_and_code_2(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    for name in ("empty", "folder.png"):
        Path(name).mkdir()
    Path("file").write_text("")
    for name in ("damaged", "blank"):
        write_metrics(Path(name))
    Path("blank", METRICS_FILE).write_text("")
    lines = Path("damaged", METRICS_FILE).read_text().splitlines(keepends=True)
    lines[1] = lines[1][:9] + "\n"
    Path("damaged", METRICS_FILE).write_text("".join(lines))
    before = sorted(Path.cwd().rglob("*"))
    if "--output_path" not in arguments:
        arguments = [*arguments, "--output_path", "new/curves.png"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(Path.cwd().rglob("*")) == before


def test_a_failing_write_is_told(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Figure, path: Path, **settings: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    assert main(["first", "--output_path", "curves.png"]) == 1
    assert "curves.png: cannot be written (No space left" in capsys.readouterr().err
    assert not Path("curves.png").exists()
