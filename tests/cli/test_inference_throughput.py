"""How fast pictures become faces, and whether memory stays flat over many of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2pose.cli.inference_throughput import MemoryOverImages, measure_inference, measure_memory
from img2pose.detections import FaceDetections
from img2pose.images import ImageLike
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_rates_of_each_engine_and_batch_size(small_model: Img2Pose) -> None:
    engines = {"loose": Detector(small_model, 0.0), "strict": Detector(small_model, 1.0)}
    pictures = [PICTURE, PICTURE[:, ::-1], PICTURE[::-1]]
    rates = measure_inference(engines, pictures, [1, 2], repeats=1)
    assert [(rate.engine, rate.batch_size) for rate in rates] == [
        ("loose", 1),
        ("loose", 2),
        ("strict", 1),
        ("strict", 2),
    ]
    assert all(rate.images_per_second > 0 for rate in rates)
    faces = sum(len(engines["loose"].predict(picture)) for picture in pictures)
    assert [rate.faces for rate in rates] == [faces, faces, 0, 0]


class Hoarder:
    """Keeps some memory for each picture."""

    def __init__(self, mib_a_picture: int) -> None:
        self.mib_a_picture = mib_a_picture
        self.kept: list[np.ndarray] = []

    def predict(self, images: Iterable[ImageLike], *, batch_size: int) -> list[FaceDetections]:
        for _ in images:
            self.kept.append(np.ones(self.mib_a_picture << 17))
        return []


def memory(hoarder: Hoarder) -> MemoryOverImages:
    used = measure_memory(hoarder, [PICTURE], batch_size=1, images=90, first_images=10)
    if used is None:
        pytest.skip("this system keeps no peak of memory")
    return used


def test_memory_that_grows_is_seen() -> None:
    grown = memory(Hoarder(mib_a_picture=4))
    assert (grown.images, grown.first_images) == (90, 10)
    assert grown.peak_mib - grown.first_peak_mib == pytest.approx(4 * 80, rel=0.1)
    assert grown.growth > 0.1
    assert memory(Hoarder(mib_a_picture=0)).growth < 0.02


@pytest.mark.slow
def test_memory_is_flat_over_1000_pictures(small_model: Img2Pose, tmp_path: Path) -> None:
    # Sizes that make different shapes once resized, each a file that is decoded.
    for index, (height, width) in enumerate([(60, 80), (80, 60), (300, 400), (90, 90)] * 3):
        pixels = np.roll(np.resize(PICTURE, (height, width, 3)), index, axis=1)
        Image.fromarray(pixels).save(tmp_path / f"{index}.jpg")
    used = measure_memory(
        Detector(small_model, 0.1),
        sorted(tmp_path.iterdir()),
        batch_size=8,
        images=1000,
        first_images=100,
    )
    if used is None:
        pytest.skip("this system keeps no peak of memory")
    assert used.growth < 0.05
