"""The rasterizer in compiled loops, shared by threads that each draw a band of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sim3dr import kernels
from sim3dr.canvas import Canvas, Rasterized
from sim3dr.mesh import Mesh
from sim3dr.screen import ScreenMesh, to_screen
from sim3dr.threads import run_all

# Bytes of the buffers of a band, about what a core's own cache holds.
_BAND_BYTES = 1 << 20
_BYTES_A_SAMPLE = 48
_LEAST_TRIANGLES_A_STRETCH = 1 << 14
# With less to do than this many samples and triangles, starting threads takes longer.
_LEAST_WORK_A_THREAD = 1 << 15

_NO_TEXTURE = np.zeros((0, 0, 3), dtype=np.float32)
_NO_COORDINATES = np.zeros((0, 2))


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Those triangles of a stretch of a mesh that may cover samples.

    Attributes:
        count: How many there are.
        kept: (>= count,) int32 places in `ScreenMesh.corners`.
        kept_boxes: (>= count, 4) int32 first and last row, first and last column of each.
        box: (4,) int64 first and last row, first and last column of all; empty if none.
    """

    count: int
    kept: NDArray[np.int32]
    kept_boxes: NDArray[np.int32]
    box: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Placed:
    """A mesh over the grid, and which of its triangles may be seen."""

    number: int
    screen: ScreenMesh
    stretches: list[_Stretch]

    def box(self) -> NDArray[np.int64]:
        """(4,) int64 first and last row, first and last column of the mesh."""
        boxes = np.array([stretch.box for stretch in self.stretches])
        low, high = boxes.min(axis=0), boxes.max(axis=0)
        return np.array([low[0], high[1], low[2], high[3]])


def _find_shown(screen: ScreenMesh, start: int, stop: int, canvas: Canvas) -> _Stretch:
    kept = np.empty(stop - start, dtype=np.int32)
    kept_boxes = np.empty((stop - start, 4), dtype=np.int32)
    box = np.empty(4, dtype=np.int64)
    count = kernels.find_shown(
        screen.vertices,
        screen.corners,
        start,
        stop,
        canvas.height * canvas.supersampling,
        canvas.width * canvas.supersampling,
        canvas.cull_back,
        kept,
        kept_boxes,
        box,
    )
    return _Stretch(count, kept, kept_boxes, box)


def _shade(placed: _Placed, canvas: Canvas, first_row: int, samples: Rasterized) -> None:
    screen, mesh = placed.screen, placed.screen.mesh
    texture, coordinates, texture_triangles = _NO_TEXTURE, _NO_COORDINATES, mesh.triangles
    if mesh.texture is not None:
        assert mesh.texture_coordinates is not None and mesh.texture_triangles is not None
        texture, coordinates = mesh.texture, mesh.texture_coordinates
        texture_triangles = mesh.texture_triangles
    kernels.shade(
        screen.vertices,
        screen.corners,
        screen.parents,
        screen.piece_weights,
        mesh.triangles,
        mesh.vertex_colours,
        texture,
        texture_triangles,
        coordinates,
        canvas.perspective_correct,
        placed.number,
        first_row,
        placed.box(),
        samples.mesh_index,
        samples.triangle_index,
        samples.image,
        samples.barycentric,
        samples.coverage,
    )


def _draw_band(
    meshes: Sequence[_Placed], canvas: Canvas, drawn: Rasterized, first: int, stop: int
) -> None:
    """Draws the pixels of rows first to stop - 1 into `drawn`, which shows nothing yet."""
    size = canvas.supersampling
    top, bottom = first * size, stop * size
    within = [
        (placed, stretch)
        for placed in meshes
        for stretch in placed.stretches
        if stretch.box[0] < bottom and stretch.box[1] >= top
    ]
    if not within:
        return
    pixels = Rasterized(*(getattr(drawn, field.name)[first:stop] for field in fields(drawn)))
    samples = pixels
    if size > 1:
        samples = Rasterized.empty(bottom - top, canvas.width * size, 3, np.float32)
    for placed, stretch in within:
        kernels.draw_depth(
            placed.screen.vertices,
            placed.screen.corners,
            stretch.kept,
            stretch.kept_boxes,
            stretch.count,
            canvas.perspective_correct,
            placed.number,
            top,
            samples.depth,
            samples.mesh_index,
            samples.triangle_index,
        )
    for placed in {placed.number: placed for placed, _ in within}.values():
        _shade(placed, canvas, top, samples)
    if size > 1:
        kernels.resolve(
            size,
            *(
                getattr(samples, name)
                for name in ("image", "depth", "mesh_index", "triangle_index", "barycentric")
            ),
            *(getattr(pixels, field.name) for field in fields(pixels)),
        )


def _stretches(screens: Sequence[ScreenMesh], threads: int) -> list[tuple[int, int, int]]:
    """(mesh, first triangle, one beyond the last) of stretches that keep all threads at work."""
    total = sum(len(screen.corners) for screen in screens)
    length = max(_LEAST_TRIANGLES_A_STRETCH, -(-total // (4 * threads)))
    return [
        (number, start, min(start + length, len(screen.corners)))
        for number, screen in enumerate(screens)
        for start in range(0, len(screen.corners), length)
    ]


def draw(
    meshes: Sequence[Mesh],
    canvas: Canvas,
    intrinsics: NDArray[np.float64] | None,
    near: float,
    threads: int,
) -> Rasterized:
    """Draws meshes that share one depth buffer; the arguments are those of `rasterize`.

    Threads are started for this call and end with it, so that none is missing after a fork.
    """
    size = canvas.supersampling
    samples = canvas.height * canvas.width * size * size
    work = samples + sum(len(mesh.triangles) for mesh in meshes)
    threads = min(threads, max(1, work // _LEAST_WORK_A_THREAD))
    band_rows = _BAND_BYTES // (_BYTES_A_SAMPLE * canvas.width * size * size)
    band_rows = max(1, min(band_rows, -(-canvas.height // threads)))
    screens = run_all(lambda mesh: to_screen(mesh, intrinsics, near, size), meshes, threads)
    places = _stretches(screens, threads)
    found = run_all(
        lambda place: _find_shown(screens[place[0]], place[1], place[2], canvas), places, threads
    )
    placed = []
    for number, screen in enumerate(screens):
        mine = [
            stretch
            for (of_mesh, _, _), stretch in zip(places, found, strict=True)
            if of_mesh == number and stretch.count
        ]
        if mine:
            placed.append(_Placed(number, screen, mine))
    drawn = canvas.blank(np.float32)
    run_all(
        lambda first: _draw_band(
            placed, canvas, drawn, first, min(first + band_rows, canvas.height)
        ),
        range(0, canvas.height, band_rows),
        threads,
    )
    return drawn
