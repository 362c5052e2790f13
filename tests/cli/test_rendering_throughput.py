from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from img2pose.cli import benchmark, rendering_throughput
from img2pose.cli.rendering_throughput import FirstCall, draw_faces, fine_face, measure_rendering
from img2pose.references import default_mesh


def test_faces_are_drawn_alike_by_one_thread_and_two() -> None:
    mesh = default_mesh()
    one, two = (draw_faces(mesh.vertices, mesh.triangles, threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    # A fifth of the picture at least, and none over its whole.
    assert 0.2 < (one.max(axis=2) > 0).mean() < 1


def test_the_fine_face_is_the_same_surface() -> None:
    vertices, triangles = fine_face()
    assert len(vertices) == 55_129 and len(triangles) == 110_160
    coarse = default_mesh()

    def volume(points: np.ndarray, corners: np.ndarray) -> float:
        return float(np.linalg.det(points[corners]).sum())

    assert volume(vertices, triangles) == pytest.approx(volume(coarse.vertices, coarse.triangles))


def test_rates_of_meshes_and_threads() -> None:
    rates = measure_rendering(1, threads=(1,), plain=False)
    assert [(rate.vertices, rate.threads) for rate in rates] == [(4_618, 1), (55_129, 1)]
    for rate in rates:
        seconds = rate.triangles / rate.triangles_per_second
        assert rate.milliseconds_a_face == pytest.approx(1e3 * seconds)


def test_the_command_reports_rates_and_first_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Processes of their own and the plain engine take long.
    calls = [FirstCall("empty", 0.1, 9.0), FirstCall("filled", 0.1, 0.5)]
    monkeypatch.setattr(benchmark, "measure_first_calls", lambda: calls)
    quick = rendering_throughput.measure_rendering
    monkeypatch.setattr(benchmark, "measure_rendering", lambda repeats: quick(1, (1,), plain=False))
    arguments = ["--measure", "rendering", "--repeats", "1", "--output_path", str(tmp_path)]
    assert benchmark.main(arguments) == 0
    report = json.loads((tmp_path / benchmark.RESULTS_FILE).read_text())
    assert [rate["engine"] for rate in report["rendering"]] == ["numba", "numba"]
    assert report["rendering_first_calls"][1]["draw_seconds"] == 0.5
    printed = capsys.readouterr().out
    assert "55129" in printed and "filled cache: import 0.10 s, draw 0.50 s" in printed
