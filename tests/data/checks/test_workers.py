"""Pictures are checked in order, in this process and in others, whatever they do to them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from img2pose.cli import import_annotations
from img2pose.data.checks.sources import AnnotationSource, Limits
from img2pose.data.checks.workers import check_all
from img2pose.references import PoseReferences
from tests.data.checks.killing_source import KillingSource


def test_a_picture_that_kills_its_reader_is_a_finding_and_the_others_are_checked() -> None:
    source = KillingSource()
    with closing(check_all(source, 2)) as reports:
        found = list(reports)
    assert [report.place for report in found] == [f"picture {index}" for index in range(11)]
    problems = {report.place: [p.check for p in report.problems] for report in found}
    assert problems.pop(f"picture {source.deadly}") == ["reader_killed"]
    assert not any(problems.values())


def test_processes_find_what_one_process_finds(
    face_photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--images_path", str(face_photographs), "--output_path", "lists"]
    assert import_annotations.main(["pts", *arguments, "--val_count", "0"]) == 0
    Path("lists/annotations/face_3.json").write_text("[]")
    source = AnnotationSource(
        Path("lists/train.txt"), face_photographs, PoseReferences.default(), "box", Limits()
    )
    alone, shared = list(check_all(source, 0)), list(check_all(source, 1))
    assert len(alone) == 6
    assert [r.problems for r in alone] == [r.problems for r in shared]
    assert [r.digest for r in alone] == [r.digest for r in shared]
    assert [r.poses_in_box.tolist() for r in alone] == [r.poses_in_box.tolist() for r in shared]
