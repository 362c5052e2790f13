from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import box_iou

from img2pose.geometry import image_intrinsics
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.losses import pose_losses
from img2pose.models.roi_heads import PoseRoIHeads
from img2pose.references import PoseReferences
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

SIZE_HW = (96, 128)
CHANNELS = SMALL_MODEL["fpn_channels"]


class OperationsThatWait(TorchDispatchMode):
    """Counts the operations whose result's size or value the host must know: a GPU is waited for.

    torch tags its own by these properties. torchvision's suppression has no tag, and indexing is
    of this kind only with a mask.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = func.overloadpacket._qualified_op_name
        waits = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output} & set(func.tags)
        if name.startswith("aten::index"):
            indices = args[1] if isinstance(args[1], (list, tuple)) else []
            waits = any(index is not None and index.dtype == torch.bool for index in indices)
        if waits or name == "torchvision::nms":
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


class WaysToTheHost(TorchFunctionMode):
    """Counts the methods that bring a tensor to the host, which on a CPU are no operations."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("tolist", "numpy", "__array__", "cpu"):
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted_waits() -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    with WaysToTheHost() as methods, OperationsThatWait() as operations:
        yield counts
    counts.update(methods.seen + operations.seen)


def feature_levels(images: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(
            images, CHANNELS, SIZE_HW[0] // stride, SIZE_HW[1] // stride, generator=generator
        )
        for name, stride in zip(("0", "1", "2", "3", "pool"), (4, 8, 16, 32, 64), strict=True)
    }


def proposals_of(images: int, count: int = 40) -> list[Tensor]:
    """Random boxes (count, 4) an image in its left half."""
    generator = torch.Generator().manual_seed(1)
    low = torch.rand(images, count, 2, generator=generator) * torch.tensor([30.0, 60.0])
    side = 5 + 25 * torch.rand(images, count, 2, generator=generator)
    return list(torch.cat([low, low + side], -1))


def targets_of(*faces: int) -> list[dict[str, Tensor]]:
    """As many faces an image, in its right half, where no proposal is."""
    targets = []
    for count in faces:
        top = 12.0 * torch.arange(count)[:, None]
        box = torch.tensor([[90.0, 0, 120, 10]]) + top * torch.tensor([[0.0, 1, 0, 1]])
        pose = torch.tensor([[0.0, 0.2, 0, 1, 0.5, 9]]).repeat(count, 1)
        labels = torch.ones(count, dtype=torch.int64)
        targets.append({"boxes": box, "labels": labels, "dofs": pose})
    return targets


@pytest.fixture
def heads(small_model: Img2Pose) -> PoseRoIHeads:
    small_model.roi_heads.score_thresh = 0.0
    return small_model.roi_heads.eval()


def test_the_count_sees_what_waits() -> None:
    numbers = torch.arange(4.0)
    with counted_waits() as counts:
        mask = numbers > 1
        numbers[mask]
        numbers[mask] = 0
        numbers[torch.tensor([0, 2])]
        numbers.masked_fill(mask, 1)
        torch.where(mask, numbers, 0)
        torch.where(mask)
        numbers.unique()
        bool(mask.any())
        numbers.sum().item()
        numbers.masked_select(mask)
        torch.equal(numbers, numbers)
        numbers.tolist()
        numbers.numpy()
    assert counts == {
        "aten::index": 1,
        "aten::index_put_": 1,
        "aten::nonzero": 1,
        "aten::_unique2": 1,
        "aten::_local_scalar_dense": 2,
        "aten::masked_select": 1,
        "aten::equal": 1,
        "tolist": 1,
        "numpy": 1,
    }


@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("score_threshold", [0.0, 0.5, 1.0])
def test_evaluation_waits_three_times_a_batch(
    heads: PoseRoIHeads, images: int, score_threshold: float
) -> None:
    heads.score_thresh = score_threshold
    levels, proposals = feature_levels(images), proposals_of(images)
    with torch.no_grad(), counted_waits() as counts:
        found, _ = heads(levels, proposals, [SIZE_HW] * images)
    assert counts == {"aten::nonzero": 1, "torchvision::nms": 1, "tolist": 1}
    assert len(found) == images
    assert all(len(faces["scores"]) > 0 for faces in found) == (score_threshold < 1)


@pytest.mark.parametrize("faces", [(1,), (0,), (2, 0, 1, 3), (0, 0, 0, 0)])
def test_training_waits_once_a_batch(heads: PoseRoIHeads, faces: tuple[int, ...]) -> None:
    heads.train()
    levels, proposals = feature_levels(len(faces)), proposals_of(len(faces))
    with counted_waits() as counts:
        heads(levels, proposals, [SIZE_HW] * len(faces), targets_of(*faces))
    assert counts == {"aten::nonzero": 1}


@pytest.mark.parametrize("positive_fraction", [0.5, 0.0])
def test_losses_of_all_proposals_by_hand(heads: PoseRoIHeads, positive_fraction: float) -> None:
    # So many are asked for that all are drawn, or without positives all of the background.
    heads.train()
    heads.fg_bg_sampler.batch_size_per_image = 1000
    heads.fg_bg_sampler.positive_fraction = positive_fraction
    levels, targets = feature_levels(2), targets_of(2, 1)
    shapes_hw = [SIZE_HW, (80, 124)]
    proposals = [
        torch.cat([boxes, target["boxes"] + torch.tensor([1.0, -1, 0, 1])])
        for boxes, target in zip(proposals_of(2), targets, strict=True)
    ]
    _, terms = heads(levels, proposals, shapes_hw, targets)
    losses = {name: term.mean() for name, term in terms.items()}

    boxes = [torch.cat([p, t["boxes"]]) for p, t in zip(proposals, targets, strict=True)]
    overlap = [box_iou(b, t["boxes"]) for b, t in zip(boxes, targets, strict=True)]
    label = torch.cat([(o.amax(1) >= 0.5).long() for o in overlap])
    assert label.sum() == 6  # each face and its neighbour
    image_index = torch.repeat_interleave(torch.tensor([len(b) for b in boxes]))
    pooled = heads.pool(levels, torch.cat(boxes), image_index)
    logits = heads.class_predictor(heads.class_head(pooled))
    if positive_fraction == 0:
        expected = F.cross_entropy(logits[label == 0], label[label == 0])
        assert losses["loss_dof_reg"] == losses["loss_points"] == 0
    else:
        expected = F.cross_entropy(logits, label)
        poses = torch.cat([t["dofs"][o.argmax(1)] for o, t in zip(overlap, targets, strict=True)])
        cameras = torch.tensor(np.stack([image_intrinsics(*shape) for shape in shapes_hw]))
        expected_poses = pose_losses(
            heads.box_predictor(heads.box_head(pooled[label == 1]))[:, 6:],
            torch.cat(boxes)[label == 1],
            poses[label == 1],
            cameras.float()[image_index[label == 1]],
            torch.tensor(PUBLISHED_STATS.mean, dtype=torch.float32),
            torch.tensor(PUBLISHED_STATS.stddev, dtype=torch.float32),
            heads.points_5,
            SMALL_MODEL["min_depth"],
        )
        torch.testing.assert_close(losses["loss_dof_reg"], expected_poses.dof_reg)
        torch.testing.assert_close(losses["loss_points"], expected_poses.points)
    torch.testing.assert_close(losses["loss_classifier"], expected)


def test_an_image_finds_in_a_batch_what_it_finds_alone(heads: PoseRoIHeads) -> None:
    levels, proposals = feature_levels(3), proposals_of(3)
    proposals[1] = proposals[1][:0]
    shapes_hw = [SIZE_HW, SIZE_HW, (60, 50)]  # the last one's faces reach its border
    with torch.no_grad():
        together, _ = heads(levels, proposals, shapes_hw)
        alone = []
        for index, (boxes, shape_hw) in enumerate(zip(proposals, shapes_hw, strict=True)):
            own_levels = {name: level[[index]] for name, level in levels.items()}
            alone += heads(own_levels, [boxes], [shape_hw])[0]
    assert [len(faces["scores"]) > 0 for faces in together] == [True, False, True]
    # Products of matrices of other shapes round otherwise.
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-5)


@pytest.fixture
def batch_norm_heads(references: PoseReferences) -> PoseRoIHeads:
    torch.manual_seed(0)
    settings = {**SMALL_MODEL, "pose_norm": "batch_norm"}
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings)
    return model.roi_heads.train()


@pytest.mark.parametrize(
    ("faces", "moves"), [((0, 0), False), ((1, 0), False), ((1, 1), True), ((2, 0), True)]
)
def test_a_batch_norm_learns_from_two_positives_and_more(
    batch_norm_heads: PoseRoIHeads, faces: tuple[int, int], moves: bool
) -> None:
    # Only the faces' own boxes overlap them, so there are as many positives as faces.
    norm = batch_norm_heads.box_predictor.dof_pred[1]
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    _, terms = batch_norm_heads(
        feature_levels(2), proposals_of(2), [SIZE_HW] * 2, targets_of(*faces)
    )
    losses = {name: term.mean() for name, term in terms.items()}
    assert set(losses) == {"loss_classifier", "loss_dof_reg", "loss_points"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert (losses["loss_dof_reg"] > 0) == (losses["loss_points"] > 0) == (sum(faces) > 0)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(norm.state_dict()[name], before[name]) != moves
    assert norm.training
    sum(losses.values()).backward()
    for parameter in batch_norm_heads.parameters():
        # Other processes may have positives: a gradient of zeros is what theirs are added to.
        assert torch.isfinite(parameter.grad).all()


def test_one_positive_is_judged_by_the_running_statistics(batch_norm_heads: PoseRoIHeads) -> None:
    norm = batch_norm_heads.box_predictor.dof_pred[1]

    def loss() -> float:
        inputs = feature_levels(1), proposals_of(1), [SIZE_HW], targets_of(1)
        return batch_norm_heads(*inputs)[1]["loss_dof_reg"].mean().item()

    with_training = loss()
    norm.eval()
    assert loss() == pytest.approx(with_training, rel=1e-5)
    norm.train()
    norm.running_mean += 1
    assert loss() != pytest.approx(with_training, rel=1e-3)
