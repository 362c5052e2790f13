"""What commands print, and what of it another command can read."""

from __future__ import annotations

import argparse
import json

import pytest

from img2pose.cli.parsers import print_results, results_kept


def test_results_are_kept_inside_only_and_printed_as_ever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text, as_json = argparse.Namespace(json=False), argparse.Namespace(json=True)
    with results_kept() as outer:
        print_results(text, {"new_images": 3})
        with results_kept() as inner:
            print_results(as_json, {"faces": 2})
        print_results(text, {"faces": 1}, "one face")
    print_results(text, {"faces": 0})
    assert outer == [{"new_images": 3}, {"faces": 1}]
    assert inner == [{"faces": 2}]
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["new images: 3", json.dumps({"faces": 2}), "one face", "faces: 0"]
