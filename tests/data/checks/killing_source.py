"""A source one of whose pictures kills the process that reads it."""

from __future__ import annotations

import os
from pathlib import Path

from img2pose.data.checks.sources import LabelledPicture, PictureReport
from img2pose.references import PoseReferences


class KillingSource:
    """Eleven pictures; the reader of the tenth dies without a word."""

    path = Path("none")
    kind = "list"
    deadly = 9

    def __init__(self) -> None:
        self.references = PoseReferences.default()

    def __len__(self) -> int:
        return 11

    def place(self, index: int) -> str:
        """Its number."""
        return f"picture {index}"

    def check(self, index: int) -> PictureReport:
        """Finds nothing, or ends the process."""
        if index == self.deadly:
            os._exit(1)
        return PictureReport(self.place(index))

    def labelled_picture(self, index: int) -> LabelledPicture:
        """Never asked for."""
        raise AssertionError(index)
