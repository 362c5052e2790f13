"""COCO files: visibility, crowds, images without faces, left and right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from img2pose.data.annotations import Annotation
from img2pose.data.importers.coco import parse_faces, read_label_set
from img2pose.errors import InputError

POINTS = np.array([[10, 12], [20, 12], [15, 18], [11.5, 22], [19, 22.25]])
NAMES = ["eye", "other eye", "nose", "mouth corner", "other mouth corner"]


def keypoints(points: np.ndarray = POINTS, visibility: int = 2) -> list[float]:
    rows = np.column_stack([points, np.full(len(points), visibility)])
    return [float(value) for value in rows.ravel()]


def face(**changes: Any) -> dict[str, Any]:
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 21], "iscrowd": 0}
    return {**entry, "keypoints": keypoints(), "num_keypoints": 5, **changes}


def coco(*annotations: Any, **changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "in/a.png", "width": 40, "height": 30}],
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "face", "keypoints": NAMES}],
        **changes,
    }


def parse(content: Any, category: str | None = None) -> Any:
    return parse_faces(json.dumps(content), "c.json", category)


def test_a_face_with_5_points() -> None:
    images, counts = parse(coco(face()))
    assert images["in/a.png"].boxes_xyxy == [[5, 6, 25, 27]]
    np.testing.assert_array_equal(images["in/a.png"].landmarks[0], POINTS)
    assert counts["faces with landmarks"] == 1


def test_a_face_with_68_points() -> None:
    points = np.arange(136.0).reshape(68, 2)
    category = {"id": "f", "name": "face", "keypoints": [f"p{k}" for k in range(68)]}
    entry = face(keypoints=keypoints(points, 1), category_id="f")
    images, _ = parse(coco(entry, categories=[category]))
    np.testing.assert_array_equal(images["in/a.png"].landmarks[0], points)


def test_what_has_no_pose() -> None:
    hidden = keypoints()
    hidden[5] = 0
    entries = [
        face(keypoints=hidden),
        face(keypoints=None),
        face(iscrowd=1, keypoints=[0] * 15),
        face(bbox=[1, 1, 0, 5]),
        face(category_id=2),
    ]
    categories = [*coco()["categories"], {"id": 2, "name": "cat"}]
    images, counts = parse(coco(*entries, categories=categories))
    assert images["in/a.png"].landmarks == [None, None, None]
    assert list(counts.values()) == [0, 3, 1, 1, 1]


def test_images_without_annotations_stay() -> None:
    images, _ = parse(coco())
    assert images["in/a.png"].boxes_xyxy == []


def test_a_category_of_boxes_is_taken_by_name() -> None:
    categories = [{"id": 1, "name": "face"}, {"id": 2, "name": "person", "keypoints": ["a"] * 17}]
    content = coco(face(), face(category_id=2), categories=categories)
    images, counts = parse(content, "face")
    assert images["in/a.png"].landmarks == [None]
    assert counts["annotations of other categories, left out"] == 1
    with pytest.raises(InputError, match=r"no category with 5 or 68 keypoints; .* --category"):
        parse(content)
    with pytest.raises(InputError, match="no category named 'dog'"):
        parse(content, "dog")
    with pytest.raises(InputError, match="has 17 keypoints, 5 or 68"):
        parse(content, "person")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], '"images" expected'),
        ({}, '"images" expected'),
        (coco(images=[]), "names no image"),
        (coco(images=[1]), 'list of objects "images"'),
        (coco(images=[{"id": 1}]), r"images\[0\]: file_name and id"),
        (coco(images=[{"file_name": "a"}]), r"images\[0\]: an id"),
        (coco(images=[{"id": 1, "file_name": "a"}] * 2), r"images\[1\]: file_name and id"),
        (coco(images=[{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]), r"images\[1\]"),
        (coco(face(image_id=9)), r"annotations\[0\]: there is no image"),
        (coco(face(image_id=[])), r"annotations\[0\]: an id"),
        (coco(face(category_id=True)), r"annotations\[0\]: an id"),
        (coco(face(bbox=[1, 2, 3])), r"annotations\[0\]: bbox"),
        (coco(face(bbox=None)), r"annotations\[0\]: bbox"),
        (coco(face(bbox=[1, 2, 3, "4"])), r"annotations\[0\]: bbox"),
        (coco(face(bbox=[1, 2, 3, 10**400])), r"annotations\[0\]: bbox .* finite"),
        (coco(face(keypoints=[1] * 14)), r"annotations\[0\]: keypoints"),
        (coco(face(keypoints=[1] * 14 + [True])), r"annotations\[0\]: keypoints"),
        (coco(face(bbox=[1, 2, 3, float("nan")])), "NaN is not allowed"),
        (coco(categories=[{"id": 1, "keypoints": 5}]), r"categories\[0\]: keypoints"),
        (
            coco(categories=[{"id": 1, "keypoints": ["nose", "eye", "eye", "ear", "ear"]}]),
            r"categories\[0\]: keypoints must be eye, eye, nose",
        ),
    ],
)
def test_malformed_files_are_named(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"c\.json: .*{message}") as caught:
        parse(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000])
def test_what_is_no_json_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"c\.json: not a COCO file"):
        parse_faces(text, "c.json")


def test_left_and_right_are_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "in/a.png")
    persons = POINTS[[1, 0, 2, 4, 3]]
    path = tmp_path / "c.json"
    path.write_text(json.dumps(coco(face(keypoints=keypoints(persons)))))
    with pytest.raises(InputError, match=r"c\.json: in 1 of 1 faces .* give --swap_left_right"):
        read_label_set(tmp_path, path)
    annotation = read_label_set(tmp_path, path, swap_left_right=True).images[0].read()
    assert isinstance(annotation, Annotation)
    np.testing.assert_array_equal(annotation.landmarks[0], POINTS)
    assert annotation.label_source == "c.json"
    path.write_text(json.dumps(coco(face())))
    with pytest.raises(InputError, match="leave out --swap_left_right"):
        read_label_set(tmp_path, path, swap_left_right=True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    key=st.sampled_from(["image_id", "category_id", "bbox", "keypoints", "iscrowd", "id"]),
    table=st.sampled_from(["images", "annotations", "categories", None]),
    value=VALUES,
)
def test_any_value_is_read_or_refused_in_one_line(key: str, table: str | None, value: Any) -> None:
    content = coco(face(**{key: value})) if table is None else coco(face(), **{table: value})
    try:
        parse(content)
    except InputError as error:
        assert str(error).startswith("c.json: ")
        assert "\n" not in str(error)
