"""Training and evaluation under an autocast to 16 bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from img2pose.geometry import image_intrinsics, project_points
from img2pose.models.img2pose import Img2Pose
from img2pose.models.precision import in_float32
from img2pose.references import PoseReferences
from tests.models.test_img2pose import face_targets

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


@pytest.fixture
def batch(references: PoseReferences) -> Batch:
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    poses = [[[0, 0, 0, 0, 0, 8.0], [0, 0.3, 0, 2, 1, 12.0]], [[0, 0.1, 0, 1, 0, 10.0]]]
    targets = [face_targets(references, faces, (96, 96)) for faces in poses]
    for seed, target in enumerate(targets):
        target["seed"] = torch.tensor(seed)
    return list(images), targets


def autocast(*, wanted: bool = True) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=wanted)


def test_a_marked_function_multiplies_in_float32_inside_autocast() -> None:
    one, other = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0))
    multiply = in_float32(torch.matmul)
    with autocast():
        assert torch.matmul(one, other).dtype == torch.bfloat16
        found = multiply(one, other)
        assert torch.matmul(one, other).dtype == torch.bfloat16
    assert found.dtype == torch.float32
    assert torch.equal(found, one @ other)


def test_training_losses_in_bfloat16_are_near_those_in_float32(
    small_model: Img2Pose, batch: Batch
) -> None:
    small_model.train()
    losses = {}
    for wanted in (False, True):
        with autocast(wanted=wanted):
            losses[wanted] = small_model(*batch)
    for name, loss in losses[True].items():
        assert loss.dtype == torch.float32
        # A bfloat16 has 8 bits: 0.4 % a rounding. Errors of the layers cancel in part, but a few
        # proposals change places, which moves what is sampled: 1.5 % at most over four models.
        assert loss.item() == pytest.approx(losses[False][name].item(), rel=0.04), name
    assert any(loss != losses[False][name] for name, loss in losses[True].items())
    sum(losses[True].values()).backward()
    for name, parameter in small_model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all(), name


def test_poses_and_boxes_are_decoded_in_float32(
    small_model: Img2Pose, references: PoseReferences
) -> None:
    generator = torch.Generator().manual_seed(0)
    regression = torch.randn(12, 6, generator=generator) / 3
    boxes = torch.rand(12, 4, generator=generator) * 100
    boxes[:, 2:] += boxes[:, :2] + 20
    where = torch.arange(12) % 2
    arguments = (regression, torch.rand(12), boxes, where, [(192, 250), (180, 240)])
    expected = small_model.roi_heads.decode(*arguments)
    cameras = torch.from_numpy(image_intrinsics(192, 250)).float().expand(12, 3, 3)
    points = torch.tensor(references.points_68).float()
    with autocast():
        found = small_model.roi_heads.decode(*arguments)
        # What it is kept from: pixels wrong by whole ones.
        unprotected = project_points(points, expected.poses, cameras)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    right = project_points(points, expected.poses, cameras)
    assert (unprotected - right).abs().max() > 0.5


def test_detections_in_bfloat16_are_float32_and_finite(small_model: Img2Pose, batch: Batch) -> None:
    small_model.eval()
    small_model.roi_heads.score_thresh = 0.0
    with torch.inference_mode(), autocast():
        found = small_model(batch[0])
    for faces in found:
        assert len(faces["scores"]) > 0
        for name in ("boxes", "scores", "dofs"):
            assert faces[name].dtype == torch.float32
            assert faces[name].isfinite().all()
            # Numbers that had passed through bfloat16 last would have its 8 bits.
            assert not torch.equal(faces[name], faces[name].bfloat16().float()), name
