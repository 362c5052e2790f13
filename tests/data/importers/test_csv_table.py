"""CSV tables: columns in any order, empty cells, angles in degrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from img2pose.data.annotations import Annotation
from img2pose.data.importers.csv_table import parse_faces, read_label_set
from img2pose.errors import InputError

BOX = "image_path,left,top,right,bottom"
FIVE = ",".join(f"{axis}{k}" for k in range(5) for axis in "xy")
POINTS = "10,12,20,12,15,18,11,22,19,22"
FULL = f"{BOX},score,{FIVE},pitch,yaw,roll\n"


def test_all_columns(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a,b.png")
    path = tmp_path / "faces.csv"
    row = f'"a,b.png",1,2,30.5,28,0.75,{POINTS},90,-45,0\n'
    path.write_text(f"\ufeff{FULL}{row}", encoding="utf-8")
    annotation = read_label_set(tmp_path, path).images[0].read()
    assert isinstance(annotation, Annotation)
    assert annotation.image_path == "a,b.png"
    assert annotation.label_source == "faces.csv"
    np.testing.assert_array_equal(annotation.boxes_xyxy, [[1, 2, 30.5, 28]])
    np.testing.assert_array_equal(annotation.landmarks[0].ravel(), np.fromstring(POINTS, sep=","))
    np.testing.assert_allclose(annotation.head_angles, [[np.pi / 2, -np.pi / 4, 0]])
    assert annotation.scores == (0.75,)


def test_columns_in_any_order_and_lines_of_an_image_apart() -> None:
    text = "top,left,image_path,bottom,right\n2,1,a.jpg,4,3\n0,0,b.jpg,1,1\n\n6,5,a.jpg,8,7\n"
    images, counts = parse_faces(text, "t.csv")
    assert {path: faces.boxes_xyxy for path, faces in images.items()} == {
        "a.jpg": [[1, 2, 3, 4], [5, 6, 7, 8]],
        "b.jpg": [[0, 0, 1, 1]],
    }
    assert counts["faces without"] == 3


def test_empty_cells_are_unknown() -> None:
    rows = [
        "none.jpg" + 18 * ",",
        f"a.jpg,1,2,3,4,,{POINTS},,,",
        f"a.jpg,1,2,3,4,0.5,{POINTS.replace('12', '', 1)},1,2,3",
        f"a.jpg,1,2,3,4,0.5,{POINTS.replace('12', '-1', 1)},1,2,3",
        f"a.jpg,1,2,1,4,0.5,{POINTS},1,2,3",
    ]
    images, counts = parse_faces(FULL + "\n".join(rows), "t.csv")
    assert images["none.jpg"].boxes_xyxy == []
    faces = images["a.jpg"]
    assert [points is None for points in faces.landmarks] == [False, True, True]
    assert faces.scores == [None, 0.5, 0.5]
    assert [angles is None for angles in faces.head_angles] == [True, False, False]
    assert list(counts.values()) == [1, 2, 1]


def test_68_points() -> None:
    header = ",".join(f"{axis}{k}" for k in range(68) for axis in "xy")
    numbers = ",".join(map(str, range(136)))
    images, _ = parse_faces(f"{BOX},{header}\na.jpg,0,0,9,9,{numbers}\n", "t.csv")
    expected = np.arange(136).reshape(68, 2)
    np.testing.assert_array_equal(images["a.jpg"].landmarks[0], expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the column image_path"),
        ("image_path;left;top;right;bottom\n", "lacks the column image_path; .* by commas"),
        ("image_path,left,top,right\n", "lacks the column bottom"),
        (f"{BOX},colour\n", "colour cannot be used; columns are"),
        (f"{BOX},x0,y0\n", "x0 cannot be used"),
        (f"{BOX},pitch,yaw\n", "pitch cannot be used"),
        (f"{BOX},left\n", "a column stands twice"),
        (f"{BOX}\n", "names no image"),
        (f"{BOX}\na.jpg,1,2,3\n", "line 2: 5 cells expected, not 4"),
        (f"{BOX}\na.jpg,1,2,3,x\n", "line 2: bottom: numbers expected"),
        (f"{BOX}\na.jpg,1,2,3,4 5\n", "line 2: bottom: one number expected"),
        (f"{BOX}\na.jpg,1,2,3,nan\n", "line 2: bottom: .* not finite"),
        (f"{BOX}\na.jpg,1,2,3,\n", "line 2: left, top, right, bottom: fill all"),
        (f"{BOX}\na.jpg,5,2,3,4\n", "line 2: the box ends before it begins"),
        (f"{BOX}\n,1,2,3,4\n", "line 2: image_path is empty"),
        (f"{BOX},score\na.jpg,,,,,0.5\n", "line 2: a face needs its box"),
        (f"{FULL}a.jpg,1,2,3,4,1,{POINTS},1,,3\n", "line 2: pitch, yaw, roll: fill all"),
        (f'{BOX}\n"a.jpg,1,2,3,4\n', "line 2: not CSV"),
        (f"{BOX}\n{'a' * 200_000},1,2,3,4\n", "line 2: not CSV"),
    ],
)
def test_malformed_tables_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"t\.csv: {message}") as caught:
        parse_faces(text, "t.csv")
    assert "\n" not in str(caught.value)


def test_left_and_right_are_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{BOX},{FIVE}\na.jpg,1,2,3,4,20,12,10,12,15,18,19,22,11,22\n")
    with pytest.raises(InputError, match=r"t\.csv: in 1 of 1 faces"):
        read_label_set(tmp_path, path)
    assert len(read_label_set(tmp_path, path, swap_left_right=True).images) == 1


@settings(max_examples=150, deadline=None)
@given(
    cells=st.lists(
        st.lists(st.sampled_from(["a.jpg", "", "1", "2.5", "nan", '"', "\r", "x"]), max_size=6),
        max_size=4,
    )
)
def test_any_cells_are_read_or_refused_in_one_line(cells: list[list[str]]) -> None:
    text = "\n".join([BOX, *(",".join(row) for row in cells)])
    try:
        images, counts = parse_faces(text, "t.csv")
        assert sum(len(faces.boxes_xyxy) for faces in images.values()) == counts["faces without"]
    except InputError as error:
        assert str(error).startswith("t.csv: ")
        assert "\n" not in str(error)
