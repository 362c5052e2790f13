"""The faces' meshes over their photograph, and the maps that the meshes give.

Each function takes faces in pixels and camera of their picture, intrinsics of the user's included,
and draws all of them in one depth buffer, so that they hide each other as they would. `mesh` is the
surface to draw, in the frame of the poses' reference face; None is the face of
`references.default_mesh`, which fits poses of the default references only: poses of the published
weights need a mesh in the published frame.
"""

from __future__ import annotations

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.references import FaceMesh
from img2pose.visualization.primitives import LANDMARK_COLOR, Color, line_width
from img2pose.visualization.scene import FaceScene
from img2pose.visualization.thinning import thinned
from sim3dr import (
    Lighting,
    Mesh,
    apart,
    depth_picture,
    dot_coverage,
    light_meshes,
    line_coverage,
    pncc_colours,
)

SILVER: Color = (198, 202, 208)
WIRE_COLOR: Color = (235, 245, 255)
_STUDIO = Lighting(
    ambient=0.32,
    directional=0.72,
    specular=0.30,
    specular_exponent=9.0,
    # Over the viewer's left shoulder.
    light_direction=(0.35, 0.45, 1.0),
    view_position=(0.0, 0.0, 0.0),
)


def _as_picture(image: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = image.clip(0, 255).round().astype(np.uint8)
    return rounded


def _mixed(below: np.ndarray, above: np.ndarray | Color, share: np.ndarray | float) -> np.ndarray:
    """`above` laid over `below`, (H, W, 3) each, with a share of 0..1, (H, W) or one for all."""
    weight = np.asarray(share, dtype=np.float32)[..., None]
    return _as_picture(below * (1 - weight) + np.asarray(above, dtype=np.float32) * weight)


def draw_overlay(
    image: np.ndarray,
    detections: FaceDetections,
    mesh: FaceMesh | None = None,
    *,
    opacity: float = 1.0,
    color: Color = SILVER,
    supersampling: int = 2,
) -> np.ndarray:
    """Lays shining masks over the faces.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Faces in pixels and camera of this image.
        mesh: See the module.
        opacity: 1 hides the faces, 0 shows nothing.
        color: RGB of the surface.
        supersampling: 2 smooths edges, 1 is quicker.

    Returns:
        A new picture (H, W, 3).

    Source: the figures of Albiero et al., CVPR 2021.
    """
    scene = FaceScene.of(detections, mesh)
    lit = light_meshes(scene.meshes(np.array(color, dtype=np.float64)), _STUDIO)
    drawn = scene.draw(lit, image, supersampling=supersampling, perspective_correct=False)
    # Highlights are brighter than white.
    return _mixed(image, drawn.image.clip(0, 255), opacity)


def draw_wireframe(
    image: np.ndarray,
    detections: FaceDetections,
    mesh: FaceMesh | None = None,
    *,
    color: Color = WIRE_COLOR,
    width: float = 0.9,
    opacity: float = 0.8,
    spacing: float = 7.0,
) -> np.ndarray:
    """Draws the sides of the meshes' triangles, without those that something hides.

    Small faces get fewer and larger triangles.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Faces in pixels and camera of this image.
        mesh: See the module.
        color: RGB of the lines.
        width: Of the lines, pixels.
        opacity: 0 to 1.
        spacing: About the least length of a side, pixels; 0 draws all triangles.

    Returns:
        A new picture (H, W, 3).
    """
    scene = FaceScene.of(detections, mesh)
    parts = [thinned(scene.mesh, scale, spacing) for scale in scene.pixels_a_unit]
    in_camera, on_screen = (
        [
            Mesh(whole.vertices[kept], triangles)
            for whole, (kept, triangles) in zip(meshes, parts, strict=True)
        ]
        for meshes in (scene.meshes(), scene.meshes_on_screen())
    )
    drawn = scene.draw(in_camera, perspective_correct=False)
    coverage = line_coverage(drawn, on_screen, width)
    return _mixed(image, color, opacity * coverage)


def draw_dense_points(
    image: np.ndarray,
    detections: FaceDetections,
    mesh: FaceMesh | None = None,
    *,
    color: Color = LANDMARK_COLOR,
    radius: float | None = None,
    spacing: float | None = None,
) -> np.ndarray:
    """Draws the meshes' vertices that can be seen, of small faces fewer.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Faces in pixels and camera of this image.
        mesh: See the module.
        color: RGB of the dots.
        radius: Of the dots, pixels; None: it grows with the picture.
        spacing: Least distance of a face's dots, pixels; None: it grows with the dots; 0 draws all
            vertices.

    Returns:
        A new picture (H, W, 3).
    """
    scene = FaceScene.of(detections, mesh)
    size = 0.45 * line_width(image.shape) if radius is None else radius
    distance = 2.5 * size + 1.5 if spacing is None else spacing
    seen = scene.facing & scene.is_visible(scene.vertices)
    points = [
        own[own_seen][apart(own[own_seen], distance)]
        for own, own_seen in zip(scene.project(scene.vertices), seen, strict=True)
    ]
    dots = np.concatenate([np.zeros((0, 2)), *points])
    return _mixed(image, color, dot_coverage(dots, image.shape[0], image.shape[1], size))


def depth_map(detections: FaceDetections, mesh: FaceMesh | None = None) -> np.ndarray:
    """How far the faces are from the camera's plane.

    Args:
        detections: Faces in pixels and camera of their picture.
        mesh: See the module.

    Returns:
        (H, W) float32 z in reference units at each pixel's centre, infinite where no face is.
    """
    return FaceScene.of(detections, mesh).depth.astype(np.float32)


def draw_depth(
    detections: FaceDetections, mesh: FaceMesh | None = None, *, each_face: bool = False
) -> np.ndarray:
    """Draws the depth map in gray: the nearest point is white, the farthest dark, none black.

    Args:
        detections: Faces in pixels and camera of their picture.
        mesh: See the module.
        each_face: Each face's own depths span the grays, which shows the relief of each.

    Returns:
        (H, W, 3) uint8.
    """
    scene = FaceScene.of(detections, mesh)
    drawn = scene.draw(scene.meshes())
    gray = depth_picture(drawn.depth, drawn.mesh_index if each_face else None)
    return np.repeat(gray[..., None], 3, axis=2)


def draw_pncc(
    detections: FaceDetections,
    mesh: FaceMesh | None = None,
    background: np.ndarray | None = None,
    *,
    supersampling: int = 1,
) -> np.ndarray:
    """Draws the Projected Normalised Coordinate Code: each place of the face has its own colour.

    Args:
        detections: Faces in pixels and camera of their picture.
        mesh: See the module. Its extent sets the code: x, y and z from its least to its greatest
            are red, green and blue from 0 to 255.
        background: (H, W, 3) uint8 RGB; black if None.
        supersampling: 1 keeps the codes exact; 2 smooths edges, which mixes codes there.

    Returns:
        (H, W, 3) uint8.
    """
    scene = FaceScene.of(detections, mesh)
    meshes = scene.meshes(pncc_colours(scene.mesh.vertices))
    return _as_picture(scene.draw(meshes, background, supersampling=supersampling).image)


def camera_meshes(
    detections: FaceDetections,
    mesh: FaceMesh | None = None,
    image: np.ndarray | None = None,
    *,
    color: Color = SILVER,
) -> list[Mesh]:
    """Each face's mesh in the camera frame, for files.

    Args:
        detections: Faces in pixels and camera of their picture.
        mesh: See the module.
        image: (H, W, 3) uint8 RGB; gives the vertices that it shows their colours.
        color: RGB of the other vertices.

    Returns:
        One for each face that has a finite pose in front of the camera, in their order.
    """
    scene = FaceScene.of(detections, mesh)
    colours = np.empty(scene.vertices.shape)
    colours[:] = color
    if image is not None and len(scene):
        seen = scene.facing & scene.is_visible(scene.vertices)
        column, row = np.rint(scene.project(scene.vertices)[seen]).astype(np.int64).T
        colours[seen] = image[row, column]
    return scene.meshes(colours)
