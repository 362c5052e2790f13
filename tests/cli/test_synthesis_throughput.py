"""The measurement of how fast synthetic photographs are drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from img2pose.cli import benchmark, synthesis_throughput


def test_the_command_reports_pictures_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        benchmark, "measure_synthesis", lambda n: synthesis_throughput.measure_synthesis(n, 10)
    )
    arguments = ["--measure", "synthesis", "--processes", "0", "--output_path", str(tmp_path)]
    assert benchmark.main(arguments) == 0
    report = json.loads((tmp_path / benchmark.RESULTS_FILE).read_text())
    (rate,) = report["synthesis"]
    assert rate["processes"] == 0 and rate["images"] == 2 and rate["faces"] > 0
    assert rate["milliseconds_of_a_core"] == pytest.approx(1e3 / rate["images_per_second"])
    assert "images / s" in capsys.readouterr().out


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 16"):
        synthesis_throughput.measure_synthesis(2, 16)
