from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from img2pose.models.pooling import PyramidRoIAlign, pyramid_levels

SIZE_HW = (480, 544)
IMAGES = 2
CHANNELS = 5


def pyramid(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            IMAGES, CHANNELS, *(side // stride for side in SIZE_HW), generator=generator
        ).to(dtype)
        for stride in (4, 8, 16, 32)
    ]


def random_boxes(sides: tuple[float, float], count: int = 12) -> Tensor:
    """Boxes whose centres lie anywhere in the image, so that large ones cross its border."""
    generator = torch.Generator().manual_seed(1)
    limits = torch.tensor(SIZE_HW[::-1])
    center = torch.rand(count, 2, generator=generator) * limits
    low, high = sides
    half = (low + torch.rand(count, 2, generator=generator) * (high - low)) / 2
    return torch.cat([center - half, center + half], 1)


HEIGHT, WIDTH = SIZE_HW
BOXES = {
    "finest level": random_boxes((10, 100)),
    "second level": random_boxes((120, 220)),
    "third level": random_boxes((230, 440)),
    "coarsest level": random_boxes((450, 900)),
    "all levels": random_boxes((1, 900), count=60),
    "smaller than a cell": random_boxes((0.01, 3)),
    "long and thin": torch.tensor([[3.0, 7, 500, 8], [20, 1, 21.5, 470]]),
    "touching the border": torch.tensor(
        [
            [0.0, 0, 30, 40],
            [WIDTH - 30, HEIGHT - 40, WIDTH, HEIGHT],
            [0, 0, WIDTH, HEIGHT],
            [WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT],
        ]
    ),
    # A sample up to one cell outside reads the border's cell, beyond that nothing.
    "crossing the border": torch.tensor(
        [
            [-3.0, -3, 10, 10],
            [-60, -60, 40, 40],
            [WIDTH - 5, HEIGHT - 5, WIDTH + 9, HEIGHT + 9],
            [-400, 100, 900, 700],
        ]
    ),
    "outside": torch.tensor([[-90.0, -90, -40, -50], [WIDTH + 50, 10, WIDTH + 90, 60]]),
    "without area": torch.tensor([[20.0, 30, 20, 30], [20, 30, 50, 30]]),
    "none": torch.zeros(0, 4),
}


def theirs(levels: list[Tensor], boxes: Tensor, image_index: Tensor) -> Tensor:
    """torchvision's pooling, in our order of boxes and layout."""
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    features = {str(index): level for index, level in enumerate(levels)}
    by_image = [boxes[image_index == image] for image in range(IMAGES)]
    pooled = pool(features, by_image, [SIZE_HW] * IMAGES).flatten(2).transpose(1, 2)
    order = image_index.argsort(stable=True)
    return torch.empty_like(pooled).index_copy(0, order, pooled)


def alternating(boxes: Tensor) -> Tensor:
    return torch.arange(len(boxes)) % IMAGES


@pytest.mark.parametrize("name", BOXES)
def test_pooled_boxes_are_torchvisions(name: str) -> None:
    boxes = BOXES[name]
    levels, image_index = pyramid(), alternating(boxes)
    pooled = PyramidRoIAlign(7)(levels, boxes, image_index)
    assert pooled.shape == (len(boxes), 49, CHANNELS)
    torch.testing.assert_close(pooled, theirs(levels, boxes, image_index), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BOXES)
def test_gradient_of_the_features_is_torchvisions(name: str) -> None:
    boxes = BOXES[name]
    image_index = alternating(boxes)
    gradients = []
    for pool in (PyramidRoIAlign(7), theirs):
        levels = [level.requires_grad_() for level in pyramid()]
        pooled = pool(levels, boxes, image_index)
        generator = torch.Generator().manual_seed(2)
        weights = torch.randn(pooled.shape, generator=generator)
        gradients.append(torch.autograd.grad((pooled * weights).sum(), levels))
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_the_layout_in_memory_does_not_matter() -> None:
    boxes = BOXES["all levels"]
    levels, image_index = pyramid(), alternating(boxes)
    channels_last = [level.contiguous(memory_format=torch.channels_last) for level in levels]
    assert not channels_last[0].is_contiguous()
    pool = PyramidRoIAlign(7)
    assert torch.equal(pool(channels_last, boxes, image_index), pool(levels, boxes, image_index))


def test_double_precision_is_kept() -> None:
    boxes = BOXES["all levels"].double()
    levels, image_index = pyramid(torch.float64), alternating(boxes)
    pooled = PyramidRoIAlign(7)(levels, boxes, image_index)
    assert pooled.dtype == torch.float64
    torch.testing.assert_close(pooled, theirs(levels, boxes, image_index), atol=1e-12, rtol=0)


def test_a_level_that_rises_evenly_gives_the_bins_centres() -> None:
    # Each cell holds the pixel it stands for, so a bin's mean is the place of the bin's centre.
    levels = []
    for stride in (4, 8, 16, 32):
        y, x = (torch.arange(side // stride) * float(stride) for side in SIZE_HW)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"))
        levels.append(grid[None].expand(IMAGES, -1, -1, -1))
    boxes = torch.tensor([[40.0, 60, 96, 88], [64, 32, 344, 312]])
    pooled = PyramidRoIAlign(7)(levels, boxes, torch.tensor([1, 0])).view(2, 7, 7, 2)
    for box, found in zip(boxes, pooled, strict=True):
        left, top, right, bottom = box.tolist()
        share = (torch.arange(7) + 0.5) / 7
        expected_x = (left + share * (right - left)).expand(7, 7)
        expected_y = (top + share * (bottom - top))[:, None].expand(7, 7)
        torch.testing.assert_close(found, torch.stack([expected_x, expected_y], -1))


def test_levels_by_the_side_of_the_box() -> None:
    side = torch.tensor([0.0, 1, 111.9, 112, 223.9, 224, 447.9, 448, 5000])
    boxes = torch.stack([torch.zeros(9), torch.zeros(9), side, side], 1)
    assert pyramid_levels(boxes).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    # Rounding of the corners takes no box to a finer level.
    assert pyramid_levels(torch.tensor([[0.0, 0, 223.9999, 224]])).tolist() == [2]
    # The side of a long box is that of the square as large.
    assert pyramid_levels(torch.tensor([[0.0, 0, 112, 448]])).tolist() == [2]
