"""Weights in fewer bytes: what is lost, and that it is read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from img2pose.errors import InputError
from img2pose.models.compact import compact_state, quantise_channels, restored_state
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model, pack_compact_model

LARGE = (512, 16, 4, 4)


def random_weights(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_multiples_of_a_scale_come_back_exactly() -> None:
    codes = torch.tensor([[127.0, -127, 3, 0], [127, 1, -1, 64]])
    scales = torch.tensor([0.5, 2.0**-9])
    found, found_scales = quantise_channels(codes * scales[:, None])
    assert found.dtype == torch.int8
    assert torch.equal(found.float(), codes)
    assert torch.equal(found_scales, scales)


def test_errors_are_at_most_half_a_step_of_the_largest_weight() -> None:
    weights = random_weights((8, 1000))
    codes, scales = quantise_channels(weights)
    error = (codes.float() * scales[:, None] - weights).square().sum(1)
    largest = weights.abs().amax(1, keepdim=True) / 127
    plain = ((weights / largest).round() * largest - weights).square().sum(1)
    # Not better than rounding by the largest weight is what clipping must never be.
    assert (error <= plain * (1 + 1e-6)).all()
    assert (plain <= 1000 * (largest[:, 0] / 2) ** 2).all()


def test_one_large_weight_is_clipped_where_that_loses_less() -> None:
    weights = random_weights((1, 40_000)) * 0.02
    weights[0, 0] = 0.11
    codes, scales = quantise_channels(weights)
    assert codes[0, 0] == 127
    assert scales[0] * 127 < 0.109
    error = (codes.float() * scales[:, None] - weights).square().sum()
    step = 0.11 / 127
    plain = ((weights / step).round() * step - weights).square().sum()
    assert error < 0.98 * plain


def test_a_channel_of_zeros_stays_zero() -> None:
    codes, scales = quantise_channels(torch.zeros(3, 5))
    assert not codes.any() and not scales.any()


def test_only_large_weights_change() -> None:
    state = {
        "conv.weight": random_weights(LARGE),
        "early.weight": random_weights((64, 64, 3, 3)),
        "last.weight": random_weights((2, 1024)),
        "norm.bias": random_weights((200_000,)),
        "norm.num_batches_tracked": torch.tensor(3),
    }
    compact, scales = compact_state(state, "int8")
    assert {name: value.dtype for name, value in compact.items()} == {
        "conv.weight": torch.int8,
        "early.weight": torch.float16,
        "last.weight": torch.float32,
        "norm.bias": torch.float32,
        "norm.num_batches_tracked": torch.int64,
    }
    assert list(scales) == ["conv.weight"]
    restored = restored_state(compact, scales, "file")
    for name in ("last.weight", "norm.bias", "norm.num_batches_tracked"):
        assert torch.equal(restored[name], state[name])
    assert restored["conv.weight"].dtype == torch.float32
    assert (restored["conv.weight"] - state["conv.weight"]).abs().max() < 0.05
    halved, no_scales = compact_state(state, "float16")
    assert halved["conv.weight"].dtype == torch.float16 and not no_scales
    np.testing.assert_allclose(halved["conv.weight"], state["conv.weight"], rtol=1e-3, atol=1e-6)


def test_compressing_again_loses_nothing() -> None:
    once = restored_state(*compact_state({"a": random_weights(LARGE)}, "int8"), "file")
    twice = restored_state(*compact_state(once, "int8"), "file")
    assert torch.equal(once["a"], twice["a"])


def test_views_are_stored_without_what_they_are_a_part_of() -> None:
    whole = random_weights((1000, 8))
    compact, _ = compact_state({"part": whole[:2]}, "int8")
    assert compact["part"].untyped_storage().nbytes() == 2 * 8 * 4


def test_what_float16_cannot_hold_is_refused() -> None:
    weights = random_weights(LARGE)
    weights[0, 0, 0, 0] = 1e5
    with pytest.raises(InputError, match="conv: has values beyond float16"):
        compact_state({"conv": weights}, "float16")
    with pytest.raises(ValueError, match="int4"):
        compact_state({"conv": weights}, "int4")


@pytest.mark.parametrize("weights", ["int8", "float16"])
def test_a_compact_model_finds_nearly_the_same(
    small_model: Img2Pose, tmp_path: Path, weights: str
) -> None:
    torch.save(pack_compact_model(small_model, weights, "0" * 64), tmp_path / "model.pth")
    loaded = load_model(tmp_path / "model.pth")
    assert loaded.config == small_model.config
    assert all(value.dtype == torch.float32 for value in loaded.parameters())
    image = random_weights((3, 96, 128), seed=1).sigmoid()
    small_model.eval()
    with torch.inference_mode():
        before = small_model.backbone(image[None])
        after = loaded.backbone(image[None])
    for level, features in before.items():
        difference = (features - after[level]).std() / features.std()
        assert 0 < difference < (0.03 if weights == "int8" else 0.003)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c["scales"].popitem(), "not of floats"),
        (lambda c: c.pop("scales"), "is no complete checkpoint"),
        (lambda c: c["scales"].update(extra=torch.ones(1)), "scales of extra do not fit"),
        (lambda c: change_scales(c, lambda s: s[:-1]), "do not fit"),
        (lambda c: change_scales(c, lambda s: s * float("nan")), "not finite"),
        (lambda c: change_scales(c, lambda s: s.double()), "do not fit"),
        (lambda c: c["model"].popitem(), "missing|do not fit"),
        (lambda c: c.update(format_version=3), "update img2pose-torch"),
    ],
)
def test_damaged_files_are_told_in_one_line(
    compact_checkpoint: Path, tmp_path: Path, damage, message: str
) -> None:
    content = torch.load(compact_checkpoint, weights_only=True)
    damage(content)
    torch.save(content, tmp_path / "damaged.pth")
    with pytest.raises(InputError, match=message) as error:
        load_model(tmp_path / "damaged.pth")
    assert "damaged.pth" in str(error.value)
    assert "\n" not in str(error.value)


def change_scales(content: dict, change) -> None:
    name = next(iter(content["scales"]))
    content["scales"][name] = change(content["scales"][name])
