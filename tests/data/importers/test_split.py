"""Validation sets: complete, stable, and no photograph on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from img2pose.data.importers import pts, w300lp
from img2pose.data.importers.split import split_images
from img2pose.errors import InputError


def stems_of(image_paths: list[str]) -> list[str]:
    return [Path(path).stem for path in image_paths]


def test_a_split_is_complete_seeded_and_in_order() -> None:
    images = [f"image_{k:03}.jpg" for k in range(50)]
    train, val = split_images(images, 20, 42, "")
    assert (len(train), len(val)) == (30, 20)
    assert sorted(train + val) == images
    assert train == sorted(train)
    assert split_images(images, 20, 42, "")[1] == val
    assert split_images(images, 20, 43, "")[1] != val


def test_the_split_of_published_figures_stays() -> None:
    images = [f"{number}_1.jpg" for number in range(200, 212)]
    val = split_images(images, 4, 42, pts.SAME_PHOTO_PATTERN)[1]
    assert stems_of(val) == ["201_1", "204_1", "205_1", "211_1"]


def test_faces_of_one_photograph_stay_together() -> None:
    images = [f"{photo}_{k}.jpg" for photo in range(30) for k in (1, 2)]
    train, val = split_images(images, 20, 1, pts.SAME_PHOTO_PATTERN)
    photos = [{stem.split("_")[0] for stem in stems_of(part)} for part in (train, val)]
    assert len(val) == 20
    assert not photos[0] & photos[1]
    with pytest.raises(InputError, match="without parting faces"):
        split_images(images, 21, 1, pts.SAME_PHOTO_PATTERN)
    assert len(split_images(images, 21, 1, "")[1]) == 21


def test_views_and_mirror_images_of_300w_lp_stay_with_their_photograph() -> None:
    photographs = ["AFW_134212", "HELEN_1629243", "IBUG_image_008", "LFPW_image_train_0001"]
    faces = {"AFW_134212": ("_1", "_2"), "IBUG_image_008": ("", "_1")}
    views = {
        photograph: [
            f"{photograph.split('_')[0]}{folder}/{photograph}{face}_{view}.jpg"
            for face in faces.get(photograph, ("",))
            for view in range(4)
            for folder in ("", "_Flip")
        ]
        for photograph in photographs
    }
    images = [path for paths in views.values() for path in paths]
    train, val = split_images(images, 16, 5, w300lp.SAME_PHOTO_PATTERN)
    for paths in views.values():
        assert set(paths) <= set(train) or set(paths) <= set(val)


@pytest.mark.parametrize("count", [-1, 3, 4])
def test_a_split_that_leaves_nothing_to_train_on_is_refused(count: int) -> None:
    with pytest.raises(InputError, match="leave at least one"):
        split_images(["a.jpg", "b.jpg", "c.jpg"], count, 1, "")


@pytest.mark.parametrize("pattern", ["(", "no_group"])
def test_unusable_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="same-photo pattern"):
        split_images(["a.jpg", "b.jpg", "c.jpg"], 1, 1, pattern)
