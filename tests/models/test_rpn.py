from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import batched_nms

from img2pose.models.losses import LossTerm
from img2pose.models.rpn import ProposalNetwork, suppress_side_by_side, suppress_within_levels

CHANNELS = 8
PADDED_HW = (96, 128)
# Smaller than the padded batch, so that boxes are clipped to each image's own size.
SIZES_HW = [(96, 100), (80, 128)]
STRIDES = (4, 8, 16, 32)


def doubled_boxes(count: int, originals: int, generator: torch.Generator) -> Tensor:
    """Boxes (count, 4) crowded around `originals` of them, whole pixels."""
    corner = torch.randint(0, 200, (originals, 2), generator=generator)
    side = torch.randint(10, 60, (originals, 2), generator=generator)
    boxes = torch.cat([corner, corner + side], 1)
    chosen = torch.randint(0, originals, (count,), generator=generator)
    return (boxes[chosen] + torch.randint(-4, 5, (count, 4), generator=generator)).float()


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 300),
    originals=st.integers(1, 40),
    levels=st.integers(1, 5),
    most=st.integers(1, 60),
    threshold=st.sampled_from([0.0, 0.4, 0.7, 1.0]),
    ties=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_suppression_is_torchvisions(
    seed: int, count: int, originals: int, levels: int, most: int, threshold: float, ties: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = doubled_boxes(count, originals, generator)
    level = torch.randint(0, levels, (count,), generator=generator)
    scores = torch.rand(count, generator=generator)
    if ties:
        scores = (scores * 5).round() / 5
    kept = suppress_within_levels(boxes, scores, level, threshold, most)
    assert kept.tolist() == batched_nms(boxes, scores, level, threshold)[:most].tolist()


@pytest.mark.parametrize("originals", [1, 30, 3000])
@pytest.mark.parametrize("most", [1, 100, 1000])
def test_suppression_of_many_boxes_is_torchvisions(originals: int, most: int) -> None:
    # The fewer originals, the more doubles must be looked at before `most` are found, if ever.
    generator = torch.Generator().manual_seed(originals)
    boxes = doubled_boxes(6000, originals, generator)
    level = torch.randint(0, 5, (6000,), generator=generator)
    scores = torch.randperm(6000, generator=generator) / 6000
    kept = suppress_within_levels(boxes, scores, level, 0.4, most)
    assert kept.tolist() == batched_nms(boxes, scores, level, 0.4)[:most].tolist()


def test_suppression_side_by_side_is_torchvisions() -> None:
    # What other devices than the CPU run.
    generator = torch.Generator().manual_seed(0)
    boxes = doubled_boxes(3000, 100, generator).clamp(min=0)
    level = torch.randint(0, 5, (3000,), generator=generator)
    scores = torch.randperm(3000, generator=generator) / 3000
    kept = suppress_side_by_side(boxes, scores, level, 0.4)
    assert kept.tolist() == batched_nms(boxes, scores, level, 0.4).tolist()
    assert len(suppress_side_by_side(boxes[:0], scores[:0], level[:0], 0.4)) == 0


def test_suppression_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8], [50, 50, 60, 60]])
    scores = torch.tensor([0.5, 0.9, 0.7, 0.1])
    level = torch.tensor([0, 0, 1, 0])
    # The second drops the first; the third lies in another level.
    assert suppress_within_levels(boxes, scores, level, 0.5, 9).tolist() == [1, 2, 3]
    assert suppress_within_levels(boxes, scores, level, 0.5, 2).tolist() == [1, 2]
    assert suppress_within_levels(boxes[:0], scores[:0], level[:0], 0.5, 2).tolist() == []


def proposal_network(
    *, before: int = 40, after: int = 30, drawn: int = 64, score_thresh: float = 0.0
) -> ProposalNetwork:
    torch.manual_seed(0)
    anchors = AnchorGenerator(((16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 4)
    network = ProposalNetwork(
        anchor_generator=anchors,
        head=RPNHead(CHANNELS, 3),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.3,
        batch_size_per_image=drawn,
        positive_fraction=0.5,
        pre_nms_top_n={"training": before, "testing": before},
        post_nms_top_n={"training": after, "testing": after},
        nms_thresh=0.4,
        score_thresh=score_thresh,
        bfloat16=False,
    )
    for name, weight in network.head.named_parameters():
        # As initialised all scores are nearly one half and all boxes nearly anchors.
        if name.endswith("weight"):
            torch.nn.init.normal_(weight, std=0.08)
    return network


def batch() -> tuple[ImageList, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    images = ImageList(torch.zeros(len(SIZES_HW), 3, *PADDED_HW), SIZES_HW)
    features = {
        str(index): torch.randn(
            len(SIZES_HW),
            CHANNELS,
            PADDED_HW[0] // stride,
            PADDED_HW[1] // stride,
            generator=generator,
        )
        for index, stride in enumerate(STRIDES)
    }
    return images, features


ANCHORS = 3 * sum((PADDED_HW[0] // stride) * (PADDED_HW[1] // stride) for stride in STRIDES)


@pytest.mark.parametrize("before", [10, 500, 6000])
@pytest.mark.parametrize("after", [1, 30, 5000])
def test_proposals_are_torchvisions(before: int, after: int) -> None:
    network = proposal_network(before=before, after=after).eval()
    images, features = batch()
    with torch.inference_mode():
        expected, _ = RegionProposalNetwork.forward(network, images, features)
        proposals, losses = network(images, features)
    assert losses == {}
    for ours, theirs, (height, width) in zip(proposals, expected, SIZES_HW, strict=True):
        assert 0 < len(ours) <= after
        # The same numbers decoded in another order of vectors: nearly always to the last bit.
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
        limits = torch.tensor([width, height, width, height])
        assert ((ours >= 0) & (ours <= limits)).all()


def test_proposals_below_the_score_threshold_are_left_out() -> None:
    images, features = batch()
    network = proposal_network(before=6000, after=5000, score_thresh=0.5).eval()
    with torch.inference_mode():
        expected, _ = RegionProposalNetwork.forward(network, images, features)
        proposals, _ = network(images, features)
        network.score_thresh = 0.0
        more, _ = network(images, features)
    for ours, theirs, others in zip(proposals, expected, more, strict=True):
        assert 0 < len(ours) < len(others)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


FACES = [
    torch.tensor([[10.0, 12, 30, 40], [50, 20, 90, 70], [3, 60, 9, 66]]),
    torch.tensor([[0.0, 0, 128, 80]]),
]


@pytest.mark.parametrize("boxes", [FACES, [FACES[0], torch.zeros(0, 4)], [torch.zeros(0, 4)] * 2])
def test_losses_of_all_anchors_are_torchvisions(boxes: list[Tensor]) -> None:
    # A draw of twice the anchors, half of them faces, takes every one that is not ignored.
    network = proposal_network(drawn=2 * ANCHORS).train()
    images, features = batch()
    targets = [{"boxes": b} for b in boxes]
    found = []
    for forward in (network.forward, super(ProposalNetwork, network).forward):
        proposals, losses = forward(images, features, targets)
        losses = {n: t.mean() if isinstance(t, LossTerm) else t for n, t in losses.items()}
        gradients = torch.autograd.grad(sum(losses.values()), list(network.parameters()))
        found.append((proposals, losses, gradients))
    (proposals, losses, gradients), (their_proposals, their_losses, their_gradients) = found
    torch.testing.assert_close(proposals, their_proposals, atol=1e-4, rtol=0)
    assert losses.keys() == their_losses.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, their_losses[name], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradients, their_gradients, atol=1e-5, rtol=1e-4)
    if any(len(b) for b in boxes):
        assert losses["loss_rpn_box_reg"] > 0


def test_an_image_without_faces_costs_no_box_and_has_a_finite_gradient() -> None:
    network = proposal_network().train()
    images, features = batch()
    _, terms = network(images, features, [{"boxes": torch.zeros(0, 4)}] * 2)
    losses = {name: term.mean() for name, term in terms.items()}
    assert losses["loss_rpn_box_reg"].item() == 0
    assert losses["loss_objectness"].item() > 0
    sum(losses.values()).backward()
    for parameter in network.parameters():
        assert torch.isfinite(parameter.grad).all()
    assert (network.head.bbox_pred.weight.grad == 0).all()


def test_a_draw_costs_on_average_what_all_anchors_of_its_kinds_do() -> None:
    # Faces and background weigh alike in a draw of half and half: their means, averaged.
    network = proposal_network(drawn=8).train()
    images, features = batch()
    targets = [{"boxes": b} for b in FACES]
    with torch.no_grad():
        losses = [network(images, features, targets)[1] for _ in range(100)]
        anchors = network.anchor_generator(images, list(features.values()))
        labels, _ = network.assign_targets_to_anchors(anchors, targets)
        scores, _ = network.head(list(features.values()))
    logits = torch.cat([s.permute(0, 2, 3, 1).flatten(1) for s in scores], 1)
    label = torch.stack(labels)
    cost = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, label.clamp(min=0), reduction="none"
    )
    assert ((label == 1).sum(1) >= 4).all()
    expected = torch.stack(
        [cost[image, label[image] == kind].mean() for image in range(2) for kind in (0, 1)]
    ).mean()
    drawn = torch.stack([terms["loss_objectness"].mean() for terms in losses])
    assert (drawn.mean() - expected).abs() < 5 * drawn.std() / len(drawn) ** 0.5


def test_training_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="targets"):
        proposal_network().train()(*batch())
