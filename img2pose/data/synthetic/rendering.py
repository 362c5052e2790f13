"""Figures to a picture in linear light: one depth buffer, shadows, paint, lenses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from img2pose.data.synthetic.head_model import view_frame
from img2pose.data.synthetic.lighting import Illumination
from img2pose.data.synthetic.materials import LENS_DENSITY, LENS_MIRROR
from img2pose.data.synthetic.parts import Assembly, Figure, assemble
from img2pose.data.synthetic.shading import shade
from sim3dr import Mesh, Rasterized, rasterize

# Reference units; what is nearer to the camera is cut off.
_NEAR = 0.12
# Reference units; a surface must lie so far behind another to be in its shadow.
_SHADOW_BIAS = 0.035
# Samples: height of the smallest face that casts a shadow, and side of the largest shadow map.
_LEAST_SHADOW = 24
_MOST_SHADOW = 168


@dataclass(frozen=True, eq=False)
class PlacedFigure:
    """A figure in front of the camera.

    Attributes:
        figure: Its surfaces.
        rotation: (3, 3) from the head's frame to the camera's.
        translation: (3,) likewise.
        size: Height of the face in samples, for the detail of its shadow.
    """

    figure: Figure
    rotation: np.ndarray
    translation: np.ndarray
    size: float


@dataclass(frozen=True, eq=False)
class Rendered:
    """A drawn scene.

    Attributes:
        picture: (H, W, 3) float32 linear light.
        buffer: What each sample shows; `mesh_index` is 0 or -1.
        assembly: The mesh that its triangles are of; None for a scene without figures.
        intrinsics: (3, 3) of the samples.
    """

    picture: np.ndarray
    buffer: Rasterized | None
    assembly: Assembly | None
    intrinsics: np.ndarray


def sample_intrinsics(intrinsics: np.ndarray, scale: float) -> np.ndarray:
    """The camera of a picture that has `scale` samples along a pixel's side."""
    result = intrinsics.copy()
    result[:2, :2] *= scale
    result[:2, 2] = (intrinsics[:2, 2] + 0.5) * scale - 0.5
    return result


def render(
    placed: list[PlacedFigure],
    background: np.ndarray,
    intrinsics: np.ndarray,
    light: Illumination,
) -> Rendered:
    """Draws figures over a background.

    Args:
        placed: Any number.
        background: (H, W, 3) float32 linear light; not changed.
        intrinsics: (3, 3) of its samples.
        light: On all of them.
    """
    picture = background.copy()
    height, width = picture.shape[:2]
    pieces = [
        (number, part.moved(one.rotation, one.translation))
        for number, one in enumerate(placed)
        for part in one.figure.parts
    ]
    if not pieces:
        return Rendered(picture, None, None, intrinsics)
    scene = assemble(pieces)
    buffer = rasterize(
        Mesh(scene.vertices, scene.triangles),
        height,
        width,
        intrinsics=intrinsics,
        near=_NEAR,
        cull_back=False,
        threads=1,
    )
    maps, frames, has_map = _shadow_maps(scene, placed, light.directions[0])
    shade(
        buffer.triangle_index,
        np.asarray(buffer.barycentric, dtype=np.float32),
        scene.vertices,
        scene.triangles,
        scene.attributes,
        scene.part_of_triangle,
        scene.kinds,
        scene.parameters,
        scene.figure_of_part,
        light.directions,
        light.colours,
        light.surroundings,
        light.skyward,
        maps,
        frames,
        has_map,
        float(intrinsics[0, 0]),
        picture,
    )
    _draw_lenses(picture, buffer.depth, placed, intrinsics, light)
    return Rendered(picture, buffer, scene, intrinsics)


def _shadow_maps(
    scene: Assembly, placed: list[PlacedFigure], direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depths of each figure of some size, seen from the first lamp; see `shade`."""
    wanted = [one.size >= _LEAST_SHADOW for one in placed]
    sizes = [min(_MOST_SHADOW, 40 + 0.8 * one.size) for one in placed]
    size = round(max((s for s, w in zip(sizes, wanted, strict=True) if w), default=2))
    maps = np.full((len(placed), size, size), np.inf, dtype=np.float32)
    frames = np.zeros((len(placed), 3, 4), dtype=np.float32)
    view = view_frame(-direction.astype(np.float64))
    ends = np.append(scene.first_vertex, len(scene.vertices))
    for number in np.flatnonzero(wanted):
        mine = np.flatnonzero(scene.figure_of_part == number)
        first, last = mine[0], mine[-1]
        vertices = scene.vertices[ends[first] : ends[last + 1]]
        triangles = scene.triangles[scene.first_triangle[first] : scene.first_triangle[last + 1]]
        triangles = triangles - np.int32(ends[first])
        turned = vertices @ view.T
        # The body reaches far; the head with what is around it gets the map.
        middle = placed[number].translation @ view.T
        low = np.maximum(turned[:, :2].min(axis=0), middle[:2] - 2.4)
        high = np.minimum(turned[:, :2].max(axis=0), middle[:2] + 2.4)
        scale = (size - 1) / float((high - low).max())
        screen = np.column_stack([(turned[:, :2] - low) * scale, turned[:, 2]])
        drawn = rasterize(Mesh(screen, triangles), size, size, cull_back=False, threads=1)
        maps[number] = drawn.depth + _SHADOW_BIAS
        frames[number, :, :3] = view
        frames[number, :2, :3] *= scale
        frames[number, :2, 3] = -low * scale
    return maps, frames, np.array(wanted, dtype=np.int32)


def _draw_lenses(
    picture: np.ndarray,
    depth: np.ndarray,
    placed: list[PlacedFigure],
    intrinsics: np.ndarray,
    light: Illumination,
) -> None:
    """Lays lenses over what is behind them: tint, and a mirrored sky that ends somewhere."""
    pieces = [
        (number, part.moved(one.rotation, one.translation))
        for number, one in enumerate(placed)
        for part in one.figure.lenses
    ]
    if not pieces:
        return
    scene = assemble(pieces)
    drawn = rasterize(
        Mesh(scene.vertices, scene.triangles),
        *picture.shape[:2],
        intrinsics=intrinsics,
        near=_NEAR,
        cull_back=False,
        threads=1,
    )
    row, column = np.nonzero(drawn.depth < depth)
    if not len(row):
        return
    triangle = drawn.triangle_index[row, column]
    part = scene.part_of_triangle[triangle]
    kept = scene.parameters[part, LENS_DENSITY, None]
    mirrored = scene.parameters[part, LENS_MIRROR, None]
    tint = scene.attributes[scene.triangles[triangle, 0], :3]
    corners = scene.triangles[triangle]
    weights = drawn.barycentric[row, column]
    place = np.einsum("nc,ncx->nx", weights, scene.attributes[corners, 3:6])
    # Windows, roofs and horizons that dark glasses show.
    wave = np.sin(place[:, 0] * 9 + 3 * part) + np.sin(place[:, 1] * 14 + 5 * part)
    bright = 1 / (1 + np.exp(-8 * (wave - 0.4)))
    seen = picture[row, column] * (1 - kept) + kept * tint * light.surroundings.mean(0)
    sky = light.surroundings[0] + 0.3 * light.colours[0]
    picture[row, column] = seen + mirrored * bright[:, None] * sky


def face_samples(scene: Rendered, first_part: int, last_part: int) -> tuple[int, int]:
    """How much of a face is seen.

    Args:
        scene: What was drawn.
        first_part: Of the assembly, the first of those that make up a bare head.
        last_part: The last of them.

    Returns:
        Samples of the face that the picture shows, and those that it would show were nothing
        before it: no other figure, hair, hand, glasses or edge of the picture. The second is 0 for
        a head that reaches behind the camera or is larger than two pictures.
    """
    assert scene.assembly is not None and scene.buffer is not None
    mesh = scene.assembly
    low, high = mesh.first_triangle[first_part], mesh.first_triangle[last_part + 1]
    index = scene.buffer.triangle_index
    mine = (index >= low) & (index < high)
    visible = int(mesh.is_face[index[mine]].sum())
    ends = np.append(mesh.first_vertex, len(mesh.vertices))
    begin = ends[first_part]
    vertices = mesh.vertices[begin : ends[last_part + 1]]
    if vertices[:, 2].min() < _NEAR:
        return visible, 0
    triangles = mesh.triangles[low:high] - np.int32(begin)
    k = scene.intrinsics
    projected = vertices[:, :2] / vertices[:, 2:] * k[[0, 1], [0, 1]] + k[:2, 2]
    corner = np.floor(projected.min(axis=0))
    size = np.ceil(projected.max(axis=0)) - corner + 1
    limit = 2.0 * max(index.shape)
    if size.max() > limit:
        return visible, 0
    shifted = k.copy()
    shifted[:2, 2] -= corner
    alone = rasterize(
        Mesh(vertices, triangles),
        int(size[1]),
        int(size[0]),
        intrinsics=shifted,
        near=_NEAR,
        threads=1,
    )
    shown = alone.triangle_index[alone.triangle_index >= 0]
    return visible, int(mesh.is_face[low:high][shown].sum())


def visible_points(scene: Rendered, points: np.ndarray, slack: float) -> np.ndarray:
    """Which points of surfaces the picture shows.

    Args:
        scene: What was drawn.
        points: (N, 3) in the camera's frame.
        slack: A point no farther than this behind what is drawn there is seen.

    Returns:
        (N,) bool; false outside the picture.
    """
    assert scene.buffer is not None
    depth, k = scene.buffer.depth, scene.intrinsics
    height, width = depth.shape
    seen = np.zeros(len(points), dtype=bool)
    for index, (x, y, z) in enumerate(points):
        if z < _NEAR:
            continue
        u, v = x / z * k[0, 0] + k[0, 2], y / z * k[1, 1] + k[1, 2]
        if not (-0.5 <= u < width - 0.5 and -0.5 <= v < height - 0.5):
            continue
        column, row = math.floor(u + 0.5), math.floor(v + 0.5)
        # Points of the outline lie between what is before and behind it.
        around = depth[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        nearest = around.flat[np.abs(around - z).argmin()]
        seen[index] = abs(nearest - z) <= slack
    return seen
