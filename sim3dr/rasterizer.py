"""Draws meshes with one shared depth buffer.

Conventions, here and in all of `sim3dr`:

- Screen: x to the right, y down, in pixels. Pixel (row r, column c) is sampled at x = c, y = r, so
  pixel centres have whole coordinates, as in OpenCV.
- Camera: x to the right, y down, z away from it, along its axis.
- Depth: z grows away from the camera; the smaller depth hides the greater.
- Winding: the front of a triangle is the side from which its corners run clockwise on the screen
  (y down). Back sides are culled unless asked for; triangles without area never appear.
- Coverage: a pixel belongs to a triangle when its centre lies inside or on an edge. Of triangles
  at equal depth the first is seen.
- Interpolation is linear on the screen, or linear on the surface where `perspective_correct`.
- Colours are 0..255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr import plain
from sim3dr.clipping import ScreenMesh, to_screen
from sim3dr.mesh import Floats, Mesh
from sim3dr.threads import checked_threads, run_all

Engine = Literal["numba", "numpy"]
ENGINES: tuple[Engine, ...] = ("numba", "numpy")

# Rows that one task draws: few enough to share a face out, many enough to be worth a call.
_BAND_ROWS = 16
# Triangles that one task looks through.
_CHUNK = 32768
_LARGEST_SIDE = 32768


@dataclass(frozen=True)
class Rasterized:
    """What each pixel of a picture shows.

    Attributes:
        image: (H, W, 3) float32, 0..255; (H, W, 4) where it is transparent: straight (not
            premultiplied) colours, and 255 times the coverage.
        depth: (H, W) float64, infinite where nothing is seen.
        mesh_index: (H, W) int32, -1 where nothing is seen.
        triangle_index: (H, W) int32, within the mesh; -1 where nothing is seen.
        barycentric: (H, W, 3) float64, weights of the triangle's three corners; they sum to 1, or
            are 0 where nothing is seen.
        coverage: (H, W) float32 in 0..1, the share of a pixel's samples that show a mesh.

    With supersampling, `depth`, indices and weights are those of a pixel's nearest sample.
    """

    image: NDArray[np.float32]
    depth: Floats
    mesh_index: NDArray[np.int32]
    triangle_index: NDArray[np.int32]
    barycentric: Floats
    coverage: NDArray[np.float32]


@dataclass(frozen=True)
class _Buffers:
    """One sample a pixel; `seen` counts the triangles of all meshes on."""

    depth: Floats
    seen: NDArray[np.int32]
    weights: Floats

    @classmethod
    def empty(cls, height: int, width: int) -> _Buffers:
        return cls(
            np.full((height, width), np.inf),
            np.full((height, width), -1, np.int32),
            np.zeros((height, width, 3)),
        )


def _checked_size(height: int, width: int) -> None:
    if not (1 <= height <= _LARGEST_SIDE and 1 <= width <= _LARGEST_SIDE):
        raise ValueError(f"height and width must be 1 to {_LARGEST_SIDE}, not {height} and {width}")


def _canvas(background: ArrayLike | None, height: int, width: int) -> NDArray[np.float32]:
    colour = np.zeros(3) if background is None else np.asarray(background)
    if colour.shape not in ((3,), (height, width, 3)):
        raise ValueError(
            f"background must have shape (3,) or ({height}, {width}, 3), not {colour.shape}"
        )
    if not np.issubdtype(colour.dtype, np.number) or np.iscomplexobj(colour):
        raise TypeError(f"background must be real numbers, not {colour.dtype}")
    return np.array(np.broadcast_to(colour, (height, width, 3)), dtype=np.float32)


def checked_intrinsics(intrinsics: ArrayLike) -> Floats:
    """A camera's matrix as float64.

    Raises:
        ValueError: It is not (3, 3), has no positive focal lengths or another last row.
    """
    matrix = np.asarray(intrinsics, dtype=np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"intrinsics must be a finite (3, 3) matrix, not {matrix.tolist()}")
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0 and matrix[2].tolist() == [0, 0, 1]):
        raise ValueError(
            "intrinsics need positive focal lengths in pixels and the last row 0, 0, 1, not"
            f" {matrix.tolist()}"
        )
    return matrix


def _on_screen(
    meshes: Sequence[Mesh], intrinsics: ArrayLike | None, near: float, scale: int
) -> list[ScreenMesh]:
    if intrinsics is None:
        screen = [ScreenMesh(mesh.vertices, mesh.triangles) for mesh in meshes]
    else:
        camera = checked_intrinsics(intrinsics)
        if not (np.isfinite(near) and near > 0):
            raise ValueError(f"near must be a positive distance, not {near}")
        screen = [to_screen(mesh.vertices, mesh.triangles, camera, near) for mesh in meshes]
    if scale == 1:
        return screen
    # Pixel c is sampled at c - 1/4 and c + 1/4, which are whole on a screen of twice the size.
    stretch = np.array([scale, scale, 1.0])
    shift = np.array([(scale - 1) / 2, (scale - 1) / 2, 0.0])
    return [
        ScreenMesh(
            mesh.vertices * stretch + shift, mesh.triangles, mesh.source, mesh.source_weights
        )
        for mesh in screen
    ]


def _first_numbers(screen: Sequence[ScreenMesh]) -> list[int]:
    counts = [len(mesh.triangles) for mesh in screen]
    total = sum(counts)
    if total > np.iinfo(np.int32).max:
        raise ValueError(f"{total} triangles are too many for one picture")
    return [0, *np.cumsum(counts).tolist()]


def _draw_plain(
    screen: Sequence[ScreenMesh], cull_back: bool, perspective: bool, buffers: _Buffers
) -> None:
    for mesh, number in zip(screen, _first_numbers(screen), strict=False):
        plain.draw_triangles(
            mesh.vertices,
            mesh.triangles,
            number,
            cull_back,
            perspective,
            buffers.depth,
            buffers.seen,
            buffers.weights,
        )


def _draw_compiled(
    screen: Sequence[ScreenMesh],
    cull_back: bool,
    perspective: bool,
    buffers: _Buffers,
    threads: int,
) -> None:
    # numba takes a third of a second to import, and not every user draws.
    from sim3dr import kernels

    height, width = buffers.depth.shape
    parts = [
        (mesh, number, start, min(start + _CHUNK, len(mesh.triangles)))
        for mesh, number in zip(screen, _first_numbers(screen), strict=False)
        for start in range(0, len(mesh.triangles), _CHUNK)
    ]
    listed: list[tuple[NDArray[Any], NDArray[Any]]] = [(np.empty(0), np.empty(0))] * len(parts)

    def select(index: int) -> None:
        mesh, _, start, stop = parts[index]
        listed[index] = kernels.select_triangles(
            mesh.vertices, mesh.triangles, start, stop, cull_back, height, width, _BAND_ROWS
        )

    def draw(band: int) -> None:
        top = band * _BAND_ROWS
        for (mesh, number, _, _), (offsets, members) in zip(parts, listed, strict=True):
            if offsets[band] == offsets[band + 1]:
                continue
            kernels.draw_triangles(
                mesh.vertices,
                mesh.triangles,
                members[offsets[band] : offsets[band + 1]],
                number,
                perspective,
                top,
                min(top + _BAND_ROWS, height),
                buffers.depth,
                buffers.seen,
                buffers.weights,
            )

    run_all([partial(select, index) for index in range(len(parts))], threads)
    run_all([partial(draw, band) for band in range(-(-height // _BAND_ROWS))], threads)


def _back_to_source(screen: Sequence[ScreenMesh], buffers: _Buffers) -> list[int]:
    """Makes numbers and weights those of the meshes before they were cut; returns first numbers."""
    numbers = _first_numbers(screen)
    if all(mesh.source is None for mesh in screen):
        return numbers
    rows, columns = np.nonzero(buffers.seen >= 0)
    seen = buffers.seen[rows, columns]
    owner = np.searchsorted(numbers, seen, side="right") - 1
    for index, mesh in enumerate(screen):
        if mesh.source is None or mesh.source_weights is None:
            continue
        mine = owner == index
        piece = seen[mine] - numbers[index]
        at = rows[mine], columns[mine]
        weights = buffers.weights[at][:, None] @ mesh.source_weights[piece]
        buffers.weights[at] = weights[:, 0]
        buffers.seen[at] = numbers[index] + mesh.source[piece]
    return numbers


def _paint_plain(
    meshes: Sequence[Mesh], numbers: Sequence[int], buffers: _Buffers, image: NDArray[np.float32]
) -> None:
    for index, mesh in enumerate(meshes):
        mine = (buffers.seen >= numbers[index]) & (buffers.seen < numbers[index + 1])
        triangle = (buffers.seen[mine] - numbers[index]).astype(np.int64)
        image[mine] = plain.paint(mesh, triangle, buffers.weights[mine])


def _bounds(vertices: Floats, height: int, width: int) -> tuple[int, int, int, int]:
    """First row, the one after the last, first column, the one after the last."""
    low = np.floor(vertices[:, :2].min(axis=0)).clip(0, [width, height])
    high = np.ceil(vertices[:, :2].max(axis=0)).clip(-1, [width - 1, height - 1])
    return int(low[1]), int(high[1]) + 1, int(low[0]), int(high[0]) + 1


def _paint_compiled(
    meshes: Sequence[Mesh],
    screen: Sequence[ScreenMesh],
    numbers: Sequence[int],
    buffers: _Buffers,
    image: NDArray[np.float32],
    threads: int,
) -> None:
    from sim3dr import kernels

    height, width = buffers.depth.shape
    untextured = np.zeros((1, 1, 3), np.float32), np.zeros((1, 3), np.int32), np.zeros((1, 2))
    tasks: list[Callable[[], None]] = []
    for mesh, drawn, number in zip(meshes, screen, numbers, strict=False):
        top, bottom, left, right = _bounds(drawn.vertices, height, width)
        texture: tuple[Any, Any, Any] = untextured
        if mesh.texture is not None:
            texture = mesh.texture, mesh.texture_triangles, mesh.texture_coordinates
        tasks += [
            partial(
                kernels.paint,
                mesh.triangles,
                mesh.vertex_colours,
                mesh.texture is not None,
                *texture,
                number,
                (row, min(row + 4 * _BAND_ROWS, bottom)),
                (left, right),
                buffers.seen,
                buffers.weights,
                image,
            )
            for row in range(top, bottom, 4 * _BAND_ROWS)
        ]
    run_all(tasks, threads)


def _nearest_samples(buffers: _Buffers, scale: int) -> _Buffers:
    """Of each pixel's scale x scale samples the nearest."""
    height, width = (side // scale for side in buffers.depth.shape)

    def grouped(values: NDArray[Any]) -> NDArray[Any]:
        shape = height, scale, width, scale, *values.shape[2:]
        samples = np.moveaxis(values.reshape(shape), 2, 1)
        return samples.reshape(height, width, scale * scale, *values.shape[2:])

    depth = grouped(buffers.depth)
    nearest = depth.argmin(axis=2)[..., None]
    return _Buffers(
        np.take_along_axis(depth, nearest, 2)[..., 0],
        np.take_along_axis(grouped(buffers.seen), nearest, 2)[..., 0],
        np.take_along_axis(grouped(buffers.weights), nearest[..., None], 2)[:, :, 0],
    )


def _mean_of_samples(values: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    height, width = values.shape[0] // scale, values.shape[1] // scale
    shape = height, scale, width, scale, *values.shape[2:]
    mean: NDArray[np.float32] = values.reshape(shape).mean(axis=(1, 3), dtype=np.float32)
    return mean


def rasterize(
    meshes: Mesh | Sequence[Mesh],
    height: int,
    width: int,
    background: ArrayLike | None = None,
    *,
    intrinsics: ArrayLike | None = None,
    near: float = 0.01,
    cull_back: bool = True,
    perspective_correct: bool | None = None,
    supersampling: int = 1,
    transparent: bool = False,
    threads: int | None = None,
    engine: Engine = "numba",
) -> Rasterized:
    """Draws meshes; nearer ones hide farther ones, pixel by pixel.

    Args:
        meshes: One or several; none leaves the background.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        background: One colour (3,) or a picture (height, width, 3), 0..255; black if not given.
        intrinsics: (3, 3), pixels: vertices are in the camera's frame and projected with it. None:
            they are on the screen.
        near: Of the camera's frame: what is nearer along the axis is cut away.
        cull_back: Leaves out triangles seen from behind.
        perspective_correct: Colours, textures and weights are linear on the surface instead of the
            screen, and 1 / depth on the screen instead of depth. Depths must be positive. None: so
            with `intrinsics`, else not.
        supersampling: 2 takes 2 x 2 samples a pixel, which smooths edges; 1 takes one.
        transparent: The picture gets a fourth channel, and no background.
        threads: None: as many as there are cores. The result does not depend on it.
        engine: `numba`, or its plain and slow twin `numpy`.

    Returns:
        See `Rasterized`.

    Raises:
        ImportError: numba is not installed; use the other engine.
        TypeError: Something of the wrong type is given.
        ValueError: A shape or value is wrong.
    """
    scene = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    for index, mesh in enumerate(scene):
        if not isinstance(mesh, Mesh):
            raise TypeError(f"meshes[{index}] must be a Mesh, not {type(mesh).__name__}")
    _checked_size(height, width)
    if supersampling not in (1, 2):
        raise ValueError(f"supersampling must be 1 or 2, not {supersampling}")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if transparent and background is not None:
        raise ValueError("a transparent picture has no background; leave one of them out")
    canvas = _canvas(background, height, width)
    workers = checked_threads(threads)
    perspective = (intrinsics is not None) if perspective_correct is None else perspective_correct
    screen = _on_screen(scene, intrinsics, near, supersampling)
    if perspective and any(mesh.vertices[:, 2].min(initial=1) <= 0 for mesh in screen):
        raise ValueError("perspective_correct needs depths above 0")
    buffers = _Buffers.empty(supersampling * height, supersampling * width)
    image = (
        canvas.repeat(supersampling, 0).repeat(supersampling, 1) if supersampling > 1 else canvas
    )
    if engine == "numba":
        _draw_compiled(screen, cull_back, perspective, buffers, workers)
    else:
        _draw_plain(screen, cull_back, perspective, buffers)
    numbers = _back_to_source(screen, buffers)
    if engine == "numba":
        _paint_compiled(scene, screen, numbers, buffers, image, workers)
    else:
        _paint_plain(scene, numbers, buffers, image)
    coverage = (buffers.seen >= 0).astype(np.float32)
    if supersampling > 1:
        image, coverage = (_mean_of_samples(v, supersampling) for v in (image, coverage))
        buffers = _nearest_samples(buffers, supersampling)
    if transparent:
        image = _with_alpha(image, coverage)
    mesh_index = np.full((height, width), -1, np.int32)
    rows, columns = np.nonzero(buffers.seen >= 0)
    owner = np.searchsorted(numbers, buffers.seen[rows, columns], side="right") - 1
    mesh_index[rows, columns] = owner
    # From numbers over all meshes to numbers within each.
    buffers.seen[rows, columns] -= np.array(numbers, np.int32)[owner]
    return Rasterized(image, buffers.depth, mesh_index, buffers.seen, buffers.weights, coverage)


def _with_alpha(image: NDArray[np.float32], coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    # Over black, what was averaged is the colour times the coverage.
    straight = np.divide(
        image, coverage[..., None], out=np.zeros_like(image), where=coverage[..., None] > 0
    )
    return np.concatenate([straight, 255 * coverage[..., None]], axis=2)
