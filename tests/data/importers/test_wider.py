"""WIDER's box lists: images without faces, invalid boxes, counts that lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.data.annotations import Annotation
from img2pose.data.importers.wider import parse_boxes, read_label_set
from img2pose.errors import InputError

TEXT = """0--Parade/a.jpg
3
10 20 30 40 0 0 0 0 0 0 
1 2 3 4 2 0 0 1 2 0 
5 6 0 7 2 0 0 0 2 0 
0--Parade/none.jpg
0
0 0 0 0 0 0 0 0 0 0 
0--Parade/b c.jpg
1
-2 0 9 9 0 0 0 0 0 0 
"""  # noqa: W291, WIDER's lines end so


def test_boxes_are_read_and_counted() -> None:
    images, counts = parse_boxes(TEXT, "list.txt")
    assert {path: faces.boxes_xyxy for path, faces in images.items()} == {
        "0--Parade/a.jpg": [[10, 20, 40, 60], [1, 2, 4, 6]],
        "0--Parade/none.jpg": [],
        "0--Parade/b c.jpg": [[-2, 0, 7, 9]],
    }
    assert all(points is None for faces in images.values() for points in faces.landmarks)
    assert list(counts.values()) == [3, 1, 1]


def test_the_line_of_zeros_may_be_missing() -> None:
    short = TEXT.replace("0 0 0 0 0 0 0 0 0 0 \n", "")
    assert parse_boxes(short, "l")[0].keys() == parse_boxes(TEXT, "l")[0].keys()
    assert list(parse_boxes("a.jpg\n0\n", "l")[0]) == ["a.jpg"]
    assert list(parse_boxes("a.jpg\r\n0\r\n0 0 0 0 0 0 0 0 0 0\r\n", "l")[0]) == ["a.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no image"),
        ("a.jpg\n", "line 1: the number of faces must follow, not ''"),
        ("a.jpg\nmany\n", "line 1: the number of faces must follow, not 'many'"),
        ("a.jpg\n-1\n", "line 1: the number of faces"),
        ("a.jpg\n" + "9" * 5000, "line 1: the number of faces"),
        ("a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", "line 1: 2 faces are said to follow"),
        ("a.jpg\n1\nb.jpg\n", "line 3: numbers expected"),
        ("a.jpg\n1\n1 2 3 4\n", "line 3: 10 numbers a face"),
        ("a.jpg\n1\n1 2 3 inf 0 0 0 0 0 0\n", "line 3: .* not finite"),
        ("a.jpg\n0\na.jpg\n0\n", "line 3: an image's path expected once"),
        ("1 2 3 4 0 0 0 0 0 0\n", "line 1: an image's path expected"),
    ],
)
def test_malformed_lists_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"list\.txt: {message}"):
        parse_boxes(text, "list.txt")


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(["a", "b.jpg", "0", "1", "2", "1 2 3 4 0 0 0 1 0 0", "0 " * 10, ""])
        | st.text(max_size=8)
    )
)
def test_any_lines_are_read_or_refused_in_one_line(lines: list[str]) -> None:
    try:
        images, counts = parse_boxes("\n".join(lines), "list.txt")
        assert sum(len(faces.boxes_xyxy) for faces in images.values()) == counts["boxes"]
    except InputError as error:
        assert str(error).startswith("list.txt: ")
        assert "\n" not in str(error)


@pytest.mark.parametrize(("part", "images", "boxes"), [("train", 377, 3331), ("val", 137, 875)])
def test_the_official_lists(shared: Path, part: str, images: int, boxes: int) -> None:
    folder = shared / "data" / "wider"
    label_set = read_label_set(
        folder / f"WIDER_{part}" / "images",
        folder / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt",
    )
    assert len(label_set.images) == images
    assert label_set.counts["boxes"] == boxes
    annotation = label_set.images[0].read()
    assert isinstance(annotation, Annotation)
    assert not annotation.has_landmarks.any()
    assert (np.diff(annotation.boxes_xyxy.reshape(-1, 2, 2), axis=1) > 0).all()
