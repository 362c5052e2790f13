"""Annotation files: what is written comes back, and whatever is wrong is named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.data.annotations import (
    Annotation,
    parse_annotation,
    read_annotation,
    read_annotation_list,
    resolve_image,
    unknown_landmarks,
    write_annotation,
    write_annotation_list,
)
from img2pose.errors import InputError

FIVE = [[1.0, 2.0], [3.0, 2.0], [2.0, 3.0], [1.5, 4.0], [2.5, 4.0]]
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


def face_json(**changes: Any) -> str:
    value = {"image_path": "a.jpg", "bboxes": [[0, 1, 10, 11]], "landmarks": [FIVE]}
    return json.dumps({**value, **changes})


@st.composite
def drawn_annotations(draw: st.DrawFn) -> Annotation:
    boxes, landmarks, scores, head_angles = [], [], [], []
    poses, visibility, seen = [], [], []
    depths = st.floats(1e-3, 1e6)
    for _ in range(draw(st.integers(0, 3))):
        left, right = sorted([draw(NUMBERS), draw(NUMBERS)])
        top, bottom = sorted([draw(NUMBERS), draw(NUMBERS)])
        boxes.append([left, top, right, bottom])
        points = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=5, max_size=5)
        landmarks.append(np.array(draw(points)))
        scores.append(draw(st.none() | st.floats(0, 1)))
        head_angles.append(draw(st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS).map(np.array)))
        pose = st.tuples(*[NUMBERS] * 5, depths).map(np.array)
        poses.append(draw(st.none() | pose))
        visibility.append(draw(st.none() | st.floats(0, 1)))
        flags = st.lists(st.booleans(), min_size=5, max_size=5).map(np.array)
        seen.append(draw(st.none() | flags))
    name = draw(st.text(st.characters(exclude_categories=["C"]), min_size=1))
    image_path = name if name.strip() else "image.png"
    return Annotation(
        image_path,
        np.array(boxes),
        tuple(landmarks),
        Path("drawn"),
        tuple(scores),
        tuple(head_angles),
        draw(st.none() | st.text(st.characters(exclude_categories=["C"]))),
        tuple(poses),
        tuple(visibility),
        tuple(seen),
    )


@settings(max_examples=50, deadline=None)
@given(annotation=drawn_annotations())
def test_what_is_written_comes_back(
    annotation: Annotation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("annotation") / "a.json"
    write_annotation(path, annotation)
    back = read_annotation(path)
    assert back.image_path == annotation.image_path
    assert back.scores == annotation.scores
    assert back.source == path
    np.testing.assert_array_equal(back.boxes_xyxy, annotation.boxes_xyxy)
    np.testing.assert_array_equal(back.landmarks, annotation.landmarks)
    assert back.label_source == annotation.label_source
    for angles, expected in zip(back.head_angles, annotation.head_angles, strict=True):
        assert (angles is None) == (expected is None)
        assert angles is None or (angles == expected).all()
    assert back.visibility == annotation.visibility
    for name in ("poses", "landmark_visibility"):
        for value, expected in zip(getattr(back, name), getattr(annotation, name), strict=True):
            assert (value is None) == (expected is None)
            assert value is None or (value == expected).all()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(
    value=JSON_VALUES
    | st.fixed_dictionaries(
        {"image_path": JSON_VALUES, "bboxes": JSON_VALUES, "landmarks": JSON_VALUES}
    )
    | st.builds(
        lambda known: json.loads(
            face_json(poses=known, visibility=known, landmark_visibility=known)
        ),
        JSON_VALUES,
    )
    | st.builds(
        lambda angles: json.loads(face_json(pose_para=angles, label_source=angles)), JSON_VALUES
    )
)
def test_any_json_is_read_or_refused_in_one_line(value: Any) -> None:
    try:
        parse_annotation(json.dumps(value), "some.json")
    except InputError as error:
        assert str(error).startswith("some.json: ")
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"some\.json"):
        parse_annotation(text, "some.json")


def test_shapes_types_and_unknown_keys() -> None:
    points_68 = np.arange(136.0).reshape(68, 2).tolist()
    annotation = parse_annotation(
        json.dumps(
            {
                "image_path": "x/y.png",
                "bboxes": [[0, 0, 5, 5, 0.5], [1, 2, 3, 4]],
                "landmarks": [points_68, [[-1, -1]] * 5],
                "pose_para": [[0.1, -0.2, 0.3, 9, 9, 9, 9], None],
                "label_source": "by hand",
                "comment": {"any": "thing"},
            }
        ),
        "a.json",
    )
    assert len(annotation) == 2
    assert annotation.boxes_xyxy.dtype == np.float64
    assert [len(points) for points in annotation.landmarks] == [68, 5]
    assert annotation.scores == (0.5, None)
    assert annotation.has_landmarks.tolist() == [True, False]
    np.testing.assert_array_equal(annotation.head_angles[0], [0.1, -0.2, 0.3])
    assert annotation.head_angles[1] is None
    assert annotation.label_source == "by hand"


def test_angles_of_a_single_face_stand_alone_and_others_are_refused() -> None:
    annotation = parse_annotation(face_json(pose_para=[0.5, 0, -0.5, 1]), "a")
    np.testing.assert_array_equal(annotation.head_angles, [[0.5, 0, -0.5]])
    for wrong in ([[0.1, 0.2]], [None, None], [["a", 1, 2]], {"yaw": 1}, [1, 2], [[1e999, 0, 0]]):
        text = face_json(pose_para=wrong).replace("Infinity", "1e999")
        with pytest.raises(InputError, match=r"^a: .*(pose_para|number)"):
            parse_annotation(text, "a")


def test_one_unknown_coordinate_makes_a_face_without_pose() -> None:
    points = [[*FIVE[0]], *FIVE[1:4], [2.5, -1]]
    assert parse_annotation(face_json(landmarks=[points]), "a").has_landmarks.tolist() == [False]


def test_an_image_without_faces_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(face_json(bboxes=[], landmarks=[]))
    annotation = read_annotation(tmp_path / "a.json")
    assert annotation.boxes_xyxy.shape == (0, 4)
    assert annotation.has_landmarks.shape == (0,)


def test_a_box_without_area_is_allowed() -> None:
    assert len(parse_annotation(face_json(bboxes=[[5, 5, 5, 9]]), "a")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON annotation"),
        ("[" * 100_000, "not a JSON annotation"),
        ("[1]", "a JSON object .* expected, not a list"),
        ('{"bboxes": [], "landmarks": []}', 'lacks the key "image_path"'),
        ('{"image_path": "a", "landmarks": []}', 'lacks the key "bboxes"'),
        ('{"image_path": "a", "bboxes": []}', 'lacks the key "landmarks"'),
        (face_json(image_path=3), '"image_path" must be a string'),
        (face_json(image_path=" "), "is not a path"),
        (face_json(image_path="a\0b"), "is not a path"),
        (face_json(image_path="\ud800"), "is not a path"),
        (face_json(bboxes={"0": 1}), '"bboxes" must be a list'),
        (face_json(bboxes=[5]), "face 0: a box"),
        (face_json(bboxes=[[1, 2, 3]]), "face 0: a box"),
        (face_json(bboxes=[[1, 2, 3, "4"]]), "face 0: a number expected"),
        (face_json(bboxes=[[1, 2, 3, True]]), "face 0: a number expected"),
        (face_json(bboxes=[[1, 2, 3, None]]), "face 0: a number expected"),
        (face_json(bboxes=[[1, 2, 3, 4], [0, 0, 1, 1]]), "2 bboxes but 1 sets of landmarks"),
        (face_json(bboxes=[[10, 1, 5, 4]]), "face 0: box .* ends before it begins"),
        (face_json(bboxes=[[1, 10, 4, 5]]), "face 0: box .* ends before it begins"),
        (face_json(landmarks=[[]]), "face 0: 5 or 68 landmarks"),
        (face_json(landmarks=[FIVE + FIVE[:2]]), "face 0: 5 or 68 landmarks"),
        (face_json(landmarks=[[[1, 2, 3]] * 5]), "face 0: landmarks"),
        (face_json(landmarks=[7]), "face 0: landmarks"),
        (face_json(bboxes=[[1, 2, 3, float("nan")]]), "NaN is not allowed"),
        (face_json(landmarks=[[[1, float("-inf")]] * 5]), "-Infinity is not allowed"),
        (face_json(bboxes=[[1, 2, 3, 4, float("inf")]]), "Infinity is not allowed"),
        (face_json().replace("11]", "1e999]"), "face 0: has NaN or infinity"),
        (face_json().replace("11]", "1" + 400 * "0" + "]"), "face 0: has NaN or infinity"),
        (face_json().replace("11]", 5000 * "1" + "]"), "not a JSON annotation"),
    ],
)
def test_wrong_annotations_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_annotation(text, "some/file.json")
    assert str(caught.value).startswith("some/file.json: ")
    assert "\n" not in str(caught.value)


def test_unreadable_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: is not there"):
        read_annotation(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bytes\.json: cannot be read"):
        read_annotation(tmp_path / "bytes.json")
    with pytest.raises(InputError, match="is not a file"):
        read_annotation(tmp_path)


def test_lists_are_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    for name in ("b.json", "a.json"):
        (tmp_path / name).touch()
    write_annotation_list(tmp_path / "lists/l.txt", ["b.json", "a.json"])
    monkeypatch.chdir(tmp_path)
    assert read_annotation_list("lists/l.txt") == (Path("b.json"), Path("a.json"))
    monkeypatch.chdir(tmp_path / "lists")
    with pytest.raises(InputError, match=r"l\.txt: line 1: b\.json is not there; .* current"):
        read_annotation_list("l.txt")
    assert len(read_annotation_list("l.txt", check_files=False)) == 2


def test_lists_may_have_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbf" + f"{tmp_path}/a.json\r\n\r\n".encode())
    assert read_annotation_list(tmp_path / "l.txt") == (tmp_path / "a.json",)


@pytest.mark.parametrize("text", ["", "\n  \n"])
def test_empty_lists_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(InputError, match=r"l\.txt: names no annotation"):
        read_annotation_list(tmp_path / "l.txt")


def test_missing_or_binary_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"l\.txt: is not there"):
        read_annotation_list(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_bytes(b"a\0b")
    with pytest.raises(InputError, match=r"l\.txt: line 1 is not a path"):
        read_annotation_list(tmp_path / "l.txt")


@pytest.mark.parametrize("entry", ["a\nb.json", "a\rb.json", " a.json", "a.json "])
def test_paths_that_a_list_cannot_hold_are_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(InputError, match="cannot list"):
        write_annotation_list(tmp_path / "l.txt", [entry])
    assert not (tmp_path / "l.txt").exists()


def test_unknown_landmarks_have_no_pose() -> None:
    annotation = Annotation("a.jpg", np.zeros((1, 4)), (unknown_landmarks(),), Path("a"))
    assert annotation.has_landmarks.tolist() == [False]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set with an image and links, beside files that are none of its own."""
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (tmp_path / "root_two").mkdir()
    for path in (root / "in/a.jpg", tmp_path / "secret.jpg", tmp_path / "root_two/a.jpg"):
        path.write_bytes(b"image")
    (root / "inner.jpg").symlink_to("in/a.jpg")
    (root / "outer.jpg").symlink_to("../secret.jpg")
    (root / "outer").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    return root


@pytest.mark.parametrize(
    "inside", ["in/a.jpg", "in/../in/a.jpg", "./in//a.jpg", "inner.jpg", "in/none.jpg", "{root}/x"]
)
def test_images_inside_the_root_are_found(root: Path, inside: str) -> None:
    image_path = inside.format(root=root)
    assert resolve_image(root, image_path, "a.json") == root / image_path


@pytest.mark.parametrize(
    "outside",
    [
        "../secret.jpg",
        "../none.jpg",
        "../root_two/a.jpg",
        "in/../../secret.jpg",
        "{root}/../secret.jpg",
        "/etc/passwd",
        "outer.jpg",
        "outer/secret.jpg",
        "outer/none.jpg",
        "..",
    ],
)
def test_images_outside_the_root_are_refused_unless_allowed(root: Path, outside: str) -> None:
    image_path = outside.format(root=root)
    with pytest.raises(InputError, match=r"^a\.json: image .* lies outside .* --allow_outside"):
        resolve_image(root, image_path, "a.json")
    if outside != "..":
        assert resolve_image(root, image_path, "a.json", allow_outside=True) == root / image_path


def test_the_root_may_be_a_link_and_relative(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "link").symlink_to(root)
    monkeypatch.chdir(root.parent)
    assert resolve_image("link", "in/a.jpg", "a.json") == Path("link/in/a.jpg")
    with pytest.raises(InputError, match="lies outside link"):
        resolve_image("link", "../secret.jpg", "a.json")


@pytest.mark.parametrize("odd", ["in", "loop", "a" * 5000, "a\0b", "", "fifo"])
@pytest.mark.parametrize("allow_outside", [False, True])
def test_what_is_no_file_is_refused(root: Path, odd: str, allow_outside: bool) -> None:
    os.mkfifo(root / "fifo")
    try:
        path = resolve_image(root, odd, "a.json", allow_outside)
    except InputError as error:
        assert str(error).startswith("a.json: ")
        assert "\n" not in str(error)
    else:
        assert odd == "loop"
        assert not path.is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poses": [[0, 0, 0, 0, 0]]}, "six finite numbers"),
        ({"poses": [[0, 0, 0, 0, 0, -1]]}, "before the camera"),
        ({"poses": []}, None),
        ({"poses": [None, None]}, "1 bboxes but 2 poses"),
        ({"poses": {"a": 1}}, "poses must be a list"),
        ({"poses": ["front"]}, "list of numbers"),
        ({"visibility": [1.5]}, "between 0 and 1"),
        ({"visibility": ["all"]}, "number expected"),
        ({"visibility": [0.5, 0.5]}, "2 visibility"),
        ({"landmark_visibility": [[1, 0]]}, "each of 5 landmarks"),
        ({"landmark_visibility": [[1, 0, 2, 1, 1]]}, "0 or 1"),
        ({"landmark_visibility": [None]}, None),
    ],
)
def test_poses_and_visibility_are_checked(changes: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert parse_annotation(face_json(**changes), "a.json").poses == (None,)
        return
    with pytest.raises(InputError, match=message) as caught:
        parse_annotation(face_json(**changes), "a.json")
    assert str(caught.value).startswith("a.json: ")
