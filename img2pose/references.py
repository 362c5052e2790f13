"""The reference face: the only reader of `pose_references/`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from img2pose.errors import InputError
from img2pose.files import read_npy

POINTS_68_FILE = "reference_3d_68_points_trans.npy"
POINTS_5_FILE = "reference_3d_5_points_trans.npy"
MESH_FILE = "reference_mesh.npz"

# Reference units behind the lips.
_MOUTH_DEPTH = 0.1


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
        uvs: (U, 2) float64 texture coordinates, u to the right and v upward in 0..1, or None.
        triangle_uvs: (T, 3) int64 indices into `uvs`, one a corner; None where `uvs` is.

    Raises:
        InputError: A shape is wrong, an index lies outside, or a value is not finite.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray | None = None
    triangle_uvs: np.ndarray | None = None

    def __post_init__(self) -> None:
        if (self.uvs is None) != (self.triangle_uvs is None):
            raise InputError("mesh: uvs and triangle_uvs belong together: give both or neither")
        for name, width, corners in (("vertices", 3, "triangles"), ("uvs", 2, "triangle_uvs")):
            if getattr(self, name) is None:
                continue
            points = _frozen(getattr(self, name), np.float64)
            indices = _frozen(getattr(self, corners), np.int64)
            if points.ndim != 2 or points.shape[1] != width or not np.isfinite(points).all():
                raise InputError(
                    f"mesh {name}: finite numbers of shape (N, {width}) expected, not"
                    f" {points.shape}"
                )
            if indices.shape != (len(self.triangles), 3):
                raise InputError(f"mesh {corners}: shape (T, 3) expected, not {indices.shape}")
            if len(indices) and (indices.min() < 0 or indices.max() >= len(points)):
                raise InputError(f"mesh {corners}: indices must be below {len(points)}")
            object.__setattr__(self, name, points)
            object.__setattr__(self, corners, indices)


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


MeshPart = Literal["head", "face"]


@cache
def default_mesh(part: MeshPart = "head") -> FaceMesh:
    """The mesh that the default reference points lie on; it fits poses of no others.

    Args:
        part: The whole head with neck, or the face as a mask from hairline to chin without ears
            and tongue.
    """
    with np.load(references_folder() / MESH_FILE, allow_pickle=False) as arrays:
        vertices = np.asarray(arrays["vertices"], dtype=np.float64)
        triangles = np.asarray(arrays["triangles"], dtype=np.int64)
        is_tongue = arrays["vertex_parts"] == arrays["part_names"].tolist().index("tongue")
        in_mouth = arrays["vertex_masks"][arrays["mask_names"].tolist().index("inside-mouth")] > 127
    if part == "head":
        return FaceMesh(vertices, triangles)
    triangles = triangles[~is_tongue[triangles].any(axis=1)]
    vertices[in_mouth] = _shrunk_mouth(vertices[in_mouth])
    return FaceMesh(*_cut(vertices, triangles, _beyond_the_face(vertices)))


def _shrunk_mouth(vertices: np.ndarray) -> np.ndarray:
    """The mouth's inside (V, 3), drawn together behind the lips, whose slit it closes.

    At its own size it reaches far behind the mask.
    """
    inner_lip = PoseReferences.default().points_68[60:]
    center = inner_lip.mean(axis=0) + [0.0, 0.0, _MOUTH_DEPTH]
    behind_lips = vertices[:, 2:] - inner_lip[:, 2].max()
    share = np.clip(behind_lips / _MOUTH_DEPTH, 0, 0.8)
    result: np.ndarray = vertices + share * (center - vertices)
    return result


def _beyond_the_face(vertices: np.ndarray) -> np.ndarray:
    """(V,) below 0 on the face, above 0 on the rest of the head: neck, ears, hair."""
    jaw = PoseReferences.default().points_68[:17]
    center = jaw.mean(axis=0)
    # The jaw line lies nearly in a plane; its normal points at the neck.
    normal = np.linalg.svd(jaw - center)[2][2]
    normal *= np.sign(normal[2])
    x, y, z = vertices.T
    behind_jaw = (vertices - center) @ normal - 0.08
    above = np.minimum(y + 0.30, 0.0) / 0.80
    above_hairline = (x / 0.95) ** 2 + above**2 - 1.0
    result: np.ndarray = np.maximum.reduce([behind_jaw, z - 0.26, above_hairline])
    return result


def _cut(
    vertices: np.ndarray, triangles: np.ndarray, beyond: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a mesh where a value of its vertices (V,) is below 0, with a clean border."""
    inside = beyond[triangles] < 0
    count = inside.sum(axis=1)
    pieces = [triangles[count == 3]]
    cut_edges: list[np.ndarray] = []
    for wanted in (1, 2):
        crossed = triangles[count == wanted]
        # The corner that is alone on its side comes first; the order around stays.
        alone = (inside[count == wanted] == (wanted == 1)).argmax(axis=1)
        a, b, c = (crossed[np.arange(len(crossed)), (alone + step) % 3] for step in range(3))
        first = len(vertices) + sum(len(edges) for edges in cut_edges)
        ab = first + np.arange(len(crossed))
        ac = ab + len(crossed)
        cut_edges += [np.stack([a, b], axis=1), np.stack([a, c], axis=1)]
        if wanted == 1:
            pieces.append(np.stack([a, ab, ac], axis=1))
        else:
            pieces += [np.stack([ab, b, c], axis=1), np.stack([ab, c, ac], axis=1)]
    # Neighbours cut the same edge: from one end, so that both find the same point.
    edges, point_of_cut = np.unique(
        np.sort(np.concatenate(cut_edges), axis=1), axis=0, return_inverse=True
    )
    start, end = beyond[edges].T
    share = (start / (start - end))[:, None]
    points = vertices[edges[:, 0]] * (1 - share) + vertices[edges[:, 1]] * share
    number = np.concatenate([np.arange(len(vertices)), len(vertices) + point_of_cut.ravel()])
    used, renumbered = np.unique(number[np.concatenate(pieces)], return_inverse=True)
    return np.concatenate([vertices, points])[used], renumbered.reshape(-1, 3)
