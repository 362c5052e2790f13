"""A small ground truth in WIDER's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

# EVENT/IMAGE -> boxes (left, top, width, height), and the numbers, from 1, of the easy, the medium
# and the hard ones.
Faces = Mapping[str, tuple[Sequence[Sequence[float]], Mapping[str, Sequence[int]]]]


def _cells(values: Sequence[Any]) -> np.ndarray:
    cells = np.empty((len(values), 1), dtype=object)
    for index, value in enumerate(values):
        cells[index, 0] = value
    return cells


def truth_variables(faces: Faces) -> dict[str, dict[str, np.ndarray]]:
    """The variables of each of the four files, by the file's name."""
    events = list(dict.fromkeys(name.split("/")[0] for name in faces))
    by_event = [[name for name in faces if name.split("/")[0] == event] for event in events]

    def per_image(values: Mapping[str, Any]) -> np.ndarray:
        return _cells([_cells([values[name] for name in names]) for names in by_event])

    common = {
        "event_list": _cells(events),
        "file_list": per_image({name: name.split("/")[1] for name in faces}),
        "face_bbx_list": per_image(
            {name: np.array(boxes, float).reshape(-1, 4) for name, (boxes, _) in faces.items()}
        ),
    }
    files = {"wider_face_val.mat": common}
    for subset in ("easy", "medium", "hard"):
        numbers = {
            name: np.array(lists.get(subset, []), dtype=np.uint8).reshape(-1, 1)
            for name, (_, lists) in faces.items()
        }
        files[f"wider_{subset}_val.mat"] = {**common, "gt_list": per_image(numbers)}
    return files


def write_truth(folder: Path, faces: Faces) -> Path:
    """Writes the four files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, variables in truth_variables(faces).items():
        scipy.io.savemat(folder / file, variables, do_compression=True)
    return folder


def write_prediction(folder: Path, name: str, rows: Sequence[Sequence[float]]) -> None:
    """Writes the file of one image."""
    path = folder / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [name.split("/")[1], str(len(rows)), *(" ".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
