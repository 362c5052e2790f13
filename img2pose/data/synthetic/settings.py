"""What a synthetic data set is to be like."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from img2pose.data.synthetic.figures import Wardrobe
from img2pose.errors import InputError

RENDERER_VERSION = 1
"""To be raised when the same settings come to give other pictures."""

HIDDEN_FACES = ("unposed", "posed", "left_out")


@dataclass(frozen=True)
class SyntheticSettings:
    """Everything, besides seed and number, that decides what a picture shows.

    Attributes:
        size_hw: Height and width of the pictures in pixels.
        negatives: Share of pictures without a face.
        crowds: Share of the others with many small faces.
        groups: Share with a handful of faces.
        pairs: Share with two or three; the rest are portraits.
        max_yaw_deg: Largest turn of a labelled face to a side.
        pose_spread: Factor on the spread of yaw, pitch and roll; below 1 faces are more frontal.
        focal_range: Range of the camera's focal length over that which poses assume (w + h), drawn
            log-uniformly for `focal_share` of the pictures; 1 for the others.
        focal_share: See there.
        min_face: Pixels of a face's box, the longer side; smaller ones do not count as labelled.
        min_visible: Share of a face that must be seen for it to count as labelled; besides, seven
            in ten of its landmarks must lie in the picture.
        hidden_faces: What the annotation says of faces that do not count: `unposed` lists them
            without landmarks, so that training paints them black where no labelled face is; `posed`
            labels them like others; `left_out` does not list them, so that they are background.
        samples: Samples along a pixel's side.
        wardrobe: What is worn and held.
    """

    size_hw: tuple[int, int] = (320, 320)
    negatives: float = 0.10
    crowds: float = 0.08
    groups: float = 0.15
    pairs: float = 0.25
    max_yaw_deg: float = 90.0
    pose_spread: float = 1.0
    focal_range: tuple[float, float] = (0.8, 2.5)
    focal_share: float = 0.5
    min_face: float = 10.0
    min_visible: float = 0.3
    hidden_faces: str = "unposed"
    samples: float = 1.5
    wardrobe: Wardrobe = field(default_factory=Wardrobe)

    def __post_init__(self) -> None:
        if not all(64 <= side <= 2048 for side in self.size_hw):
            raise InputError(f"size: {self.size_hw}: must be between 64 and 2048 pixels")
        shares = ("negatives", "crowds", "groups", "pairs", "focal_share", "min_visible")
        for name in shares:
            _check(name, getattr(self, name), 0, 1)
        for name in ("glasses", "hats", "masks", "occluders", "beards", "hair"):
            _check(name, getattr(self.wardrobe, name), 0, 1)
        if self.crowds + self.groups + self.pairs > 1 + 1e-9:
            raise InputError(
                f"pairs: {self.pairs}: crowds, groups and pairs together must be at most 1"
            )
        _check("max_yaw", self.max_yaw_deg, 0, 90)
        _check("pose_spread", self.pose_spread, 0, 2)
        _check("min_face", self.min_face, 2, 512)
        _check("samples", self.samples, 1, 3)
        low, high = self.focal_range
        if not 0.3 <= low <= high <= 10:
            raise InputError(f"focal_range: {low}, {high}: low first, between 0.3 and 10")
        if self.hidden_faces not in HIDDEN_FACES:
            raise InputError(
                f"hidden_faces: {self.hidden_faces}: must be one of {', '.join(HIDDEN_FACES)}"
            )

    def as_values(self) -> dict[str, Any]:
        """As JSON knows values."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{name}: {value}: must be between {low} and {high}")
