from __future__ import annotations

from pathlib import Path

import pytest
import torch

from img2pose.errors import InputError
from img2pose.models import precision
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.profiles import PROFILES
from img2pose.models.weights import load_model, pack_model
from img2pose.references import PoseReferences
from tests.settings import PUBLISHED_STATS, SMALL_MODEL


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(0))


def model_of(references: PoseReferences, **settings: object) -> Img2Pose:
    torch.manual_seed(0)
    settings = {**SMALL_MODEL, "score_threshold": 0.0, **settings}
    return build_model(pose_stats=PUBLISHED_STATS, references=references, **settings).eval()


def test_fast_limits_the_proposals_but_never_raises_them(references: PoseReferences) -> None:
    limits = PROFILES["fast"]
    assert limits.proposals is not None
    for given in (1000, 20):
        model = model_of(references, rpn_post_nms_test=given, inference_profile="fast")
        assert model.rpn.post_nms_top_n() == min(given, limits.proposals)
    exact = model_of(references, rpn_post_nms_test=1000)
    assert exact.rpn.post_nms_top_n() == 1000
    assert exact.rpn.score_thresh == 0


def test_fast_leaves_out_improbable_proposals(
    references: PoseReferences, image: torch.Tensor
) -> None:
    model = model_of(references, inference_profile="fast")
    counts = []
    model.roi_heads.class_head.register_forward_hook(
        lambda _module, inputs, _output: counts.append(len(inputs[0]))
    )
    with torch.inference_mode():
        model([image])
        torch.nn.init.constant_(model.rpn.head.cls_logits.bias, -10.0)
        assert len(model([image])[0]["scores"]) == 0
    assert counts[0] > 0
    assert counts[1] == 0


def test_fast_finds_the_same_faces_where_all_proposals_fit(
    references: PoseReferences, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: False)
    exact, fast = model_of(references), model_of(references, inference_profile="fast")
    with torch.inference_mode():
        expected, found = exact([image])[0], fast([image])[0]
    for name, value in expected.items():
        assert torch.equal(value, found[name])


def test_bfloat16_moves_scores_little_and_leaves_float32_results(
    references: PoseReferences, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any processor can run bfloat16; the profile uses it where it gains.
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    exact, fast = model_of(references), model_of(references, inference_profile="fast")
    with torch.inference_mode():
        expected, found = exact([image])[0], fast([image])[0]
    assert found["dofs"].dtype == found["scores"].dtype == torch.float32
    assert not torch.equal(expected["scores"][:5], found["scores"][:5])
    torch.testing.assert_close(expected["scores"][:5], found["scores"][:5], atol=0.02, rtol=0)


def test_training_is_the_same_in_both_profiles(
    references: PoseReferences, image: torch.Tensor
) -> None:
    target = {
        "boxes": torch.tensor([[30.0, 20, 80, 80]]),
        "labels": torch.ones(1, dtype=torch.int64),
        "dofs": torch.tensor([[0.0, 0, 0, -0.5, -0.3, 7]]),
    }
    losses = []
    for profile in PROFILES:
        model = model_of(references, inference_profile=profile).train()
        torch.manual_seed(1)
        losses.append(model([image], [target]))
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


def test_every_profile_can_be_configured_and_no_other(references: PoseReferences) -> None:
    for name, profile in PROFILES.items():
        assert model_of(references, inference_profile=name).profile == profile
    with pytest.raises(InputError, match="exact, fast"):
        model_of(references, inference_profile="slow")


def test_a_checkpoint_is_loaded_in_another_profile(small_model: Img2Pose, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    assert load_model(path).profile == PROFILES["exact"]
    assert load_model(path, inference_profile="fast").profile == PROFILES["fast"]
    with pytest.raises(InputError, match="inference_profile"):
        load_model(path, inference_profile="faster")
