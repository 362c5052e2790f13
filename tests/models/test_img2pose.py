from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from img2pose.errors import InputError
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.references import PoseReferences
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

LOSSES = {
    "loss_classifier",
    "loss_dof_reg",
    "loss_points",
    "loss_objectness",
    "loss_rpn_box_reg",
}


def face_targets(references: PoseReferences, poses: list[list[float]], size_hw: tuple[int, int]):
    array = np.array(poses).reshape(-1, 6)
    points = project_points(references.points_68, array, image_intrinsics(*size_hw))
    boxes = boxes_from_points(points, array, size_hw) if len(array) else np.zeros((0, 4))
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.ones(len(array), dtype=torch.int64),
        "dofs": torch.tensor(array, dtype=torch.float32),
    }


@pytest.fixture
def batch(references: PoseReferences) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(1)
    images = [
        torch.rand(3, 120, 160, generator=generator),
        torch.rand(3, 96, 96, generator=generator),
    ]
    targets = [
        face_targets(references, [[0, 0, 0, 0, 0, 8.0], [0, 0.3, 0, 3, 1, 12.0]], (120, 160)),
        face_targets(references, [], (96, 96)),
    ]
    return images, targets


def test_training_gives_the_five_losses_and_every_weight_a_gradient(
    small_model: Img2Pose, batch: tuple[list[Tensor], list[dict[str, Tensor]]]
) -> None:
    small_model.train()
    losses = small_model(*batch)
    assert set(losses) == LOSSES
    sum(losses.values()).backward()
    without = [n for n, p in small_model.named_parameters() if p.grad is None]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in small_model.parameters())


def test_a_batch_without_any_face_trains(small_model: Img2Pose, references: PoseReferences) -> None:
    small_model.train()
    losses = small_model([torch.rand(3, 96, 96)], [face_targets(references, [], (96, 96))])
    assert losses["loss_dof_reg"].item() == losses["loss_points"].item() == 0
    sum(losses.values()).backward()


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_every_depth_gives_the_five_losses(references: PoseReferences, depth: int) -> None:
    torch.manual_seed(0)
    settings = {**SMALL_MODEL, "min_size": 64}
    model = build_model(depth, pose_stats=PUBLISHED_STATS, references=references, **settings)
    target = face_targets(references, [[0, 0, 0, 0, 0, 8.0]], (64, 64))
    losses = model.train()([torch.rand(3, 64, 64)], [target])
    assert set(losses) == LOSSES
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())


def test_targets_are_not_changed(
    small_model: Img2Pose, batch: tuple[list[Tensor], list[dict[str, Tensor]]]
) -> None:
    images, targets = batch
    before = [{name: value.clone() for name, value in t.items()} for t in targets]
    small_model.train()
    small_model(images, targets)
    for old, new in zip(before, targets, strict=True):
        for name, value in old.items():
            assert torch.equal(value, new[name])


def test_detections_have_the_contracts_form(small_model: Img2Pose) -> None:
    small_model.eval()
    small_model.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        found = small_model([torch.rand(3, 100, 150), torch.rand(3, 200, 90)])
    for faces, (height, width) in zip(found, [(100, 150), (200, 90)], strict=True):
        count = len(faces["scores"])
        assert count > 0
        assert faces["boxes"].shape == (count, 4)
        assert faces["dofs"].shape == (count, 6)
        assert faces["labels"].tolist() == [1] * count
        assert faces["scores"].tolist() == sorted(faces["scores"].tolist(), reverse=True)
        assert faces["boxes"].min() >= 0
        limits = torch.tensor([width, height, width, height]) + 1e-3
        assert (faces["boxes"] <= limits).all()


def assert_same_detections(found: list[dict[str, Tensor]], alone: list[dict[str, Tensor]]) -> None:
    # A convolution of another batch size adds in another order: float32 agrees to its last bits.
    for ours, expected in zip(found, alone, strict=True):
        assert len(expected["scores"]) > 10
        assert ours["labels"].tolist() == expected["labels"].tolist()
        for name, tolerance in (("scores", 1e-5), ("dofs", 1e-4), ("boxes", 1e-3)):
            torch.testing.assert_close(ours[name], expected[name], atol=tolerance, rtol=1e-5)


def test_images_of_one_size_find_in_a_batch_what_each_finds_alone(small_model: Img2Pose) -> None:
    small_model.eval()
    small_model.roi_heads.score_thresh = 0.0
    images = list(torch.rand(3, 3, 96, 128, generator=torch.Generator().manual_seed(4)))
    with torch.inference_mode():
        alone = [small_model([image])[0] for image in images]
        assert_same_detections(small_model(images), alone)


def test_float64_models_detect_in_float64(small_model: Img2Pose) -> None:
    small_model.double().eval()
    small_model.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        faces = small_model([torch.rand(3, 96, 96, dtype=torch.float64)])[0]
    assert len(faces["scores"]) > 0
    assert faces["dofs"].dtype == faces["boxes"].dtype == torch.float64


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 9, 9, dtype=torch.uint8), torch.zeros(1, 9, 9), torch.zeros(9, 9)]
)
def test_what_is_no_picture_is_refused(small_model: Img2Pose, image: Tensor) -> None:
    with pytest.raises(ValueError, match=r"float tensors \(3, H, W\)"):
        small_model.eval()([image])


def test_training_refuses_boxes_without_area_and_missing_targets(
    small_model: Img2Pose, batch: tuple[list[Tensor], list[dict[str, Tensor]]]
) -> None:
    images, targets = batch
    small_model.train()
    with pytest.raises(ValueError, match="targets for each image"):
        small_model(images, targets[:1])
    targets[0]["boxes"][0, 2] = targets[0]["boxes"][0, 0]
    with pytest.raises(ValueError, match="area"):
        small_model(images, targets)


def test_a_mixture_of_sizes_finds_for_each_what_it_finds_alone(small_model: Img2Pose) -> None:
    # The first two and the fifth are equally large once resized and run together.
    sizes_hw = [(96, 128), (192, 256), (100, 150), (200, 90), (96, 128)]
    generator = torch.Generator().manual_seed(4)
    images = [torch.rand(3, *size, generator=generator) for size in sizes_hw]
    small_model.eval()
    small_model.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        alone = [small_model([image])[0] for image in images]
        assert_same_detections(small_model(images), alone)
        assert_same_detections(small_model(images[::-1]), alone[::-1])


def test_boxes_are_the_projected_poses_boxes(
    small_model: Img2Pose, references: PoseReferences
) -> None:
    # The sides scale by 96/100 exactly, so boxes and poses must agree to rounding.
    small_model.eval()
    small_model.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        faces = small_model([torch.rand(3, 100, 150)])[0]
    poses = faces["dofs"].double().numpy()
    points = project_points(references.points_68, poses, image_intrinsics(100, 150))
    boxes = boxes_from_points(points, poses, (100, 150))
    in_front = poses[:, 5] > 1.5
    assert in_front.any()
    np.testing.assert_allclose(boxes[in_front], faces["boxes"].numpy()[in_front], atol=0.1)


def test_nothing_above_the_threshold_is_an_empty_result(small_model: Img2Pose) -> None:
    small_model.eval()
    small_model.roi_heads.score_thresh = 1.0
    with torch.inference_mode():
        faces = small_model([torch.rand(3, 96, 96)])[0]
    assert faces["boxes"].shape == (0, 4)
    assert faces["dofs"].shape == (0, 6)
    assert faces["scores"].shape == faces["labels"].shape == (0,)


def test_the_pose_head_sees_only_what_passes_the_threshold(small_model: Img2Pose) -> None:
    small_model.eval()
    sizes = []
    handle = small_model.roi_heads.box_head.register_forward_hook(
        lambda _module, inputs, _output: sizes.append(len(inputs[0]))
    )
    image = torch.rand(3, 96, 96)
    with torch.inference_mode():
        small_model.roi_heads.score_thresh = 0.0
        all_scores = small_model([image])[0]["scores"]
        small_model.roi_heads.score_thresh = float(all_scores.median())
        fewer = small_model([image])[0]["scores"]
    handle.remove()
    assert sizes[1] < sizes[0]
    assert len(fewer) < len(all_scores)


def test_validation_losses_leave_the_model_as_it_is_and_repeat(
    references: PoseReferences, batch: tuple[list[Tensor], list[dict[str, Tensor]]]
) -> None:
    settings = {**SMALL_MODEL, "pose_norm": "batch_norm", "norm": "batch_norm"}
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        results.append(model.validation_losses(*batch))
    assert set(results[0]) == LOSSES
    assert all(torch.equal(results[0][name], results[1][name]) for name in LOSSES)
    assert model.training
    assert model.rpn.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_given_weights_are_downloaded_once_by_one_flag(references: PoseReferences) -> None:
    # The registry of weights is torchvision's; only the transfer itself is kept from the network.
    from torchvision.models import ResNet18_Weights, resnet18

    weights = resnet18().state_dict()
    with (
        mock.patch(
            "torchvision._internally_replaced_utils.load_state_dict_from_url", return_value=weights
        ),
        mock.patch(
            "torchvision.models._api.load_state_dict_from_url", return_value=weights
        ) as transfer,
    ):
        model = build_model(
            pose_stats=PUBLISHED_STATS, references=references, pretrained_backbone=True
        )
    assert transfer.call_args.args[0] == ResNet18_Weights.IMAGENET1K_V1.url
    assert torch.equal(model.backbone.body.conv1.weight, weights["conv1.weight"])
    frozen = {n for n, p in model.backbone.body.named_parameters() if not p.requires_grad}
    assert "conv1.weight" in frozen
    assert not any(name.startswith(("layer2", "layer3", "layer4")) for name in frozen)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("depth", 19), ("norm", "instance"), ("pose_norm", "none"), ("score_threshold", 1.5)],
)
def test_settings_out_of_range_are_refused(
    references: PoseReferences, setting: str, value: object
) -> None:
    with pytest.raises(InputError, match=setting):
        build_model(
            **{
                "pose_stats": PUBLISHED_STATS,
                "references": references,
                **SMALL_MODEL,
                setting: value,
            }
        )


def test_layout_is_the_published_one(shared: Path, references: PoseReferences) -> None:
    model = build_model(
        pose_stats=PUBLISHED_STATS, references=references, pretrained_backbone=False
    )
    ours = {
        f"{name.replace('rpn.head.conv.0.0.', 'rpn.head.conv.')} {tuple(value.shape)}"
        for name, value in model.state_dict().items()
    }
    lines = (shared / "golden" / "state_dict_keys.txt").read_text().splitlines()
    assert ours == set(lines)
