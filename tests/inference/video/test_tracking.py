"""Numbers that stay with their faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.errors import InputError
from img2pose.inference.video.tracking import FaceTracker, TrackingSettings

STEP_S = 0.04


def box_at(x: float, y: float, size: float = 40) -> list[float]:
    return [x, y, x + size, y + size]


def test_numbers_follow_faces_whatever_the_order_of_the_boxes() -> None:
    tracker = FaceTracker(TrackingSettings())
    rng = np.random.default_rng(0)
    for frame in range(30):
        boxes = np.array([box_at(10 + 5 * frame, 20), box_at(300 - 5 * frame, 100)])
        # The first frame gives out the numbers.
        order = rng.permutation(2) if frame else np.arange(2)
        numbers = tracker.update(frame * STEP_S, boxes[order])
        np.testing.assert_array_equal(numbers, order + 1)


def test_faces_that_pass_each_other_keep_their_numbers() -> None:
    tracker = FaceTracker(TrackingSettings())
    for frame in range(41):
        left, right = box_at(6 * frame, 50), box_at(240 - 6 * frame, 60)
        numbers = tracker.update(frame * STEP_S, np.array([left, right]))
        np.testing.assert_array_equal(numbers, [1, 2])


def test_a_face_may_be_missed_for_as_long_as_is_allowed() -> None:
    def number_after(missed: int) -> int:
        tracker = FaceTracker(TrackingSettings(max_gap_s=0.5))
        for frame in range(5):
            tracker.update(frame * STEP_S, np.array([box_at(4.0 * frame, 0)]))
        for frame in range(5, 5 + missed):
            assert tracker.update(frame * STEP_S, np.zeros((0, 4))).shape == (0,)
        last = 5 + missed
        return int(tracker.update(last * STEP_S, np.array([box_at(4.0 * last, 0)]))[0])

    assert number_after(5) == 1
    assert number_after(13) == 2


def test_times_count_and_not_frames() -> None:
    """A gap of one frame is long where frames are rare."""
    tracker = FaceTracker(TrackingSettings(max_gap_s=0.5))
    boxes = np.array([box_at(0, 0)])
    numbers = [int(tracker.update(t, boxes)[0]) for t in (0.0, 0.4, 0.8, 1.4, 1.6)]
    assert numbers == [1, 1, 1, 2, 2]


def test_what_overlaps_too_little_is_somebody_else() -> None:
    for least, number in ((0.3, 1), (0.4, 2)):
        tracker = FaceTracker(TrackingSettings(min_iou=least))
        tracker.update(0.0, np.array([box_at(0, 0)]))
        # Half of each: a third of both together.
        assert tracker.update(STEP_S, np.array([box_at(20, 0)])).tolist() == [number]


def test_boxes_without_area_are_numbered_too() -> None:
    tracker = FaceTracker(TrackingSettings())
    point = np.array([[5.0, 5, 5, 5]])
    assert tracker.update(0.0, point).tolist() == [1]
    assert tracker.update(STEP_S, point).tolist() == [2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_numbers_are_new_or_known_unique_and_repeatable(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = [rng.uniform(0, 200, (rng.integers(0, 6), 2)) for _ in range(12)]
    frames = [np.concatenate([c, c + rng.uniform(1, 80, c.shape)], axis=1) for c in corners]
    first, second = FaceTracker(TrackingSettings()), FaceTracker(TrackingSettings())
    highest = 0
    for frame, boxes in enumerate(frames):
        numbers = first.update(frame * STEP_S, boxes)
        np.testing.assert_array_equal(numbers, second.update(frame * STEP_S, boxes))
        assert len(set(numbers.tolist())) == len(boxes)
        fresh = np.sort(numbers[numbers > highest])
        np.testing.assert_array_equal(fresh, highest + 1 + np.arange(len(fresh)))
        highest += len(fresh)


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"min_iou": 0.0}, "--track_iou"),
        ({"min_iou": float("nan")}, "--track_iou"),
        ({"max_gap_s": -1.0}, "--track_gap"),
        ({"max_gap_s": float("inf")}, "--track_gap"),
    ],
)
def test_settings_out_of_range_are_named(values: dict[str, float], flag: str) -> None:
    with pytest.raises(InputError, match=flag):
        TrackingSettings(**values)
