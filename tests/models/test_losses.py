from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from img2pose.geometry import image_intrinsics, pose_image_to_box
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.losses import LossTerm, pose_losses
from img2pose.references import PoseReferences
from img2pose.types import PoseStats
from tests.models.test_img2pose import face_targets
from tests.settings import SMALL_MODEL


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float32)


def losses_of(
    regression: torch.Tensor, stats: PoseStats, references: PoseReferences, **given: np.ndarray
):
    return pose_losses(
        regression,
        tensor(given["proposals"]),
        tensor(given["targets"]),
        tensor(given["cameras"]),
        tensor(stats.mean),
        tensor(stats.stddev),
        tensor(references.points_5),
    )


@pytest.fixture
def faces() -> dict[str, np.ndarray]:
    camera = image_intrinsics(200, 300)
    return {
        "proposals": np.array([[100.0, 50, 180, 150], [20, 20, 60, 80]]),
        "targets": np.array([[0.1, 0.2, 0.0, 0.1, 0.2, 9.0], [0, -0.3, 0.1, -2, -0.8, 15.0]]),
        "cameras": np.stack([camera, camera]),
    }


def test_right_poses_cost_nothing(
    faces: dict[str, np.ndarray], published_stats: PoseStats, references: PoseReferences
) -> None:
    in_box = pose_image_to_box(faces["targets"], faces["proposals"], faces["cameras"])
    right = tensor((in_box - published_stats.mean) / published_stats.stddev)
    found = losses_of(right, published_stats, references, **faces)
    assert found.dof_reg.item() == pytest.approx(0, abs=1e-8)
    assert found.points.item() == pytest.approx(0, abs=1e-3)


def test_one_deviation_off_in_one_number_costs_one_over_the_faces(
    faces: dict[str, np.ndarray], published_stats: PoseStats, references: PoseReferences
) -> None:
    in_box = pose_image_to_box(faces["targets"], faces["proposals"], faces["cameras"])
    off = tensor((in_box - published_stats.mean) / published_stats.stddev)
    off[0, 3] += 1
    found = losses_of(off, published_stats, references, **faces)
    assert found.dof_reg.item() == pytest.approx(1 / 2, rel=1e-4)
    # tx moves the five points of one of two faces by stddev * focal / depth in x only.
    focal, depth = 180, in_box[0, 5]
    shift = published_stats.stddev[3] * focal / depth
    assert found.points.item() == pytest.approx(shift / 4, rel=0.2)


def test_without_positives_the_loss_is_zero_and_has_a_gradient(
    published_stats: PoseStats, references: PoseReferences
) -> None:
    regression = torch.zeros(0, 6, requires_grad=True)
    empty = {"proposals": np.zeros((0, 4)), "targets": np.zeros((0, 6))}
    found = losses_of(regression, published_stats, references, **empty, cameras=np.zeros((0, 3, 3)))
    (found.dof_reg + found.points).backward()
    assert found.dof_reg.item() == found.points.item() == 0


def test_the_mean_over_nothing_is_zero_with_a_gradient() -> None:
    total = torch.zeros(1, requires_grad=True)
    mean = LossTerm(total.sum(), torch.tensor(0.0)).mean()
    mean.backward()
    assert mean.item() == 0
    assert total.grad is not None
    assert total.grad.isfinite().all()
    assert LossTerm(torch.tensor(6.0), torch.tensor(4.0)).mean().item() == 1.5


def seeded_batch(
    references: PoseReferences, count: int
) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Images of one size with 0, 1, 2, 0, ... faces."""
    images = torch.rand(count, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    poses = [[0, 0, 0, 0, 0, 8.0], [0, 0.3, 0, 2, 1, 12.0]]
    targets = [face_targets(references, poses[: i % 3], (96, 96)) for i in range(count)]
    for seed, target in enumerate(targets):
        target["seed"] = torch.tensor(seed)
    return list(images), targets


def test_terms_of_parts_add_up_to_those_of_the_whole_batch(
    small_model: Img2Pose, references: PoseReferences
) -> None:
    small_model.train()
    images, targets = seeded_batch(references, 6)
    with torch.no_grad():
        whole = small_model.loss_terms(images, targets)
        # Parts without any face, with three faces, with two.
        cuts = (slice(0, 1), slice(1, 5), slice(5, 6))
        parts = [small_model.loss_terms(images[cut], targets[cut]) for cut in cuts]
    for name, term in whole.items():
        assert sum(part[name].counted.item() for part in parts) == term.counted.item(), name
        total = sum(part[name].total.item() for part in parts)
        assert total == pytest.approx(term.total.item(), rel=1e-4), name
        assert term.total > 0


def test_losses_are_the_means_of_the_terms(
    small_model: Img2Pose, references: PoseReferences
) -> None:
    small_model.train()
    batch = seeded_batch(references, 3)
    with torch.no_grad():
        terms, losses = small_model.loss_terms(*batch), small_model(*batch)
    assert losses.keys() == terms.keys()
    for name, term in terms.items():
        assert losses[name].item() == pytest.approx((term.total / term.counted).item()), name


@pytest.mark.parametrize("norm", ["layer_norm", "batch_norm"])
def test_without_faces_the_pose_heads_gradients_are_zeros(
    references: PoseReferences, published_stats: PoseStats, norm: str
) -> None:
    # Other processes wait for the gradient of every weight.
    torch.manual_seed(0)
    settings = {**SMALL_MODEL, "pose_norm": norm}
    model = build_model(pose_stats=published_stats, references=references, **settings).train()
    images, targets = seeded_batch(references, 4)
    sum(model(images[::3], targets[::3]).values()).backward()
    heads = (model.roi_heads.box_head, model.roi_heads.box_predictor)
    gradients = [parameter.grad for head in heads for parameter in head.parameters()]
    assert len(gradients) == 10
    assert all(gradient is not None and not gradient.any() for gradient in gradients)
    assert model.roi_heads.class_head.fc6.weight.grad.any()


def test_golden_losses_and_gradient(
    shared: Path, original_references: PoseReferences, published_stats: PoseStats
) -> None:
    golden = np.load(shared / "golden" / "pose_loss.npz")
    cameras = np.concatenate(
        [
            np.repeat(image_intrinsics(*size)[None], count, axis=0)
            for size, count in zip(golden["shapes_hw"], golden["n"], strict=True)
        ]
    )
    regression = torch.tensor(golden["dof_regression"], requires_grad=True)
    found = losses_of(
        regression[:, 6:],
        published_stats,
        original_references,
        proposals=golden["proposals"],
        targets=golden["targets"],
        cameras=cameras,
    )
    assert found.dof_reg.item() == pytest.approx(float(golden["loss_dof_reg"]), rel=1e-6)
    assert found.points.item() == pytest.approx(float(golden["loss_points"]), rel=1e-6)
    (found.dof_reg + found.points).backward()
    difference = np.abs(regression.grad.numpy() - golden["dof_grad"]).max()
    assert difference < 1e-3 * np.abs(golden["dof_grad"]).max()
    classifier = torch.nn.functional.cross_entropy(
        torch.tensor(golden["class_logits"]), torch.tensor(golden["class_labels"])
    )
    assert classifier.item() == pytest.approx(float(golden["loss_classifier"]), abs=1e-4)
