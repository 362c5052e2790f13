"""The measurement of conversions runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from img2pose.cli import import_annotations
from img2pose.cli.conversion_throughput import measure_conversion
from img2pose.data.annotations import read_annotation_list, write_annotation_list
from img2pose.errors import InputError


def test_conversions_are_timed(face_photographs: Path, tmp_path: Path) -> None:
    arguments = ["--images_path", str(face_photographs), "--output_path", str(tmp_path)]
    assert import_annotations.main(["pts", *arguments, "--val_count", "1"]) == 0
    assert measure_conversion(tmp_path / "train.txt", face_photographs, workers=0) > 0
    assert {path.name for path in tmp_path.iterdir()} == {"annotations", "train.txt", "val.txt"}
    write_annotation_list(tmp_path / "one.txt", read_annotation_list(tmp_path / "train.txt")[:1])
    with pytest.raises(InputError, match="too few images"):
        measure_conversion(tmp_path / "one.txt", face_photographs, workers=0)
