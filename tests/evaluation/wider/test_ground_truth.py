"""WIDER's four files: what is in them comes back, what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from img2pose.errors import InputError
from img2pose.evaluation.wider.ground_truth import SUBSETS, read_ground_truth
from tests.wider_files import truth_variables, write_truth

FACES = {
    "0--Parade/a": ([[1, 2, 3, 4], [5, 6, 7, 8]], {"easy": [1], "medium": [1], "hard": [1, 2]}),
    "0--Parade/b": ([], {}),
    "4--Dancing/c": ([[9, 9, 9, 9]], {"hard": [1]}),
}


def test_boxes_and_subsets_come_back(tmp_path: Path) -> None:
    truth = read_ground_truth(write_truth(tmp_path, FACES))
    assert truth.names == tuple(FACES)
    assert truth.events == ("0--Parade", "4--Dancing")
    np.testing.assert_array_equal(truth.boxes_xywh[0], [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert truth.boxes_xywh[1].shape == (0, 4)
    assert [mask.tolist() for mask in truth.in_subset["easy"]] == [[True, False], [], [False]]
    assert [mask.tolist() for mask in truth.in_subset["hard"]] == [[True, True], [], [True]]
    part = truth.of_events(["4--Dancing"])
    assert part.names == ("4--Dancing/c",)
    assert set(part.in_subset) == set(SUBSETS)
    with pytest.raises(InputError, match="event 5--Cars: not in the ground truth"):
        truth.of_events(["4--Dancing", "5--Cars"])


def test_another_truth_has_another_hash(tmp_path: Path) -> None:
    one = read_ground_truth(write_truth(tmp_path / "one", FACES))
    other_faces = {**FACES, "4--Dancing/c": ([[9, 9, 9, 8]], {"hard": [1]})}
    other = read_ground_truth(write_truth(tmp_path / "other", other_faces))
    assert one.sha256 != other.sha256


Variables = dict[str, dict[str, np.ndarray]]


def _set(variable: str, *place: int, value: Any) -> Callable[[Variables], None]:
    def change(files: Variables) -> None:
        for variables in files.values():
            if variable in variables:
                cell = variables[variable]
                for index in place[:-1]:
                    cell = cell[index, 0]
                cell[place[-1], 0] = value

    return change


def _cut_list(files: Variables) -> None:
    for variables in files.values():
        variables["event_list"] = variables["event_list"][:1]


def _other_images(files: Variables) -> None:
    files["wider_hard_val.mat"] = truth_variables({"0--Parade/z": ([], {})})["wider_hard_val.mat"]


def _no_list(files: Variables) -> None:
    del files["wider_easy_val.mat"]["gt_list"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_cut_list, "its lists of events differ in length"),
        (_other_images, "wider_hard_val.mat: names other images"),
        (_no_list, "wider_easy_val.mat: lacks the variable gt_list"),
        (_set("event_list", 0, value="a/b"), "without a usable name"),
        (_set("event_list", 0, value=".."), "without a usable name"),
        (_set("event_list", 1, value="0--Parade"), None),
        (_set("file_list", 0, 0, value="b"), "0--Parade/b is there twice"),
        (_set("file_list", 1, value="c"), "must be a cell array"),
        (_set("file_list", 0, 0, value=np.ones((1, 1))), "without a usable name"),
        (_set("face_bbx_list", 0, 0, value=np.ones((2, 5))), "0--Parade/a: its boxes must be"),
        (_set("face_bbx_list", 0, 0, value="text"), "0--Parade/a: its boxes must be"),
        (_set("gt_list", 0, 0, value=np.array([[3.0]])), "0--Parade/a: lists a face that is not"),
        (_set("gt_list", 0, 0, value=np.array([[0.0]])), "0--Parade/a: lists a face that is not"),
        (_set("gt_list", 0, 0, value=np.array([[1.5]])), "0--Parade/a: lists a face that is not"),
        (_set("gt_list", 0, 0, value="text"), "must be a list of numbers"),
    ],
)
def test_files_that_do_not_fit_are_named(
    tmp_path: Path, change: Callable[[Variables], None], message: str | None
) -> None:
    files = truth_variables(FACES)
    change(files)
    for name, variables in files.items():
        scipy.io.savemat(tmp_path / name, variables)
    if message is None:
        # An event's images may be listed in two parts.
        assert read_ground_truth(tmp_path).events == ("0--Parade",)
        return
    with pytest.raises(InputError, match=message) as caught:
        read_ground_truth(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_truth(tmp_path, FACES)
    (tmp_path / "wider_medium_val.mat").unlink()
    with pytest.raises(InputError, match=r"wider_medium_val\.mat: no such file; give"):
        read_ground_truth(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_ground_truth(tmp_path / "elsewhere")


def test_the_real_files_agree_with_scipy(shared: Path) -> None:
    folder = shared / "data" / "wider" / "ground_truth"
    truth = read_ground_truth(folder)
    theirs = scipy.io.loadmat(folder / "wider_easy_val.mat", variable_names=["gt_list"])["gt_list"]
    listed = [image[0].ravel() for event in theirs for image in event[0]]
    for mask, numbers in zip(truth.in_subset["easy"], listed, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(mask) + 1, numbers)
