from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from img2pose.config import OptimConfig
from img2pose.errors import InputError
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.references import PoseReferences
from img2pose.training.optimizer import build_optimizer, freeze, set_training
from tests.settings import PUBLISHED_STATS, SMALL_MODEL


def frozen_names(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if not p.requires_grad}


def test_a_prefix_freezes_what_lies_below_it(small_model: Img2Pose) -> None:
    freeze(small_model, ("backbone.body.layer1", "rpn.head.cls_logits.bias"))
    found = frozen_names(small_model)
    assert "backbone.body.layer1.0.conv1.weight" in found
    assert "rpn.head.cls_logits.weight" not in found
    names = [name for name, _ in small_model.named_parameters()]
    below = {name for name in names if name.startswith("backbone.body.layer1.")}
    assert found == below | {"rpn.head.cls_logits.bias"}


def test_a_prefix_ends_between_dots() -> None:
    model = nn.ModuleDict({"head": nn.Linear(1, 1), "header": nn.Linear(1, 1)})
    freeze(model, ("head",))
    assert frozen_names(model) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("prefix", ["backbone.body.layer", "backbone.", "", "roi", "conv1"])
def test_a_prefix_of_no_weights_is_refused(small_model: Img2Pose, prefix: str) -> None:
    with pytest.raises(InputError, match=rf"^frozen: '{prefix}' names no.*rpn\.head") as error:
        freeze(small_model, (prefix,))
    assert len(str(error.value).splitlines()) == 1


def test_something_has_to_be_left_to_train(small_model: Img2Pose) -> None:
    with pytest.raises(InputError, match="no weights are left"):
        freeze(small_model, ("backbone", "rpn", "roi_heads"))


def test_frozen_weights_are_not_optimized_and_get_no_gradient(small_model: Img2Pose) -> None:
    freeze(small_model, ("backbone.body",))
    optimizer = build_optimizer(small_model, OptimConfig())
    optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
    names = {name for name, p in small_model.named_parameters() if id(p) in optimized}
    trained = {name for name, _ in small_model.named_parameters()} - frozen_names(small_model)
    assert names == trained
    assert not any(name.startswith("backbone.body") for name in names)


def test_batch_norms_with_frozen_weights_stay_in_evaluation(references: PoseReferences) -> None:
    settings = {**SMALL_MODEL, "norm": "batch_norm", "pose_norm": "batch_norm"}
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings)
    freeze(model, ("backbone.body.layer2",))
    model.eval()
    set_training(model)
    body = model.backbone.body
    norms = {name: m for name, m in body.named_modules() if isinstance(m, _BatchNorm)}
    in_evaluation = {name for name, norm in norms.items() if not norm.training}
    assert in_evaluation == {name for name in norms if name.startswith("layer2.")}
    assert len(in_evaluation) == 5
    assert model.training
    assert model.rpn.training
    assert model.roi_heads.box_predictor.dof_pred[1].training
    before = {name: norm.state_dict()["running_mean"].clone() for name, norm in norms.items()}
    body(torch.rand(2, 3, 64, 64))
    after = {name: norm.state_dict()["running_mean"] for name, norm in norms.items()}
    moved = {name for name, mean in after.items() if not torch.equal(mean, before[name])}
    assert moved == norms.keys() - in_evaluation


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("norm", ["batch_norm", "group_norm"])
def test_weight_decay_spares_norms_and_biases_alone(
    references: PoseReferences, optimizer: str, norm: str
) -> None:
    settings = {**SMALL_MODEL, "norm": norm}
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings)
    config = OptimConfig(optimizer=optimizer, weight_decay=0.3, decay_norms_and_biases=False)
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, spared = build_optimizer(model, config).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    multiplied = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    assert {names[id(p)] for p in decayed["params"]} == multiplied
    assert {names[id(p)] for p in spared["params"]} == set(names.values()) - multiplied
    (everything,) = build_optimizer(model, OptimConfig(weight_decay=0.3)).param_groups
    assert everything["weight_decay"] == 0.3
    assert len(everything["params"]) == len(names)


@pytest.mark.parametrize(
    ("lr_batch_size", "step_size", "rate"),
    [(16, 64, 0.4), (16, 16, 0.1), (16, 4, 0.025), (0, 64, 0.1), (16, None, 0.1)],
)
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_the_rate_grows_with_the_pictures_of_a_step(
    optimizer: str, lr_batch_size: int, step_size: int | None, rate: float
) -> None:
    config = OptimConfig(
        optimizer=optimizer, lr=0.1, lr_batch_size=lr_batch_size, decay_norms_and_biases=False
    )
    built = build_optimizer(nn.Linear(2, 2), config, step_size)
    assert [group["lr"] for group in built.param_groups] == pytest.approx([rate, rate])


def test_settings_of_sgd_reach_it() -> None:
    model = nn.Linear(2, 2)
    built = build_optimizer(model, OptimConfig(lr=0.5, momentum=0.8, weight_decay=0.1))
    assert isinstance(built, torch.optim.SGD)
    assert (built.defaults["momentum"], built.defaults["weight_decay"]) == (0.8, 0.1)
