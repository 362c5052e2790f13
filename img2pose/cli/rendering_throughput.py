"""How fast meshes of faces are drawn: many in one picture, from reference frame to pixels."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from img2pose.geometry import image_intrinsics, rotvec_to_matrix
from img2pose.references import default_mesh
from sim3dr import Lighting, Mesh, light_meshes, rasterize, subdivide
from sim3dr.rasterizer import Engine

FACES = 20
SIZE_HW = (768, 1024)
_SEED = 0
_SKIN = np.array([200.0, 190.0, 180.0])
_LIGHT = Lighting(specular=0.1, light_position=(0.0, 0.0, 0.0), view_position=(0.0, 0.0, 0.0))
# A process of its own draws one triangle: with a cache that is empty, then with what that left.
_FIRST_CALL = """
import time
start = time.perf_counter()
from sim3dr import Mesh, rasterize
imported = time.perf_counter()
rasterize(Mesh([[0, 0, 1], [3, 0, 1], [0, 3, 1]], [[0, 1, 2]]), 4, 4)
print(imported - start, time.perf_counter() - imported)
"""


@dataclass(frozen=True)
class RenderingRate:
    """One line of the table.

    Attributes:
        vertices: Of one face.
        triangles: Of one face.
        engine: Of `sim3dr`.
        threads: That share the work.
        milliseconds_a_face: Median time of a picture over its faces.
        triangles_per_second: Those of all faces, seen or not.
    """

    vertices: int
    triangles: int
    engine: str
    threads: int
    milliseconds_a_face: float
    triangles_per_second: float


@dataclass(frozen=True)
class FirstCall:
    """A new process's first picture, of one triangle.

    Attributes:
        cache: Whether compiled code was there.
        import_seconds: Of `import sim3dr`, NumPy included.
        draw_seconds: Of the call, with the import of numba and whatever is compiled or read.
    """

    cache: str
    import_seconds: float
    draw_seconds: float


def fine_face() -> tuple[np.ndarray, np.ndarray]:
    """The reference face with 55,129 vertices and 110,160 triangles."""
    mesh = default_mesh()
    vertices, triangles, _ = subdivide(mesh.vertices, mesh.triangles)
    # Each quarter in three, around its centre: twelve times as many as before.
    centre = len(vertices) + np.arange(len(triangles))
    a, b, c = triangles.T
    thirds = np.stack([a, b, centre, b, c, centre, c, a, centre], axis=1).reshape(-1, 3)
    return np.vstack([vertices, vertices[triangles].mean(axis=1)]), thirds.astype(np.int32)


def _poses() -> np.ndarray:
    """(20, 6): heads in four rows that overlap a little, turned by chance."""
    rng = np.random.default_rng(_SEED)
    column, row = np.arange(FACES) % 5, np.arange(FACES) // 5
    places = np.stack(
        [1.7 * (column - 2), 1.6 * (row - 1.5), 14 + rng.uniform(-1, 1, FACES)], axis=1
    )
    return np.concatenate([rng.normal(0, 0.4, (FACES, 3)), places], axis=1)


def draw_faces(
    vertices: np.ndarray, triangles: np.ndarray, threads: int, engine: Engine = "numba"
) -> np.ndarray:
    """(768, 1024, 3) float picture of 20 lit faces that hide each other.

    Args:
        vertices: (V, 3) reference frame.
        triangles: (T, 3).
        threads: That share the work.
        engine: Of `sim3dr`.
    """
    meshes = [
        Mesh(vertices @ rotvec_to_matrix(pose[:3]).T + pose[3:], triangles, _SKIN)
        for pose in _poses()
    ]
    lit = light_meshes(meshes, _LIGHT, threads=threads, engine=engine)
    intrinsics = image_intrinsics(*SIZE_HW)
    drawn = rasterize(lit, *SIZE_HW, intrinsics=intrinsics, threads=threads, engine=engine)
    return drawn.image


def _median_seconds(function: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def measure_rendering(
    repeats: int, threads: tuple[int, ...] = (1, 2), plain: bool = True
) -> list[RenderingRate]:
    """Draws 20 faces, coarse and fine, with both engines.

    Transform, normals, lighting, projection and picture are all counted.

    Args:
        repeats: Pictures that the median is of; the plain engine draws one.
        threads: To measure with.
        plain: Measures the plain engine too, which takes seconds a picture.
    """
    mesh = default_mesh()
    rates = []
    for vertices, triangles in ((mesh.vertices, mesh.triangles), fine_face()):
        cases: list[tuple[Engine, int]] = [("numba", count) for count in threads]
        if plain:
            cases.append(("numpy", 1))
        for engine, count in cases:
            if engine == "numba":
                draw_faces(vertices, triangles, count)
            seconds = _median_seconds(
                partial(draw_faces, vertices, triangles, count, engine),
                repeats if engine == "numba" else 1,
            )
            rates.append(
                RenderingRate(
                    len(vertices),
                    len(triangles),
                    engine,
                    count,
                    1e3 * seconds / FACES,
                    FACES * len(triangles) / seconds,
                )
            )
    return rates


def measure_first_calls() -> list[FirstCall]:
    """Starts two processes, the first with an empty cache, the second with what it left there."""
    calls = []
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        for name in ("empty", "filled"):
            done = subprocess.run(
                [sys.executable, "-c", _FIRST_CALL],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            )
            imported, drawn = map(float, done.stdout.split())
            calls.append(FirstCall(name, imported, drawn))
    return calls
