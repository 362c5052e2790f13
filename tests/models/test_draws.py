"""What is drawn for an image depends on its seed, and on nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from img2pose.models.draws import Draw, generator_of, uniform_keys
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.references import PoseReferences
from tests.models.test_img2pose import face_targets
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

SEEDS = st.integers(0, 2**62 - 1)
DRAWS = st.sampled_from(Draw)
Targets = list[dict[str, Tensor]]


def seeded(*seeds: int) -> Targets:
    return [{"seed": torch.tensor(seed)} for seed in seeds]


@given(st.lists(SEEDS, min_size=1, max_size=4), DRAWS, st.data())
@settings(deadline=None)
def test_an_images_draws_do_not_depend_on_its_neighbours(
    seeds: list[int], draw: Draw, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(0, len(seeds) - 1))
    keys = uniform_keys(seeded(*seeds), draw, torch.empty(len(seeds), 9))
    assert keys.shape == (len(seeds), 9)
    alone = uniform_keys(seeded(seeds[chosen]), draw, torch.empty(1, 9))
    assert torch.equal(keys[chosen], alone[0])
    assert (keys >= 0).all()
    assert (keys < 1).all()


@given(SEEDS)
@settings(deadline=None)
def test_each_draw_of_an_image_has_a_stream_of_its_own(seed: int) -> None:
    rows = [uniform_keys(seeded(seed), draw, torch.empty(1, 9))[0] for draw in Draw]
    assert len({tuple(row.tolist()) for row in rows}) == len(Draw)


def test_neighbouring_seeds_draw_differently() -> None:
    rows = torch.cat([uniform_keys(seeded(*range(20)), draw, torch.empty(20, 9)) for draw in Draw])
    assert len(torch.unique(rows, dim=0)) == 20 * len(Draw)


def test_without_a_seed_torchs_own_generator_draws() -> None:
    device = torch.device("cpu")
    assert generator_of(None, Draw.SIZE, device) is None
    assert generator_of({}, Draw.SIZE, device) is None
    torch.manual_seed(4)
    expected = torch.rand(9)
    torch.manual_seed(4)
    assert torch.equal(uniform_keys([{}], Draw.ANCHORS, torch.empty(1, 9))[0], expected)


@pytest.fixture
def batch(references: PoseReferences) -> tuple[list[Tensor], Targets]:
    images = torch.rand(2, 3, 80, 100, generator=torch.Generator().manual_seed(1))
    poses = [[[0, 0, 0, 0, 0, 8.0], [0, 0.3, 0, 2, 1, 12.0]], [[0, 0.1, 0, 1, 0, 10.0]]]
    return list(images), [face_targets(references, faces, (80, 100)) for faces in poses]


@pytest.fixture
def model_of_sizes(references: PoseReferences) -> Img2Pose:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {**SMALL_MODEL, "min_size": (64, 80, 96)}
    return build_model(pose_stats=PUBLISHED_STATS, references=references, **sizes)


def test_losses_of_seeded_images_do_not_depend_on_torchs_generator(
    model_of_sizes: Img2Pose, batch: tuple[list[Tensor], Targets]
) -> None:
    model_of_sizes.train()

    def losses_after(seed: int, images: list[Tensor], targets: Targets) -> list[float]:
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        with torch.no_grad():
            losses = model_of_sizes(images, targets)
        is_untouched.append(torch.equal(torch.get_rng_state(), state))
        return [loss.item() for loss in losses.values()]

    images, targets = batch
    is_untouched: list[bool] = []
    with_seeds = [{**t, **s} for t, s in zip(targets, seeded(7, 8), strict=True)]
    assert losses_after(0, images, with_seeds) == losses_after(1, images, with_seeds)
    assert is_untouched == [True, True]
    others = [{**t, **s} for t, s in zip(targets, seeded(9, 10), strict=True)]
    assert losses_after(0, images, others) != losses_after(0, images, with_seeds)
    assert losses_after(0, images, targets) != losses_after(1, images, targets)


def test_the_size_follows_the_seed(
    model_of_sizes: Img2Pose, batch: tuple[list[Tensor], Targets]
) -> None:
    resize = model_of_sizes.train().transform.resize
    images, targets = batch

    def side_of(seed: int) -> int:
        resized, _ = resize(images[0], {**targets[0], **seeded(seed)[0]})
        return int(min(resized.shape[1:]))

    sides = [side_of(seed) for seed in range(60)]
    torch.manual_seed(1)
    assert [side_of(seed) for seed in range(60)] == sides
    # Three sizes in equal shares: fewer than 8 of 60 have a probability of 0.0003.
    assert all(sides.count(size) >= 8 for size in (64, 80, 96))
    model_of_sizes.eval()
    assert {side_of(seed) for seed in range(9)} == {96}
