"""Meshes to pictures with a z-buffer.

Conventions, here and in all of `sim3dr`:

- Screen: x to the right, y down, in pixels. Pixel (row r, column c) is sampled at x = c, y = r, so
  pixel centres have whole coordinates, as in OpenCV. With supersampling by s, a pixel has s x s
  samples, evenly spread over its square.
- Depth: z grows away from the camera; the smaller depth hides the greater.
- Winding: the front of a triangle is the side from which its corners run clockwise on the screen
  (y down). Back sides are culled unless asked for; triangles without area never appear, nor do
  those whose coordinates leave the numbers on the way to the screen.
- Coverage: a sample belongs to a triangle when it lies inside or on an edge. Two triangles that
  share an edge leave no sample out between them, and each sample shows one of them. Of surfaces at
  equal depth the mesh given first is seen, and of its triangles the one with the lowest index.
- Interpolation is linear on the screen, which is exact for a camera without perspective and close
  for the small triangles of a face; or perspective-correct, linear on the surface.

Two engines give the same picture: `numba` (compiled when first used, then kept on disk; threads
share the picture's rows) and `numpy`, its plain twin. Depth and indices are the same in every bit,
colours and weights as far as float32 reaches.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr import plain
from sim3dr.canvas import Canvas, Rasterized
from sim3dr.mesh import Mesh, checked_meshes, within_float32
from sim3dr.screen import to_screen
from sim3dr.threads import checked_threads

__all__ = ["ENGINES", "Engine", "Rasterized", "checked_intrinsics", "rasterize"]

Engine: TypeAlias = Literal["numba", "numpy"]
ENGINES: tuple[Engine, ...] = ("numba", "numpy")

_MOST_SUPERSAMPLING = 8
_MOST_SIDE = 32768


def _whole_number(name: str, value: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if not 1 <= number <= high:
        raise ValueError(f"{name} must be at least 1 and at most {high}, not {number}")
    return number


def _true_or_false(name: str, value: bool) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def _checked_background(
    background: ArrayLike | None, height: int, width: int, transparent: bool
) -> NDArray[np.generic] | None:
    if transparent:
        if background is not None:
            raise ValueError("a transparent picture has no background")
        return None
    if background is None:
        return np.zeros(3, dtype=np.float32)
    colour = np.asarray(background)
    if colour.dtype.kind not in "fiu":
        raise TypeError(f"background must be real numbers, not {colour.dtype}")
    if colour.size and colour.dtype.kind == "f" and not within_float32(colour):
        raise ValueError("background must be finite, and within float32")
    if colour.shape not in ((3,), (height, width, 3)):
        raise ValueError(
            f"background must have shape (3,) or ({height}, {width}, 3), not {colour.shape}"
        )
    return colour


def checked_intrinsics(intrinsics: ArrayLike) -> NDArray[np.float64]:
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
    """Draws meshes into one picture and one depth buffer: they hide each other.

    Args:
        meshes: One or any number, none too; on the screen (x and y in pixels, z any depth that
            grows away), or in the camera's frame if there are intrinsics.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        background: One colour (3,) or a picture (height, width, 3), uint8 or other numbers, in the
            unit of the colours; black if not given. It is not changed.
        intrinsics: (3, 3) camera matrix, last row (0, 0, 1): meshes are then in the frame of this
            camera (x right, y down, z away), are cut at `near` and projected.
        near: Smallest depth z that is drawn, with intrinsics; of triangles across it the part
            beyond is drawn.
        cull_back: Leaves out triangles seen from behind.
        perspective_correct: Interpolates depth, colours and texture linearly on the surface rather
            than on the screen; by default with intrinsics only. Without them, z must then be the
            camera's and positive.
        supersampling: Samples along a pixel's side, 1 to 8; colours of a pixel's samples are
            averaged.
        transparent: Draws onto nothing: the picture has a fourth channel, see `Rasterized.image`.
        threads: That share the work; all usable cores if not given. The result does not depend on
            it. Give 1 in a worker process beside others. Without meaning for `numpy`.
        engine: "numba" or "numpy".

    Returns:
        Picture, depth, and for each pixel the mesh and triangle seen and the place within it.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A shape or number is not allowed.
    """
    height = _whole_number("height", height, _MOST_SIDE)
    width = _whole_number("width", width, _MOST_SIDE)
    samples = _whole_number("supersampling", supersampling, _MOST_SUPERSAMPLING)
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    workers = checked_threads(threads)
    scene = checked_meshes(meshes)
    camera = None if intrinsics is None else checked_intrinsics(intrinsics)
    if not (np.isfinite(near) and near > 0):
        raise ValueError(f"near must be a positive distance, not {near}")
    if perspective_correct is None:
        perspective_correct = camera is not None
    if perspective_correct and camera is None:
        for number, mesh in enumerate(scene):
            if not mesh.vertices[:, 2].min() > 0:
                raise ValueError(f"perspective_correct needs depths above 0; see meshes[{number}]")
    canvas = Canvas(
        height,
        width,
        _checked_background(background, height, width, transparent),
        samples,
        _true_or_false("cull_back", cull_back),
        _true_or_false("perspective_correct", perspective_correct),
    )
    if engine == "numpy":
        screens = [to_screen(mesh, camera, near, samples) for mesh in scene]
        return plain.draw(screens, canvas)
    # Numba takes a third of a second to import: only who draws waits for it.
    from sim3dr import fast

    return fast.draw(scene, canvas, camera, near, workers)
