"""Comparing training samples."""

from __future__ import annotations

import torch

from img2pose.data.datasets import Sample


def assert_same(one: Sample, other: Sample) -> None:
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.targets.boxes_xyxy, other.targets.boxes_xyxy)
    assert torch.equal(one.targets.poses_in_image, other.targets.poses_in_image)
    assert (one.seed, one.records, one.unreadable) == (other.seed, other.records, other.unreadable)
