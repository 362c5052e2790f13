"""The meshes of a picture's faces in its camera, and which of their points it sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.geometry import rotvec_to_matrix
from img2pose.references import FaceMesh, default_mesh
from sim3dr import Mesh, Rasterized, rasterize, vertex_normals

NEAR = 0.05
"""Reference units; what lies nearer to the camera's plane is cut away."""

# Reference units by which a point may lie behind the surface it is on: the reference points are
# vertices, and triangles cut their corners.
_SURFACE_TOLERANCE = 0.03
# Radians or reference units; no face has such a pose, and squares stay exact enough.
_LARGEST_NUMBER = 1e6


@dataclass(frozen=True, eq=False)
class FaceScene:
    """One mesh in the poses of all faces of a picture.

    Attributes:
        mesh: In the reference frame.
        faces: (N,) index of each face in its detections; those without a sensible pose in front
            of the camera are left out.
        rotations: (N, 3, 3).
        translations: (N, 3), reference units.
        intrinsics: (3, 3), pixels.
        size_hw: Height and width of the picture in pixels.
    """

    mesh: FaceMesh
    faces: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    intrinsics: np.ndarray
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, detections: FaceDetections, mesh: FaceMesh | None = None) -> FaceScene:
        """Places a mesh in each face's pose.

        Args:
            detections: Faces in pixels and camera of the picture.
            mesh: In the frame of the poses' reference face. None: the face of `default_mesh`,
                which fits poses of the default references only.
        """
        poses = detections.poses
        usable = (np.abs(poses) < _LARGEST_NUMBER).all(axis=1) & (poses[:, 5] > NEAR)
        faces = np.flatnonzero(usable)
        rotations = rotvec_to_matrix(poses[faces, :3]).reshape(-1, 3, 3)
        return cls(
            default_mesh("face") if mesh is None else mesh,
            faces,
            rotations,
            poses[faces, 3:],
            detections.intrinsics,
            detections.size_hw,
        )

    def __len__(self) -> int:
        return len(self.faces)

    def place(self, points: np.ndarray) -> np.ndarray:
        """(P, 3) points of the reference frame as (N, P, 3) in the camera's."""
        turned = points @ self.rotations.transpose(0, 2, 1)
        placed: np.ndarray = turned + self.translations[:, None]
        return placed

    @cached_property
    def vertices(self) -> np.ndarray:
        """(N, V, 3) the mesh's vertices in the camera frame."""
        return self.place(self.mesh.vertices)

    @property
    def pixels_a_unit(self) -> np.ndarray:
        """(N,) pixels that a reference unit at each face's origin is wide, seen frontally."""
        focal = np.sqrt(self.intrinsics[0, 0]) * np.sqrt(self.intrinsics[1, 1])
        scale: np.ndarray = focal / self.translations[:, 2]
        return scale

    @cached_property
    def normals(self) -> np.ndarray:
        """(N, V, 3) outward unit vectors in the camera frame."""
        at_rest = vertex_normals(self.mesh.vertices, self.mesh.triangles)
        turned: np.ndarray = at_rest @ self.rotations.transpose(0, 2, 1)
        return turned

    @property
    def facing(self) -> np.ndarray:
        """(N, V) bool: vertices around which the surface faces the camera."""
        facing: np.ndarray = (self.normals * self.vertices).sum(axis=-1) < 0
        return facing

    def project(self, points_in_camera: np.ndarray) -> np.ndarray:
        """(..., 3) points in the camera frame as (..., 2) pixels; NaN where nearer than `NEAR`."""
        homogeneous = points_in_camera @ self.intrinsics.T
        depth = homogeneous[..., 2:]
        behind = ~(depth > NEAR)
        projected = homogeneous[..., :2] / np.where(behind, 1.0, depth)
        return np.where(behind, np.nan, projected)

    def meshes(self, colours: np.ndarray | None = None) -> list[Mesh]:
        """Each face's mesh in the camera frame.

        Args:
            colours: 0..255, (3,) for all, (V, 3) of the mesh or (N, V, 3) of each face; None where
                only shapes count.
        """
        shape = (len(self), *self.mesh.vertices.shape)
        paint = np.broadcast_to(np.zeros(3) if colours is None else colours, shape)
        return [
            Mesh(vertices, self.mesh.triangles, colours=own)
            for vertices, own in zip(self.vertices, paint, strict=True)
        ]

    def meshes_on_screen(self) -> list[Mesh]:
        """Each face's mesh in pixels; vertices nearer than `NEAR` stand where they would at it."""
        vertices = self.vertices.copy()
        vertices[..., 2] = np.maximum(vertices[..., 2], 2 * NEAR)
        xy = self.project(vertices)
        screen = np.concatenate([xy, vertices[..., 2:]], axis=-1)
        return [Mesh(points, self.mesh.triangles) for points in screen]

    def draw(
        self,
        meshes: list[Mesh],
        background: np.ndarray | None = None,
        *,
        supersampling: int = 1,
        perspective_correct: bool = True,
    ) -> Rasterized:
        """Rasterizes the faces' meshes in one depth buffer.

        Args:
            meshes: Of `meshes`, perhaps lit.
            background: (H, W, 3); black if not given.
            supersampling: Samples a pixel along each axis, 1 or 2.
            perspective_correct: Interpolate along the surface; else along the screen, which
                suffices for shading.
        """
        return rasterize(
            meshes,
            *self.size_hw,
            background,
            intrinsics=self.intrinsics,
            near=NEAR,
            # The lips leave a slit, through which the mouth's inside is better seen than nothing.
            cull_back=False,
            supersampling=supersampling,
            perspective_correct=perspective_correct,
        )

    @cached_property
    def depth(self) -> np.ndarray:
        """(H, W) z at each pixel's centre in reference units, infinite where no face is."""
        return self.draw(self.meshes()).depth

    def is_visible(self, points_in_camera: np.ndarray) -> np.ndarray:
        """Which points on or near the faces' surfaces no face hides.

        Args:
            points_in_camera: (..., 3).

        Returns:
            (...) bool; False outside the picture.
        """
        height, width = self.size_hw
        xy = self.project(points_in_camera)
        # NaN, of points behind the camera, is not inside either.
        inside = np.all((xy >= -0.5) & (xy < np.array([width, height]) - 0.5), axis=-1)
        inside = np.asarray(inside)
        column, row = np.moveaxis(np.rint(np.where(inside[..., None], xy, 0)).astype(int), -1, 0)
        surface = self.depth[row, column]
        z = points_in_camera[..., 2]
        pixel_size = z / min(self.intrinsics[0, 0], self.intrinsics[1, 1])
        seen: np.ndarray = inside & (z <= surface + _SURFACE_TOLERANCE + 2 * pixel_size)
        return seen
