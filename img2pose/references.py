"""The reference face: the only reader of `pose_references/`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from img2pose.errors import InputError
from img2pose.files import read_npy

POINTS_68_FILE = "reference_3d_68_points_trans.npy"
POINTS_5_FILE = "reference_3d_5_points_trans.npy"
MESH_FILE = "reference_mesh.npz"


def references_folder() -> Path:
    """The folder with the reference files: inside the installed package, else beside it.

    Raises:
        InputError: Neither is there, so the installation is broken.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "pose_references", package.parent / "pose_references"):
        if (folder / POINTS_68_FILE).is_file():
            return folder
    raise InputError(
        f"{package.parent / 'pose_references' / POINTS_68_FILE}: missing; reinstall img2pose-torch"
    )


def _frozen(array: np.ndarray, dtype: type) -> np.ndarray:
    copy: np.ndarray = np.array(array, dtype=dtype)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """A triangle mesh in the reference frame.

    Attributes:
        vertices: (V, 3) float64, reference units; x to the right of the picture, y down, z away.
        triangles: (T, 3) int64 vertex indices, front faces clockwise in the picture.
    """

    vertices: np.ndarray
    triangles: np.ndarray


@dataclass(frozen=True, eq=False)
class PoseReferences:
    """Points of the rigid reference face that poses refer to.

    Attributes:
        points_68: (68, 3) float64 in iBUG's order, reference units.
        points_5: (5, 3) float64: the eye on the picture's left, the other, nose tip, the mouth
            corner on the picture's left, the other.

    Raises:
        InputError: A shape is wrong or a value is not finite.
    """

    points_68: np.ndarray
    points_5: np.ndarray

    def __post_init__(self) -> None:
        for name, count in (("points_68", 68), ("points_5", 5)):
            points = _frozen(getattr(self, name), np.float64)
            if points.shape != (count, 3) or not np.isfinite(points).all():
                raise InputError(
                    f"{name}: finite numbers of shape ({count}, 3) expected, not {points.shape}"
                )
            object.__setattr__(self, name, points)

    @classmethod
    def default(cls) -> PoseReferences:
        """The project's own reference face (CC0), see `pose_references/README.md`."""
        return _default_references()

    @classmethod
    def from_files(
        cls, *, points_68: str | os.PathLike[str], points_5: str | os.PathLike[str]
    ) -> PoseReferences:
        """Reads two `.npy` files of shape (68, 3) and (5, 3).

        Raises:
            InputError: A file cannot be read or holds something else.
        """
        remedy = "give reference points as made by scripts/build_pose_references.py"
        return cls(read_npy(points_68, (68, 3), remedy), read_npy(points_5, (5, 3), remedy))

    @property
    def sha256(self) -> str:
        """Hash of the points, which tells one set of references from another."""
        digest = hashlib.sha256(self.points_68.astype("<f8").tobytes())
        digest.update(self.points_5.astype("<f8").tobytes())
        return digest.hexdigest()


@cache
def _default_references() -> PoseReferences:
    folder = references_folder()
    return PoseReferences.from_files(
        points_68=folder / POINTS_68_FILE, points_5=folder / POINTS_5_FILE
    )


@cache
def default_mesh() -> FaceMesh:
    """The head mesh that the default reference points lie on."""
    with np.load(references_folder() / MESH_FILE, allow_pickle=False) as arrays:
        return FaceMesh(
            _frozen(arrays["vertices"], np.float64), _frozen(arrays["triangles"], np.int64)
        )
