"""Photographs with `.pts` files: points come back, wrong files are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from img2pose.data.annotations import Annotation
from img2pose.data.importers.pts import parse_pts, read_label_set
from img2pose.errors import InputError

FIVE = np.array([[10, 12], [20, 12], [15, 18], [11.5, 22], [19, 22.25]])
COORDINATES = st.floats(-1e6, 1e6, allow_nan=False)


def pts_text(points: np.ndarray = FIVE, count: int | None = None) -> str:
    lines = "\n".join(f"{x!r} {y!r}" for x, y in points.tolist())
    return f"version: 1\nn_points: {len(points) if count is None else count}\n{{\n{lines}\n}}\n"


@settings(max_examples=50, deadline=None)
@given(points=st.lists(st.tuples(COORDINATES, COORDINATES), min_size=68, max_size=68))
def test_points_come_back(points: list[tuple[float, float]]) -> None:
    np.testing.assert_array_equal(parse_pts(pts_text(np.array(points)), "a.pts"), points)


@settings(max_examples=200, deadline=None)
@given(
    text=st.text()
    | st.lists(
        st.sampled_from(["version: 1", "n_points: 5", "{", "}", "1 2", "nan 1", "x", ""])
    ).map("\n".join)
)
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        assert parse_pts(text, "a.pts").shape in {(5, 2), (68, 2)}
    except InputError as error:
        assert str(error).startswith("a.pts: ")
        assert "\n" not in str(error)


def test_spacing_and_line_ends_do_not_matter() -> None:
    text = pts_text().replace("n_points: 5", "n_points:  5 ").replace("\n", " \r\n\r\n")
    np.testing.assert_array_equal(parse_pts(text, "a.pts"), FIVE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no points between braces"),
        (pts_text().replace("{", ""), "no points between braces"),
        (pts_text().replace("}", ""), "no points between braces"),
        (pts_text().replace("version: 1\n", ""), "lacks version"),
        (pts_text().replace("n_points: 5\n", ""), "lacks version or n_points"),
        (pts_text().replace("version: 1", "version 1"), "line 1: `name: value`"),
        (pts_text(count=68), "n_points says '68', the file holds 5"),
        (pts_text().replace("n_points: 5", "n_points: five"), "n_points says 'five'"),
        (pts_text(FIVE[:4]), "5 or 68 points expected, not 4"),
        (pts_text().replace("10.0 12.0", "10.0"), "line 4: two numbers"),
        (pts_text().replace("10.0 12.0", "10.0 12.0 1"), "line 4: two numbers"),
        (pts_text().replace("10.0 12.0", "10.0 a"), "line 4: two numbers"),
        (pts_text().replace("10.0 12.0", "10.0 nan"), "line 4: .* not finite"),
        (pts_text().replace("10.0 12.0", "inf 1"), "line 4: .* not finite"),
    ],
)
def test_malformed_files_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.pts: {message}"):
        parse_pts(text, "a.pts")


def add_face(folder: Path, stem: str, suffix: str = ".png") -> None:
    Image.new("RGB", (32, 24)).save(folder / f"{stem}{suffix}")
    (folder / f"{stem}.pts").write_text(pts_text())


def read_all(folder: Path) -> list[Annotation]:
    annotations = [image.read() for image in read_label_set(folder).images]
    assert all(isinstance(annotation, Annotation) for annotation in annotations)
    return annotations  # type: ignore[return-value]


def test_a_folder_becomes_annotations(tmp_path: Path) -> None:
    add_face(tmp_path, "b_1")
    add_face(tmp_path, "a.b", ".JPG")
    add_face(tmp_path, "unlabelled")
    (tmp_path / "unlabelled.pts").unlink()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._b_1.pts").write_bytes(b"\0\5\x16\7")
    (tmp_path / "._unlabelled.png").write_bytes(b"\0\5\x16\7")
    assert list(read_label_set(tmp_path).counts.values()) == [1]
    annotations = read_all(tmp_path)
    assert [annotation.image_path for annotation in annotations] == ["a.b.JPG", "b_1.png"]
    np.testing.assert_array_equal(annotations[0].boxes_xyxy, [[10, 12, 20, 22.25]])
    np.testing.assert_array_equal(annotations[0].landmarks[0], FIVE)
    assert annotations[0].label_source == ".pts files"


def test_images_must_be_there_single_and_readable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.pts files"):
        read_all(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read_all(tmp_path / "none")
    add_face(tmp_path, "a")
    Image.new("RGB", (32, 24)).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.pts: 2 images of the same name"):
        read_all(tmp_path)
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.jpg: not a picture"):
        read_all(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"a\.pts: no image of the same name"):
        read_all(tmp_path)
