"""RetinaFace's label file: boxes, points where they are known, malformed lines by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from img2pose.data.annotations import Annotation
from img2pose.data.importers.retinaface import parse_faces, read_label_set
from img2pose.errors import InputError

# In the format of the published file, with numbers made up.
POSED = "100 50 30 40 108.5 65.25 0.0 121.0 66.0 1.0 115.0 72.0 0.0 109.0 80.0 0.0 120.0 81.0 0.0"
UNKNOWN = " ".join(["10 20 5 6", *["-1.0"] * 15])
TEXT = f"# 0--Parade/a.jpg\n{POSED} 0.82\n{UNKNOWN} 0.3\n# b.jpg\n7 8 9 10\n# c.jpg\n5 5 0 9\n"


def test_faces_come_with_their_points_or_without() -> None:
    images, counts = parse_faces(TEXT, "label.txt")
    assert list(images) == ["0--Parade/a.jpg", "b.jpg", "c.jpg"]
    assert list(counts.values()) == [1, 2, 1]
    first = images["0--Parade/a.jpg"]
    assert first.boxes_xyxy == [[100, 50, 130, 90], [10, 20, 15, 26]]
    expected = [[108.5, 65.25], [121, 66], [115, 72], [109, 80], [120, 81]]
    np.testing.assert_array_equal(first.landmarks[0], expected)
    assert first.landmarks[1] is None
    assert images["b.jpg"].boxes_xyxy == [[7, 8, 16, 18]]
    assert images["c.jpg"].boxes_xyxy == []


def test_unknown_points_become_faces_without_a_pose(tmp_path: Path) -> None:
    (tmp_path / "label.txt").write_text(TEXT)
    (tmp_path / "0--Parade").mkdir()
    Image.new("RGB", (200, 100)).save(tmp_path / "0--Parade/a.jpg")
    label_set = read_label_set(tmp_path, tmp_path / "label.txt")
    annotation = label_set.images[0].read()
    assert isinstance(annotation, Annotation)
    assert annotation.has_landmarks.tolist() == [True, False]
    np.testing.assert_array_equal(annotation.landmarks[1], np.full((5, 2), -1))
    with pytest.raises(InputError, match=r"label\.txt: image .*b\.jpg is not there"):
        label_set.images[1].read()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no image"),
        ("\n\n", "names no image"),
        (f"{POSED} 0.8\n", "line 1: `# path`"),
        ("# a.jpg\n1 2 3\n", "line 2: .* 4 or 20 numbers"),
        (f"# a.jpg\n{POSED} 0.8 9\n", "line 2: .* 4 or 20 numbers"),
        ("# a.jpg\n1 2 3 x\n", "line 2: numbers expected"),
        ("# a.jpg\n1 2 3 nan\n", "line 2: .* not finite"),
        ("# a.jpg\n1 2 3 1e999\n", "line 2: .* not finite"),
        ("#\n1 2 3 4\n", "line 1: names no image"),
        ("# a.jpg\n# a.jpg\n", "line 2: names no image, or one for the second time"),
    ],
)
def test_malformed_lines_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"label\.txt: {message}"):
        parse_faces(text, "label.txt")


@settings(max_examples=100, deadline=None)
@given(text=st.lists(st.sampled_from(["# a", "# b", POSED + " 1", "1 2 3 4", "x", "1e400 1 1 1"])))
def test_any_lines_are_read_or_refused_in_one_line(text: list[str]) -> None:
    try:
        images, counts = parse_faces("\n".join(text), "label.txt")
        assert sum(len(faces.boxes_xyxy) for faces in images.values()) == (
            counts["faces with 5 points"] + counts["faces without"]
        )
    except InputError as error:
        assert str(error).startswith("label.txt: ")
        assert "\n" not in str(error)
