from __future__ import annotations

from typing import Any

import pytest
import torch

from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.references import PoseReferences
from img2pose.training.averaging import WeightAverage
from tests.settings import PUBLISHED_STATS, SMALL_MODEL


@pytest.fixture
def model(references: PoseReferences) -> Img2Pose:
    settings: dict[str, Any] = {**SMALL_MODEL, "norm": "batch_norm"}
    built = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings)
    built.train()
    return built


@torch.no_grad()
def fill(model: Img2Pose, value: float) -> None:
    for parameter in model.parameters():
        parameter.fill_(value)


def assert_filled(model: Img2Pose, value: float) -> None:
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, value), msg=name)


def test_the_average_by_hand(model: Img2Pose) -> None:
    fill(model, 8.0)
    average = WeightAverage(model, decay=0.15)
    assert_filled(average.model, 8.0)
    fill(model, 1.0)
    average.update(model, 0)
    # Of the beginning 1 / 10 is left after the first step, less than `decay`.
    assert_filled(average.model, 0.1 * 8 + 0.9 * 1)
    fill(model, 2.0)
    average.update(model, 1)
    # 2 / 11 would be more than `decay`.
    assert_filled(average.model, 0.15 * 1.7 + 0.85 * 2)


def test_after_its_warm_up_the_average_forgets_by_its_decay(model: Img2Pose) -> None:
    fill(model, 1.0)
    average = WeightAverage(model, decay=0.999)
    fill(model, 0.0)
    average.update(model, 90)
    assert_filled(average.model, 0.91)
    average.update(model, 10**6)
    assert_filled(average.model, 0.91 * 0.999)


def test_buffers_are_those_of_the_last_step_and_the_source_stays(model: Img2Pose) -> None:
    average = WeightAverage(model, decay=0.9)
    for name, buffer in model.named_buffers():
        if "running_" in name:
            buffer.fill_(3.5)
        elif name.endswith("num_batches_tracked"):
            buffer.fill_(7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [parameter.requires_grad for parameter in model.parameters()]
    average.update(model, 5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == gradients
    assert model.training
    found = dict(average.model.named_buffers())
    assert (found["backbone.body.bn1.running_mean"] == 3.5).all()
    assert found["backbone.body.bn1.num_batches_tracked"] == 7
    assert all(torch.equal(buffer, found[name]) for name, buffer in model.named_buffers())


def test_the_average_is_a_model_in_evaluation_that_nothing_trains(model: Img2Pose) -> None:
    average = WeightAverage(model, decay=0.9).model
    assert not any(module.training for module in average.modules())
    assert not any(parameter.requires_grad for parameter in average.parameters())
    own = {parameter.data_ptr() for parameter in average.parameters()}
    assert not own & {parameter.data_ptr() for parameter in model.parameters()}
