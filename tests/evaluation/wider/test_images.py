"""Which of WIDER's images are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from img2pose.errors import InputError
from img2pose.evaluation.wider.images import find_wider_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    for name in ("e/a.jpg", "e/b.JPG", "e/.c.jpg", "e/notes.txt", "f/d.png", "top.jpg"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    return images


def listed(folder: Path, text: str) -> Path:
    path = folder.parent / "list.txt"
    path.write_text(text)
    return path


def test_without_a_list_all_that_are_there(folder: Path) -> None:
    assert find_wider_images(folder) == {
        "e/a": folder / "e/a.jpg",
        "e/b": folder / "e/b.JPG",
        "f/d": folder / "f/d.png",
    }
    assert list(find_wider_images(folder, events=["f"])) == ["f/d"]


@pytest.mark.parametrize(
    "text",
    [
        "f/d.png\ne/a.jpg\n",
        "f/d.png\n1\n10 20 30 40 0 0 0 0 0 0\ne/a.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n",
        "# f/d.png\n10 20 30 40 -1.0 -1.0 0.89\n# e/a.jpg\n",
    ],
)
def test_lists_of_any_kind_give_their_images(folder: Path, text: str) -> None:
    assert list(find_wider_images(folder, listed(folder, text))) == ["f/d", "e/a"]


def test_missing_images_are_refused_unless_told_to(folder: Path) -> None:
    path = listed(folder, "e/a.jpg\ne/z.jpg\ng/y.jpg\n")
    with pytest.raises(InputError, match=r"e/z\.jpg: no such image \(2 of 3 .*--allow_missing"):
        find_wider_images(folder, path)
    assert list(find_wider_images(folder, path, allow_missing=True)) == ["e/a"]
    with pytest.raises(InputError, match=r"none of the 1 images of .*--dataset_path"):
        find_wider_images(folder, path, ["g"], allow_missing=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no image"),
        ("1 2 3\n", "names no image"),
        ("e/a.jpg\nwords\n", "line 2: neither an image's path nor numbers"),
        ("e/a.jpg\n/e/b.jpg\n", "line 2: EVENT/IMAGE.jpg expected"),
        ("../a.jpg\n", "line 1: EVENT/IMAGE.jpg expected"),
        ("a.jpg\n", "line 1: EVENT/IMAGE.jpg expected"),
        ("e/a.jpg\ne/a.jpg\n", "line 2: e/a.jpg is there twice"),
    ],
)
def test_malformed_lists_are_named_with_their_line(folder: Path, text: str, message: str) -> None:
    path = listed(folder, text)
    with pytest.raises(InputError) as caught:
        find_wider_images(folder, path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_names_must_tell_images_apart(folder: Path) -> None:
    (folder / "e/a.png").touch()
    with pytest.raises(InputError, match=r"e/a\.png: an image of this name is there twice"):
        find_wider_images(folder)


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="elsewhere: no such folder"):
        find_wider_images(folder / "elsewhere")
    with pytest.raises(InputError, match=r"gone\.txt: is not there"):
        find_wider_images(folder, folder / "gone.txt")
    with pytest.raises(InputError, match="has no image of the event g"):
        find_wider_images(folder, events=["e", "g"])
    with pytest.raises(InputError, match="no image EVENT/IMAGE there"):
        find_wider_images(folder / "e")
