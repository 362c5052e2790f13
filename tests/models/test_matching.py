from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.ops import box_iou

from img2pose.models.matching import (
    BACKGROUND,
    FOREGROUND,
    IGNORED,
    match_boxes,
    sample_balanced,
)


def whole_pixel_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Boxes on so coarse a grid that equal overlaps are common."""
    corner = torch.randint(0, 12, (count, 2), generator=generator)
    side = torch.randint(1, 10, (count, 2), generator=generator)
    return torch.cat([corner, corner + side], 1).float()


@given(
    seed=st.integers(0, 2**32 - 1),
    faces=st.integers(1, 6),
    count=st.integers(1, 60),
    ious=st.sampled_from([(0.5, 0.5), (0.5, 0.3), (0.7, 0.1)]),
    best_always=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_faces_and_labels_are_torchvisions(
    seed: int, faces: int, count: int, ious: tuple[float, float], best_always: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = whole_pixel_boxes(count, generator)
    face_boxes = whole_pixel_boxes(faces, generator)
    overlap = box_iou(face_boxes, boxes)
    touched = overlap.amax(1) > 0
    # Its matcher raises every box that touches no face to the best of a face none touches.
    face_boxes, overlap = face_boxes[touched], overlap[touched]
    foreground_iou, background_iou = ious
    face, label = match_boxes(
        face_boxes,
        boxes,
        foreground_iou=foreground_iou,
        background_iou=background_iou,
        best_always=best_always,
    )
    if len(face_boxes) == 0:
        assert (label == BACKGROUND).all()
        return
    expected = Matcher(foreground_iou, background_iou, best_always)(overlap)
    is_foreground = expected >= 0
    assert torch.equal(label == FOREGROUND, is_foreground)
    assert torch.equal(label == BACKGROUND, expected == Matcher.BELOW_LOW_THRESHOLD)
    assert torch.equal(label == IGNORED, expected == Matcher.BETWEEN_THRESHOLDS)
    assert torch.equal(face[is_foreground], expected[is_foreground])
    assert torch.equal(face, overlap.argmax(0))


def test_labels_by_hand() -> None:
    face_boxes = torch.tensor([[0.0, 0, 10, 10], [100, 100, 110, 110]])
    boxes = torch.tensor(
        [
            [0.0, 0, 10, 10],  # the first face
            [0, 0, 10, 5],  # half of it: at the threshold is foreground
            [0, 0, 10, 4],  # 0.4: between
            [0, 0, 10, 3],  # 0.3: at the lower threshold is not below it
            [0, 0, 10, 2],  # 0.2
            [50, 50, 60, 60],  # nothing
            [100, 100, 110, 101],  # 0.1 of the second face, which no other box touches
        ]
    )
    limits = {"foreground_iou": 0.5, "background_iou": 0.3}
    face, label = match_boxes(face_boxes, boxes, **limits)
    assert label.tolist() == [1, 1, -1, -1, 0, 0, 0]
    assert face[[0, 1, 2, 3, 4, 6]].tolist() == [0, 0, 0, 0, 0, 1]
    _, label = match_boxes(face_boxes, boxes, **limits, best_always=True)
    assert label.tolist() == [1, 1, -1, -1, 0, 0, 1]


@pytest.mark.parametrize("best_always", [False, True])
def test_without_faces_all_boxes_are_background(best_always: bool) -> None:
    face, label = match_boxes(
        torch.zeros(0, 4),
        torch.rand(7, 4),
        foreground_iou=0.5,
        background_iou=0.5,
        best_always=best_always,
    )
    assert face.tolist() == [0] * 7
    assert label.tolist() == [BACKGROUND] * 7
    assert face.dtype == label.dtype == torch.int64


def test_a_face_that_no_box_touches_has_no_best_one() -> None:
    # torchvision calls all boxes that touch nothing its best and so foreground.
    face_boxes = torch.tensor([[0.0, 0, 10, 10], [500, 500, 510, 510]])
    boxes = torch.tensor([[0.0, 0, 10, 8], [40, 40, 50, 50], [60, 60, 70, 70]])
    theirs = Matcher(0.5, 0.3, allow_low_quality_matches=True)(box_iou(face_boxes, boxes))
    assert (theirs >= 0).tolist() == [True, True, True]
    _, label = match_boxes(
        face_boxes, boxes, foreground_iou=0.5, background_iou=0.3, best_always=True
    )
    assert label.tolist() == [FOREGROUND, BACKGROUND, BACKGROUND]


def assert_is_a_draw(
    labels: Tensor, index: Tensor, is_drawn: Tensor, count: int, fraction: float
) -> None:
    """One row: what `sample_balanced` promises."""
    slots = min(count, len(labels))
    assert index.shape == is_drawn.shape == (slots,)
    assert ((index >= 0) & (index < len(labels))).all()
    drawn = index[is_drawn]
    assert len(drawn.unique()) == len(drawn)
    kinds = labels[drawn]
    assert (kinds != IGNORED).all()
    assert kinds.tolist() == sorted(kinds.tolist(), reverse=True)  # foreground first
    assert is_drawn.tolist() == sorted(is_drawn.tolist(), reverse=True)  # left over slots last
    positives, negatives = (
        mask[0].sum() for mask in BalancedPositiveNegativeSampler(count, fraction)([labels])
    )
    assert (kinds == FOREGROUND).sum() == positives
    assert (kinds == BACKGROUND).sum() == negatives
    assert positives <= count * fraction
    if (labels == BACKGROUND).sum() >= count:
        assert is_drawn.all()


@given(
    labels=st.lists(st.sampled_from([FOREGROUND, BACKGROUND, IGNORED]), min_size=1, max_size=40),
    count=st.integers(1, 50),
    fraction=st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_a_draw_is_balanced_and_without_doubles(
    labels: list[int], count: int, fraction: float, seed: int
) -> None:
    torch.manual_seed(seed)
    row = torch.tensor(labels)
    assert_is_a_draw(
        row, *sample_balanced(row, torch.rand(row.shape), count, fraction), count, fraction
    )


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_every_row_of_a_batch_is_a_draw_of_its_own(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 2, (2, 3, 20), generator=generator)
    labels[0, 0], labels[0, 1], labels[0, 2] = FOREGROUND, BACKGROUND, IGNORED
    torch.manual_seed(seed)
    index, is_drawn = sample_balanced(labels, torch.rand(labels.shape), count, 0.5)
    assert index.shape == is_drawn.shape == (2, 3, min(count, 20))
    rows = (tensor.flatten(0, 1) for tensor in (labels, index, is_drawn))
    for row in zip(*rows, strict=True):
        assert_is_a_draw(*row, count, 0.5)


def test_shares_by_hand() -> None:
    def drawn(foreground: int, background: int, ignored: int = 3) -> list[int]:
        labels = torch.tensor([1] * foreground + [0] * background + [-1] * ignored)
        index, is_drawn = sample_balanced(labels, torch.rand(labels.shape), 8, 0.25)
        return labels[index[is_drawn]].tolist()

    assert drawn(10, 10) == [1, 1] + [0] * 6
    assert drawn(1, 10) == [1] + [0] * 7
    assert drawn(0, 10) == [0] * 8
    assert drawn(10, 3) == [1, 1, 0, 0, 0]
    assert drawn(10, 0) == [1, 1]
    assert drawn(0, 0) == []


@pytest.mark.parametrize("value", [FOREGROUND, BACKGROUND, IGNORED])
@pytest.mark.parametrize("size", [4, 16, 100])
def test_the_shape_does_not_depend_on_the_labels(value: int, size: int) -> None:
    index, is_drawn = sample_balanced(torch.full((3, size), value), torch.rand(3, size), 16, 0.25)
    assert index.shape == is_drawn.shape == (3, min(16, size))
    assert index.dtype == torch.int64
    assert is_drawn.dtype == torch.bool


def test_every_candidate_is_drawn_equally_often_in_every_row() -> None:
    torch.manual_seed(0)
    repeats = 4000
    one = torch.tensor([FOREGROUND] * 10 + [BACKGROUND] * 20 + [IGNORED] * 5)
    other = torch.tensor([BACKGROUND] * 30 + [FOREGROUND] * 2 + [IGNORED] * 3)
    labels = torch.stack([one, other]).repeat(repeats, 1)
    index, is_drawn = sample_balanced(labels, torch.rand(labels.shape), 8, 0.5)
    times = torch.zeros(labels.shape).scatter_add_(1, index, is_drawn.float())
    times = times.view(repeats, 2, -1).sum(0)
    shares = {
        (0, FOREGROUND): 4 / 10,
        (0, BACKGROUND): 4 / 20,
        (1, FOREGROUND): 1.0,
        (1, BACKGROUND): 6 / 30,
    }
    for (row, kind), share in shares.items():
        counts = times[row, labels[row] == kind]
        # Five deviations: a uniform draw fails for one seed in tens of thousands.
        limit = 5 * (repeats * share * (1 - share)) ** 0.5
        assert (counts - repeats * share).abs().max() <= limit
    assert times[0, one == IGNORED].sum() == times[1, other == IGNORED].sum() == 0
