"""How fast training pictures are read and changed, beside how fast the same files are decoded."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np
import torch

from img2pose.config import DataConfig
from img2pose.data.datasets import TrainingDataset, read_picture
from img2pose.data.store import PoseStore
from img2pose.references import PoseReferences

_PASSES = 3
_SEED = 0


class LoadingThroughput(NamedTuple):
    """Pictures a second in one process with one thread; medians of the passes.

    Attributes:
        images_per_second: Read, decoded, changed and given their targets; each picture of a
            mosaic counts.
        decoded_images_per_second: Of the same files, read and decoded only.
    """

    images_per_second: float
    decoded_images_per_second: float


def measure_loading(
    store_path: str | os.PathLike[str], config: DataConfig, samples: int = 100
) -> LoadingThroughput:
    """Draws training samples, and decodes the files that they were drawn from.

    Decoding follows each sample at once, so that whatever else the machine does slows both. One
    pass before the measured ones fills caches.

    Args:
        store_path: LMDB of the training set.
        config: What is done to pictures.
        samples: Drawn in each pass; whole pictures or mosaics.

    Raises:
        InputError: The store or a picture in it cannot be read.
    """
    references = PoseReferences.default()
    store = PoseStore(store_path)
    dataset = TrainingDataset(store, config, references, _SEED)
    place = {store.key(index): index for index in range(len(store))}
    indices = np.random.default_rng(_SEED).integers(len(store), size=samples).tolist()
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rates = []
    try:
        for epoch in range(_PASSES + 1):
            changed_s = decoded_s = 0.0
            pictures = 0
            for index in indices:
                start = time.perf_counter()
                sample = dataset[(epoch, index)]
                changed = time.perf_counter()
                for key in sample.records:
                    read_picture(store[place[key]], references)
                changed_s += changed - start
                decoded_s += time.perf_counter() - changed
                pictures += len(sample.records)
            rates.append((pictures / changed_s, pictures / decoded_s))
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)
    with_changes, decoded = zip(*rates[1:], strict=True)
    return LoadingThroughput(median(with_changes), median(decoded))
