"""The checkpoint that comes with the package, trained on synthetic faces only."""

from __future__ import annotations

from pathlib import Path

from img2pose.errors import InputError

SHIPPED_NAME = "synthetic_resnet18.pth"

WEIGHTS_FOLDER = Path(__file__).resolve().parents[1] / "weights"


def shipped_checkpoint() -> Path:
    """The file; `MODEL_CARD.md` beside it says what it was trained on and what it reaches.

    Raises:
        InputError: The installation has none.
    """
    path = WEIGHTS_FOLDER / SHIPPED_NAME
    if not path.is_file():
        raise InputError(
            f"{path}: this installation comes without it; give a checkpoint (--checkpoint), or"
            " install img2pose-torch anew"
        )
    return path
