"""The loops of the fast engine, compiled by numba; `sim3dr.plain` says the same in NumPy.

Arithmetic is float64 in the order of the plain twin and without fast-math, so the two agree to the
last digit. The kernels hold no lock of Python's while they run: `sim3dr.threads` shares them out.
Compiled code is kept on disk beside this file or, where that cannot be written, in the user's cache
folder (`NUMBA_CACHE_DIR` sets another).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim3dr.plain import EDGE_TOLERANCE

Array = NDArray[Any]
_TOLERANCE = EDGE_TOLERANCE


@njit(nogil=True, cache=True, inline="always")
def _side(vertices: Array, a: int, b: int, c: int) -> float:
    """Twice the signed area; positive where the corners run clockwise with y down."""
    return (vertices[b, 0] - vertices[a, 0]) * (vertices[c, 1] - vertices[a, 1]) - (
        vertices[b, 1] - vertices[a, 1]
    ) * (vertices[c, 0] - vertices[a, 0])


@njit(nogil=True, cache=True, inline="always")
def _between(
    texture: Array, left: int, right: int, upper: int, lower: int, x: float, y: float, channel: int
) -> float:
    """Bilinear: x and y in 0..1 between four texels."""
    above = (1.0 - x) * texture[upper, left, channel] + x * texture[upper, right, channel]
    below = (1.0 - x) * texture[lower, left, channel] + x * texture[lower, right, channel]
    return (1.0 - y) * above + y * below


@njit(nogil=True, cache=True)
def select_triangles(
    vertices: Array,
    triangles: Array,
    start: int,
    stop: int,
    cull_back: bool,
    height: int,
    width: int,
    band_rows: int,
) -> tuple[Array, Array]:
    """Triangles of a range that may cover a pixel centre, listed for each band of rows.

    Args:
        vertices: (V, 3) float64, on the screen.
        triangles: (T, 3) int32.
        start: First triangle.
        stop: The one after the last.
        cull_back: Leave out those seen from behind.
        height: Of the picture.
        width: Of the picture.
        band_rows: Rows of a band.

    Returns:
        (bands + 1,) int64 offsets and (N,) int32 triangles: those of band b, in rising order, are
        at offsets[b] to offsets[b + 1].
    """
    bands = (height + band_rows - 1) // band_rows
    kept = np.empty(stop - start, np.int32)
    first = np.empty(stop - start, np.int32)
    last = np.empty(stop - start, np.int32)
    offsets = np.zeros(bands + 1, np.int64)
    count = 0
    for triangle in range(start, stop):
        a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
        area = _side(vertices, a, b, c)
        if not (0.0 < area < np.inf or (-np.inf < area < 0.0 and not cull_back)):
            continue
        ax, bx, cx = vertices[a, 0], vertices[b, 0], vertices[c, 0]
        left, right = np.ceil(min(ax, bx, cx)), np.floor(max(ax, bx, cx))
        if left > right or left > width - 1 or right < 0:
            continue
        ay, by, cy = vertices[a, 1], vertices[b, 1], vertices[c, 1]
        top, bottom = np.ceil(min(ay, by, cy)), np.floor(max(ay, by, cy))
        if top > bottom or top > height - 1 or bottom < 0:
            continue
        first_band = int(max(top, 0.0)) // band_rows
        last_band = int(min(bottom, height - 1.0)) // band_rows
        kept[count] = triangle
        first[count] = first_band
        last[count] = last_band
        count += 1
        for band in range(first_band, last_band + 1):
            offsets[band + 1] += 1
    for band in range(bands):
        offsets[band + 1] += offsets[band]
    members = np.empty(offsets[bands], np.int32)
    filled = offsets[:bands].copy()
    for index in range(count):
        for band in range(first[index], last[index] + 1):
            members[filled[band]] = kept[index]
            filled[band] += 1
    return offsets, members


@njit(nogil=True, cache=True)
def draw_triangles(
    vertices: Array,
    triangles: Array,
    members: Array,
    number: int,
    perspective: bool,
    top: int,
    bottom: int,
    depth: Array,
    seen: Array,
    weights: Array,
) -> None:
    """Draws triangles into some rows of the depth buffer.

    Args:
        vertices: (V, 3) float64, on the screen.
        triangles: (T, 3) int32.
        members: (N,) int32, which of them to draw.
        number: What is added to a triangle's index in `seen`.
        perspective: Depths are distances along the camera's axis; 1 / depth is linear.
        top: First row.
        bottom: The row after the last.
        depth: (H, W) float64.
        seen: (H, W) int32.
        weights: (H, W, 3) float64, barycentric.
    """
    width = depth.shape[1]
    for triangle in members:
        a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        bx, by, bz = vertices[b, 0], vertices[b, 1], vertices[b, 2]
        cx, cy, cz = vertices[c, 0], vertices[c, 1], vertices[c, 2]
        abx, aby, acx, acy = bx - ax, by - ay, cx - ax, cy - ay
        inverse_area = 1.0 / (abx * acy - aby * acx)
        # Clamped before they become whole numbers: any float may be a coordinate.
        first_column = int(max(np.ceil(min(ax, bx, cx)), 0.0))
        last_column = int(min(np.floor(max(ax, bx, cx)), width - 1.0))
        first_row = int(max(np.ceil(min(ay, by, cy)), float(top)))
        last_row = int(min(np.floor(max(ay, by, cy)), bottom - 1.0))
        for row in range(first_row, last_row + 1):
            y = row - ay
            for column in range(first_column, last_column + 1):
                x = column - ax
                weight_b = (x * acy - y * acx) * inverse_area
                weight_c = (abx * y - aby * x) * inverse_area
                weight_a = 1.0 - weight_b - weight_c
                # Written so that NaN, as of triangles too large for float64, is outside.
                if not (
                    weight_a >= -_TOLERANCE and weight_b >= -_TOLERANCE and weight_c >= -_TOLERANCE
                ):
                    continue
                if perspective:
                    weight_a, weight_b, weight_c = weight_a / az, weight_b / bz, weight_c / cz
                    z = 1.0 / (weight_a + weight_b + weight_c)
                    weight_a, weight_b, weight_c = weight_a * z, weight_b * z, weight_c * z
                else:
                    z = weight_a * az + weight_b * bz + weight_c * cz
                if z < depth[row, column]:
                    depth[row, column] = z
                    seen[row, column] = number + triangle
                    weights[row, column, 0] = weight_a
                    weights[row, column, 1] = weight_b
                    weights[row, column, 2] = weight_c


@njit(nogil=True, cache=True)
def paint(
    triangles: Array,
    colours: Array,
    textured: bool,
    texture: Array,
    texture_triangles: Array,
    texture_coordinates: Array,
    number: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
    seen: Array,
    weights: Array,
    image: Array,
) -> None:
    """Gives the pixels of one mesh, in a part of the picture, their colours.

    Args:
        triangles: (T, 3) int32.
        colours: (V, 3) float64.
        textured: Whether colours multiply the texture.
        texture: (h, w, 3) float32.
        texture_triangles: (T, 3) int32.
        texture_coordinates: (U, 2) float64.
        number: `seen` of the mesh's first triangle.
        rows: First row, and the one after the last.
        columns: First column, and the one after the last.
        seen: (H, W) int32.
        weights: (H, W, 3) float64.
        image: (H, W, 3) float32.
    """
    for row in range(rows[0], rows[1]):
        for column in range(columns[0], columns[1]):
            triangle = seen[row, column] - number
            if triangle < 0 or triangle >= triangles.shape[0]:
                continue
            a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            weight_a = weights[row, column, 0]
            weight_b = weights[row, column, 1]
            weight_c = weights[row, column, 2]
            red = weight_a * colours[a, 0] + weight_b * colours[b, 0] + weight_c * colours[c, 0]
            green = weight_a * colours[a, 1] + weight_b * colours[b, 1] + weight_c * colours[c, 1]
            blue = weight_a * colours[a, 2] + weight_b * colours[b, 2] + weight_c * colours[c, 2]
            if textured:
                ua, ub, uc = (
                    texture_triangles[triangle, 0],
                    texture_triangles[triangle, 1],
                    texture_triangles[triangle, 2],
                )
                u = (
                    weight_a * texture_coordinates[ua, 0]
                    + weight_b * texture_coordinates[ub, 0]
                    + weight_c * texture_coordinates[uc, 0]
                )
                v = (
                    weight_a * texture_coordinates[ua, 1]
                    + weight_b * texture_coordinates[ub, 1]
                    + weight_c * texture_coordinates[uc, 1]
                )
                height, width = texture.shape[0], texture.shape[1]
                x = min(max(u * width - 0.5, 0.0), width - 1.0)
                y = min(max((1.0 - v) * height - 0.5, 0.0), height - 1.0)
                left, upper = int(x), int(y)
                right, lower = min(left + 1, width - 1), min(upper + 1, height - 1)
                x, y = x - left, y - upper
                red *= _between(texture, left, right, upper, lower, x, y, 0) / 255.0
                green *= _between(texture, left, right, upper, lower, x, y, 1) / 255.0
                blue *= _between(texture, left, right, upper, lower, x, y, 2) / 255.0
            image[row, column, 0] = red
            image[row, column, 1] = green
            image[row, column, 2] = blue


@njit(nogil=True, cache=True)
def add_normals(vertices: Array, triangles: Array, normals: Array) -> None:
    """Adds the triangles' normals, as long as twice their areas, to their corners'.

    Args:
        vertices: (V, 3) float64.
        triangles: (T, 3) int32, clockwise seen from outside.
        normals: (V, 3) float64.
    """
    for triangle in range(triangles.shape[0]):
        a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
        abx, aby, abz = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        acx, acy, acz = (
            vertices[c, 0] - vertices[a, 0],
            vertices[c, 1] - vertices[a, 1],
            vertices[c, 2] - vertices[a, 2],
        )
        nx, ny, nz = acy * abz - acz * aby, acz * abx - acx * abz, acx * aby - acy * abx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz


@njit(nogil=True, cache=True)
def normalise(vectors: Array) -> None:
    """Gives vectors (N, 3) length 1, in place; those of length 0 stay."""
    for index in range(vectors.shape[0]):
        x, y, z = vectors[index, 0], vectors[index, 1], vectors[index, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0.0:
            vectors[index, 0], vectors[index, 1], vectors[index, 2] = (
                x / length,
                y / length,
                z / length,
            )


@njit(nogil=True, cache=True)
def phong(
    own: Array,
    normals: Array,
    points: Array,
    glow: Array,
    diffuse: Array,
    specular: Array,
    exponent: float,
    near_lamp: bool,
    lamp: Array,
    near_eye: bool,
    eye: Array,
) -> Array:
    """See `sim3dr.lighting.phong`; lamp and eye: places where near, else unit vectors to them."""
    lit = np.empty_like(own)
    shiny = specular[0] > 0.0 or specular[1] > 0.0 or specular[2] > 0.0
    lx, ly, lz, ex, ey, ez = lamp[0], lamp[1], lamp[2], eye[0], eye[1], eye[2]
    for index in range(own.shape[0]):
        nx, ny, nz = normals[index, 0], normals[index, 1], normals[index, 2]
        px, py, pz = points[index, 0], points[index, 1], points[index, 2]
        if near_lamp:
            lx, ly, lz = lamp[0] - px, lamp[1] - py, lamp[2] - pz
            length = np.sqrt(lx * lx + ly * ly + lz * lz)
            if length > 0.0:
                lx, ly, lz = lx / length, ly / length, lz / length
        cosine = nx * lx + ny * ly + nz * lz
        highlight = 0.0
        if shiny and cosine > 0.0:
            if near_eye:
                ex, ey, ez = eye[0] - px, eye[1] - py, eye[2] - pz
                length = np.sqrt(ex * ex + ey * ey + ez * ez)
                if length > 0.0:
                    ex, ey, ez = ex / length, ey / length, ez / length
            into_eye = (
                (2.0 * cosine * nx - lx) * ex
                + (2.0 * cosine * ny - ly) * ey
                + (2.0 * cosine * nz - lz) * ez
            )
            if into_eye > 0.0:
                highlight = into_eye**exponent
        straight = max(cosine, 0.0)
        for channel in range(3):
            lit[index, channel] = (
                own[index, channel] * (glow[channel] + diffuse[channel] * straight)
                + specular[channel] * highlight
            )
    return lit
