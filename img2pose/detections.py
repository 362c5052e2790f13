"""Faces found in a photograph, and what follows from their poses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from img2pose.geometry import (
    boxes_from_points,
    image_intrinsics,
    pose_to_euler,
    project_points,
    rotvec_to_matrix,
    rotvec_to_quaternion,
)
from img2pose.geometry.camera import checked_intrinsics
from img2pose.references import PoseReferences

EYE_POINTS = (slice(36, 42), slice(42, 48))
"""iBUG's points around each eye; their means are the eye centres."""

ADULT_INTEROCULAR_DISTANCE_M = 0.063
"""Between the centres of an adult's eyes, on average; single adults differ by 0.0036 (one standard
deviation; Dodgson, 2004)."""

ORDERS = ("score", "size", "position")

# No format of pictures knows longer ones.
_LONGEST_SIDE = 2**31 - 1


@dataclass(frozen=True, eq=False)
class FaceDetections(Sequence["FaceDetections"]):
    """Faces found in one photograph, best first unless they were put in another order.

    As a sequence it holds faces: `faces[0]` is a `FaceDetections` of one, `faces[:5]`,
    `faces[mask]` and `faces[indices]` of several.

    Attributes:
        poses: (N, 6) float64; rotation vector (radians) and translation (reference units) in the
            image's camera.
        boxes: (N, 4) float64; left, top, right, bottom in pixels of the image.
        scores: (N,) float64 in 0..1.
        intrinsics: (3, 3) float64; the camera the poses are in.
        size_hw: Height and width of the image in pixels.

    Raises:
        ValueError: A shape is wrong.
    """

    poses: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    intrinsics: np.ndarray
    size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = {
            "poses": (count, 6),
            "boxes": (count, 4),
            "scores": (count,),
            "intrinsics": (3, 3),
        }
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {value.shape}")
            object.__setattr__(self, name, value)

    @classmethod
    def empty(
        cls, size_hw: tuple[int, int], intrinsics: np.ndarray | None = None
    ) -> FaceDetections:
        """No faces.

        Args:
            size_hw: Height and width of the image in pixels.
            intrinsics: (3, 3); None: `image_intrinsics` of that size.
        """
        camera = image_intrinsics(*size_hw) if intrinsics is None else intrinsics
        return cls(np.empty((0, 6)), np.empty((0, 4)), np.empty(0), camera, size_hw)

    @classmethod
    def from_poses(
        cls,
        poses: np.ndarray,
        size_hw: tuple[int, int],
        intrinsics: np.ndarray | None = None,
        references: PoseReferences | None = None,
    ) -> FaceDetections:
        """Faces whose poses are known, with the boxes that a model makes from such poses.

        Args:
            poses: (N, 6) in the image's camera, in front of it.
            size_hw: Height and width of the image in pixels.
            intrinsics: (3, 3); None: `image_intrinsics` of that size.
            references: The reference face of the poses; None: the project's own.

        Returns:
            The faces in this order, each with score 1.
        """
        if not len(poses):
            return cls.empty(size_hw, intrinsics)
        camera = image_intrinsics(*size_hw) if intrinsics is None else intrinsics
        face = PoseReferences.default() if references is None else references
        points = project_points(face.points_68, poses, camera)
        boxes = boxes_from_points(points, poses, size_hw)
        return cls(poses, boxes, np.ones(len(poses)), camera, size_hw)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> FaceDetections:
        """Some of the faces, in the order asked for.

        Raises:
            IndexError: There is no such face.
        """
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"no face {index} of {len(self)}")
            index = [int(index)]
        elif isinstance(index, Sequence):
            # An empty list would be an array of floats.
            index = np.asarray(index, dtype=None if len(index) else np.int64)
        return FaceDetections(
            self.poses[index], self.boxes[index], self.scores[index], self.intrinsics, self.size_hw
        )

    def __iter__(self) -> Iterator[FaceDetections]:
        return (self[index] for index in range(len(self)))

    def above(self, score_threshold: float) -> FaceDetections:
        """The faces whose score is greater than `score_threshold`."""
        return self[self.scores > score_threshold]

    def sorted_by(self, order: str) -> FaceDetections:
        """The faces in another order; equal ones stay in theirs.

        Args:
            order: `score` (best first), `size` (largest box first) or `position` (nearest to the
                middle of the image first).

        Raises:
            ValueError: The order is not known.
        """
        if order == "score":
            keys = -self.scores
        elif order == "size":
            keys = -(self.boxes[:, 2:] - self.boxes[:, :2]).prod(-1)
        elif order == "position":
            middle = np.array(self.size_hw[::-1]) / 2
            centres = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
            keys = np.linalg.norm(centres - middle, axis=-1)
        else:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}: {order!r}")
        return self[np.argsort(keys, kind="stable")]

    @property
    def rotation_matrices(self) -> np.ndarray:
        """(N, 3, 3): X_camera = R X_face + t."""
        matrices: np.ndarray = rotvec_to_matrix(self.poses[:, :3])
        return matrices

    @property
    def quaternions(self) -> np.ndarray:
        """(N, 4) unit quaternions (x, y, z, w) of the same rotations, w not negative."""
        quaternions: np.ndarray = rotvec_to_quaternion(self.poses[:, :3])
        return np.where(quaternions[:, 3:] < 0, -quaternions, quaternions)

    @property
    def extrinsics(self) -> np.ndarray:
        """(N, 4, 4): homogeneous points of the face, in reference units, to the camera's frame."""
        matrices = np.zeros((len(self), 4, 4))
        matrices[:, :3, :3] = self.rotation_matrices
        matrices[:, :3, 3] = self.poses[:, 3:]
        matrices[:, 3, 3] = 1
        return matrices

    def euler_deg(self, convention: str = "aflw2000") -> np.ndarray:
        """Euler angles.

        Args:
            convention: `aflw2000` for pitch, yaw and roll of `geometry.pose_to_euler`, or SciPy's
                name of a sequence of axes: `xyz` and the like turn about the camera's axes one
                after the other, `XYZ` and the like about the face's own.

        Returns:
            (N, 3) degrees, in the order of the convention.

        Raises:
            ValueError: There is no such convention.
        """
        if convention == "aflw2000":
            return np.asarray(pose_to_euler(self.poses, convention))
        rotations = Rotation.from_rotvec(self.poses[:, :3].reshape(-1, 3))
        try:
            angles: np.ndarray = rotations.as_euler(convention, degrees=True)
        except ValueError as error:
            raise ValueError(
                f"convention must be aflw2000 or three axes such as xyz or ZYX: {convention!r}"
            ) from error
        return angles

    def landmarks(self, references: PoseReferences | None = None) -> np.ndarray:
        """The 68 points of the reference face, projected.

        Args:
            references: Those of the model that gave the poses (`Detector.references`); None: the
                project's own.

        Returns:
            (N, 68, 2) pixels of the image, in iBUG's order.
        """
        face = PoseReferences.default() if references is None else references
        points: np.ndarray = project_points(face.points_68, self.poses, self.intrinsics)
        return points

    def translations_m(
        self,
        interocular_distance_m: float | np.ndarray = ADULT_INTEROCULAR_DISTANCE_M,
        references: PoseReferences | None = None,
    ) -> np.ndarray:
        """Where the faces are, in metres: a photograph leaves the scale open, the eyes give it.

        Args:
            interocular_distance_m: Between the centres of the eyes; of all faces, or (N,).
            references: See `landmarks`.

        Returns:
            (N, 3): x to the right, y down, z away from the camera, of the reference face's origin.
            Right to the extent that the intrinsics are the camera's own.

        Raises:
            ValueError: A distance is not positive.
        """
        distances = np.asarray(interocular_distance_m, dtype=np.float64)
        if distances.shape not in ((), (len(self),)) or not (distances > 0).all():
            raise ValueError(
                f"interocular_distance_m must be positive, one or {len(self)}:"
                f" {interocular_distance_m}"
            )
        face = PoseReferences.default() if references is None else references
        left, right = (face.points_68[eye].mean(0) for eye in EYE_POINTS)
        metres_a_unit = distances / np.linalg.norm(left - right)
        moved: np.ndarray = self.poses[:, 3:] * np.reshape(metres_a_unit, (-1, 1))
        return moved

    def to_dict(self, *, euler: bool = False) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON.

        Args:
            euler: Also give each face `euler_aflw2000_deg`: its `pitch`, `yaw` and `roll`.
        """
        described: dict[str, Any] = {
            "size_hw": list(self.size_hw),
            "intrinsics": self.intrinsics.tolist(),
            "faces": [
                {"score": score, "box": box, "pose": pose}
                for score, box, pose in zip(
                    self.scores.tolist(), self.boxes.tolist(), self.poses.tolist(), strict=True
                )
            ],
        }
        if euler:
            angles = self.euler_deg().tolist()
            for face, (pitch, yaw, roll) in zip(described["faces"], angles, strict=True):
                face["euler_aflw2000_deg"] = {"pitch": pitch, "yaw": yaw, "roll": roll}
        return described

    def to_json(self) -> str:
        """`to_dict` as one line of JSON.

        Raises:
            ValueError: A number is not finite.
        """
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> FaceDetections:
        """What `to_dict` gave, exactly; further keys are passed over.

        Raises:
            ValueError: A key is missing or holds something else: text or truth values for numbers,
                numbers that are not finite, a score beyond 0..1, a size or a camera that no
                picture has.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f"an object with faces was expected, not {type(value).__name__}")
        missing = {"size_hw", "intrinsics", "faces"} - set(value)
        if missing:
            raise ValueError(f"no {', '.join(sorted(missing))} where faces were expected")
        faces = value["faces"]
        if not isinstance(faces, list | tuple) or not all(isinstance(f, Mapping) for f in faces):
            raise ValueError("faces must be a list of objects")
        for number, face in enumerate(faces):
            if missing := {"pose", "box", "score"} - set(face):
                raise ValueError(f"face {number} of faces has no {', '.join(sorted(missing))}")
        height, width = _numbers("size_hw", value["size_hw"], (2,)).tolist()
        if not all(side.is_integer() and 1 <= side <= _LONGEST_SIDE for side in (height, width)):
            raise ValueError(f"size_hw must be two whole numbers, 1 to {_LONGEST_SIDE}")
        intrinsics = checked_intrinsics(_numbers("intrinsics", value["intrinsics"], (3, 3)))
        count = len(faces)
        scores = _numbers("scores", [face["score"] for face in faces], (count,))
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("scores must be between 0 and 1")
        return cls(
            _numbers("poses", [face["pose"] for face in faces], (count, 6)),
            _numbers("boxes", [face["box"] for face in faces], (count, 4)),
            scores,
            intrinsics,
            (int(height), int(width)),
        )


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Lists of finite numbers as float64 of a shape; text and truth values are no numbers."""
    try:
        array = np.array(value) if shape[0] else np.zeros(shape)
    except (TypeError, ValueError, OverflowError):
        array = np.array(None)
    if array.shape != shape or array.dtype.kind not in "iuf" or _holds_truth_values(value):
        raise ValueError(f"{name} must be numbers of shape {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    return array.astype(np.float64)


def _holds_truth_values(value: Any) -> bool:
    # NumPy takes them for numbers where real ones stand beside them.
    if isinstance(value, list | tuple):
        return any(map(_holds_truth_values, value))
    return isinstance(value, bool)
