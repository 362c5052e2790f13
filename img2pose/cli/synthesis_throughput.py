"""How fast synthetic photographs are drawn and written."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from img2pose.data.synthetic.settings import SyntheticSettings
from img2pose.data.synthetic.writer import SyntheticDataset, make_dataset

IMAGES = 240
_SEED = 0


@dataclass(frozen=True)
class SynthesisRate:
    """One line of the table.

    Attributes:
        processes: That draw; 0 is this one alone.
        images: That were timed.
        faces: In all pictures, those of the first untimed ones too.
        images_per_second: Of all processes together, files included.
        milliseconds_of_a_core: Time a picture of one process.
    """

    processes: int
    images: int
    faces: int
    images_per_second: float
    milliseconds_of_a_core: float


def measure_synthesis(processes: int, images: int = IMAGES) -> SynthesisRate:
    """Draws pictures of the default settings into a folder that is removed afterwards.

    The clock starts when each process has given its first pictures: their start, some seconds once,
    does not count.

    Args:
        processes: 0 for this one alone.
        images: To draw, more than 8 for each process.
    """
    untimed = 8 * max(processes, 1)
    if images <= untimed:
        raise ValueError(f"images must be more than {untimed}, not {images}")
    faces, began = 0, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        dataset = SyntheticDataset(Path(scratch), images, _SEED, SyntheticSettings())
        with closing(make_dataset(dataset, processes)) as made:
            for number, one in enumerate(made, start=1):
                faces += one.faces
                if number == untimed:
                    began = time.perf_counter()
        seconds = time.perf_counter() - began
    rate = (images - untimed) / seconds
    return SynthesisRate(processes, images - untimed, faces, rate, 1e3 * max(processes, 1) / rate)
