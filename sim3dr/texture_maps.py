"""Unwrapping of heads and textures taken from photographs.

Texture coordinates u and v run to the right and upward over a picture that fills 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr.lighting import vertex_normals
from sim3dr.mesh import Mesh, checked_triangles, checked_vertices
from sim3dr.plain import bilinear
from sim3dr.rasterizer import checked_intrinsics, rasterize


@dataclass(frozen=True, eq=False)
class TextureMap:
    """Where each corner of a mesh lies on a texture.

    Attributes:
        coordinates: (U, 2) u and v in 0..1.
        triangles: (T, 3) indices into `coordinates`, corner by corner those of the mesh.
        layers: (U,) where parts of the mesh share a place, the one with the smaller layer has it;
            None where none do.
    """

    coordinates: NDArray[np.float64]
    triangles: NDArray[np.int32]
    layers: NDArray[np.float64] | None = None


def cylindrical_map(
    vertices: ArrayLike, triangles: ArrayLike, axis_xz: tuple[float, float] = (0.0, 0.0)
) -> TextureMap:
    """Unwraps a head from a cylinder around its upright axis; the seam is at the back.

    Args:
        vertices: (V, 3) at rest: x right, y down, z from the face to the back of the head.
        triangles: (T, 3) vertex indices.
        axis_xz: Where the axis goes through the head, in the unit of the vertices.

    Returns:
        A map that the mesh fills from edge to edge; of surfaces one behind the other the outer
        one has the place.

    Raises:
        TypeError: An array does not hold numbers of the right kind.
        ValueError: A shape is wrong, a number is not finite or an index lies outside the vertices.
    """
    if not np.isfinite(axis_xz).all():
        raise ValueError(f"axis_xz must be two finite numbers, not {axis_xz}")
    points = checked_vertices(vertices)
    corners = checked_triangles(triangles, len(points))
    x, z = points[:, 0] - axis_xz[0], points[:, 2] - axis_xz[1]
    radius = np.hypot(x, z)
    # 0 at the front, positive to the right.
    angle = np.arctan2(x, -z)
    around = angle[corners]
    # A triangle over the seam has corners at both ends; those at the left end move to the right.
    crosses = np.ptp(around, axis=1) > np.pi
    moved = crosses[:, None] & (around < 0)
    twins, which = np.unique(corners[moved], return_inverse=True)
    own = corners.copy()
    own[moved] = len(points) + which
    source = np.concatenate([np.arange(len(points)), twins])
    turned = angle[source]
    turned[len(points) :] += 2 * np.pi
    flat = np.stack([turned, -points[source, 1]], axis=1)
    used = flat[np.unique(own)]
    low, high = used.min(axis=0), used.max(axis=0)
    coordinates = ((flat - low) / np.where(high > low, high - low, 1.0)).clip(0, 1)
    return TextureMap(coordinates, own, -radius[source])


@dataclass(frozen=True, eq=False)
class Texels:
    """Which texels of a square texture a mesh fills, in any pose.

    Attributes:
        size: Side of the texture in pixels.
        index: (N,) row * size + column of each.
        triangle: (N,) in which triangle of the mesh its centre lies.
        weights: (N, 3) where, barycentric.
    """

    size: int
    index: NDArray[np.int64]
    triangle: NDArray[np.int64]
    weights: NDArray[np.float64]


def filled_texels(texture_map: TextureMap, size: int) -> Texels:
    """Draws a mesh on its texture.

    Args:
        texture_map: Of the mesh.
        size: Side of the texture in pixels.

    Returns:
        The texels whose centres lie on the mesh.

    Raises:
        TypeError: The size is no whole number.
        ValueError: The size is below 1 or too large for `rasterize`.
    """
    layers = texture_map.layers
    if layers is None:
        layers = np.zeros(len(texture_map.coordinates))
    u, v = texture_map.coordinates.T
    flat = np.stack([u * size - 0.5, (1 - v) * size - 0.5, layers], axis=1)
    drawn = rasterize(Mesh(flat, texture_map.triangles), size, size, cull_back=False)
    index = np.flatnonzero(drawn.triangle_index >= 0)
    triangle = drawn.triangle_index.ravel()[index].astype(np.int64)
    weights = drawn.barycentric.reshape(-1, 3)[index].astype(np.float64)
    return Texels(size, index, triangle, weights)


def extract_texture(
    photograph: ArrayLike,
    vertices_in_camera: ArrayLike,
    triangles: ArrayLike,
    texels: Texels,
    intrinsics: ArrayLike,
    depth: ArrayLike,
    *,
    least_cosine: float = 0.15,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Takes a mesh's texture from a photograph.

    Each texel's place on the surface is projected into the photograph. It is seen when its place
    faces the camera, lies within the photograph and is hidden by nothing in the depth buffer.

    Args:
        photograph: (H, W, 3) uint8.
        vertices_in_camera: (V, 3) of any unit; x right, y down, z away.
        triangles: (T, 3) vertex indices, front sides clockwise on the screen.
        texels: Of `filled_texels`, for the mesh's map.
        intrinsics: (3, 3), pixels.
        depth: (H, W) z of what the camera sees, this mesh included, in the unit of the vertices;
            infinite where nothing is.
        least_cosine: Of the angle between the surface's normal and the direction to the camera;
            flatter views smear the photograph and do not count as seen.

    Returns:
        Texture (size, size, 3) uint8, black where unseen, and (size, size) bool, True where seen.

    Raises:
        TypeError: The photograph is not uint8.
        ValueError: A shape is wrong, or the texels are another mesh's.
    """
    photo = np.asarray(photograph)
    if photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(f"photograph must have shape (H, W, 3), not {photo.shape}")
    if photo.dtype != np.uint8:
        raise TypeError(f"photograph must be uint8, not {photo.dtype}")
    buffer = np.asarray(depth, dtype=np.float64)
    if buffer.shape != photo.shape[:2]:
        raise ValueError(f"depth must have shape {photo.shape[:2]}, not {buffer.shape}")
    points = checked_vertices(vertices_in_camera)
    corners = checked_triangles(triangles, len(points))
    camera = checked_intrinsics(intrinsics)
    if texels.triangle.max(initial=-1) >= len(corners):
        raise ValueError(f"texels name triangle {texels.triangle.max()} of {len(corners)}")
    around = corners[texels.triangle]
    surface = np.einsum("nc,ncd->nd", texels.weights, points[around])
    # Smooth normals, so that the border of what faces the camera does not follow triangles.
    normals = vertex_normals(points, corners)
    facing = np.einsum("nc,ncd->nd", texels.weights, normals[around])
    length = np.linalg.norm(facing, axis=1, keepdims=True)
    facing /= np.where(length > 0, length, 1.0)
    texel, size = texels.index, texels.size
    distance = np.linalg.norm(surface, axis=1)
    # Outward normals against the ray from the camera.
    cosine = -(facing * surface).sum(axis=1) / np.maximum(distance, np.finfo(np.float64).tiny)
    usable = (cosine > least_cosine) & (surface[:, 2] > 0)
    texel, surface, cosine = texel[usable], surface[usable], cosine[usable]
    projected = surface @ camera.T
    x, y = (projected[:, :2] / projected[:, 2:]).T
    height, width = photo.shape[:2]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    texel, surface, cosine = texel[inside], surface[inside], cosine[inside]
    x, y = x[inside], y[inside]
    # A pixel of the buffer holds the depth at its centre. From there to the texel the surface
    # itself falls away by as much as it slopes.
    pixel_size = surface[:, 2] / min(camera[0, 0], camera[1, 1])
    slope = np.sqrt(1 - np.minimum(cosine, 1) ** 2) / cosine
    allowance = pixel_size * (1.0 + 1.5 * slope)
    front = buffer[np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)]
    visible = surface[:, 2] <= front + allowance
    texture = np.zeros((size * size, 3), dtype=np.uint8)
    seen = np.zeros(size * size, dtype=bool)
    seen[texel[visible]] = True
    # Texture coordinates of the photograph: v runs upward, whole pixels are texels' centres.
    uv = np.stack([(x[visible] + 0.5) / width, 1 - (y[visible] + 0.5) / height], axis=1)
    texture[texel[visible]] = bilinear(photo, uv).round()
    return texture.reshape(size, size, 3), seen.reshape(size, size)
