"""Loops compiled by numba, one thread each, without Python's global lock.

They are compiled when this module is first imported and kept on disk after that: beside this file,
or in the user's cache where that may not be written, or not at all where neither may be or a kept
file is damaged.
Parallel loops are left to the callers' threads: numba's own abort when two Python threads enter
them, or after a fork. Signatures are fixed, so nothing is compiled in the middle of drawing, and
arrays that are only read may be read-only. Expressions are those of `sim3dr.plain`, term by term.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

# Rows of a triangle's box wider than this are narrowed to what its edges leave, by bisection.
_NARROWED_WIDTH = 32

_f8, _f4, _i4, _i8, _b1 = types.float64, types.float32, types.int32, types.int64, types.boolean


def _read(dtype: Any, dimensions: int) -> Any:
    return types.Array(dtype, dimensions, "C", readonly=True)


def _written(dtype: Any, dimensions: int) -> Any:
    return types.Array(dtype, dimensions, "C")


# Divisions by zero give infinity or NaN, as in NumPy, rather than an exception.
_SETTINGS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Parts of the loops below: compiled into them, so kept on disk with them.
_part = njit(**_SETTINGS)


def _compiled(*signature: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compiles a function for arguments of these types."""

    def compile_it(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            compiled: Callable[..., Any] = njit(signature, cache=True, **_SETTINGS)(function)
        except Exception:
            # No folder for the cache, no room in it, or a damaged file, which numba answers with
            # whatever it comes upon. A fault of the code itself shows again.
            compiled = njit(signature, **_SETTINGS)(function)
        return compiled

    return compile_it


@_part
def _narrowed(
    low: int, high: int, y: float, ax: float, ay: float, bx: float, by: float, sign: float
) -> tuple[int, int]:
    """The columns of low..high that may lie on the inner side of edge a-b; low > high if none.

    Rounding may put a column on either side near the edge, so it is left to those who ask of each.
    """
    ay, by = sign * (ay - y), sign * (by - y)
    reach = max(abs(ax - low), abs(ax - high), abs(bx - low), abs(bx - high))
    least = -1e-14 * reach * max(abs(ay), abs(by))
    if ay > by:
        # Grows to the right: the first column inside.
        end = high + 1
        while low < end:
            middle = (low + end) // 2
            if (ax - middle) * by - ay * (bx - middle) >= least:
                end = middle
            else:
                low = middle + 1
    elif ay < by:
        start = low - 1
        while start < high:
            middle = (start + high + 1) // 2
            if (ax - middle) * by - ay * (bx - middle) >= least:
                start = middle
            else:
                high = middle - 1
    return low, high


@_part
def _between(
    texture: Any, left: int, right: int, upper: int, lower: int, x: float, y: float, channel: int
) -> float:
    """Bilinear: x and y in 0..1 between four texels."""
    above = (1.0 - x) * texture[upper, left, channel] + x * texture[upper, right, channel]
    below = (1.0 - x) * texture[lower, left, channel] + x * texture[lower, right, channel]
    return (1.0 - y) * above + y * below


@_compiled(
    _read(_f8, 2),
    _read(_i4, 2),
    _i8,
    _i8,
    _i8,
    _i8,
    _b1,
    _written(_i4, 1),
    _written(_i4, 2),
    _written(_i8, 1),
)
def find_shown(
    vertices: Any,
    corners: Any,
    start: int,
    stop: int,
    height: int,
    width: int,
    cull_back: bool,
    kept: Any,
    kept_boxes: Any,
    box: Any,
) -> int:
    """Lists the triangles of start..stop that may cover a sample.

    Args:
        vertices: (V, 3) over the grid of samples.
        corners: (T, 3) indices of them.
        start: First triangle.
        stop: One beyond the last.
        height: Of the grid.
        width: Of the grid.
        cull_back: Leaves out triangles seen from behind.
        kept: (stop - start,) room for the triangles found, in their order.
        kept_boxes: (stop - start, 4) room for the first and last row and column of each one's box.
        box: (4,) room for the box of all: first and last row, first and last column.

    Returns:
        How many were found.
    """
    count = 0
    top, bottom, left, right = height, -1, width, -1
    for triangle in range(start, stop):
        a, b, c = corners[triangle, 0], corners[triangle, 1], corners[triangle, 2]
        ax, ay = vertices[a, 0], vertices[a, 1]
        bx, by = vertices[b, 0], vertices[b, 1]
        cx, cy = vertices[c, 0], vertices[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if not (area > 0.0 or (area < 0.0 and not cull_back)) or math.isinf(area):
            continue
        # Limited before they become whole numbers, which hold less than a float does.
        first_row = max(np.ceil(min(ay, by, cy)), 0.0)
        last_row = min(np.floor(max(ay, by, cy)), height - 1.0)
        if not first_row <= last_row:
            continue
        first_column = max(np.ceil(min(ax, bx, cx)), 0.0)
        last_column = min(np.floor(max(ax, bx, cx)), width - 1.0)
        if not first_column <= last_column:
            continue
        kept[count] = triangle
        kept_boxes[count, 0] = int(first_row)
        kept_boxes[count, 1] = int(last_row)
        kept_boxes[count, 2] = int(first_column)
        kept_boxes[count, 3] = int(last_column)
        count += 1
        top, bottom = min(top, int(first_row)), max(bottom, int(last_row))
        left, right = min(left, int(first_column)), max(right, int(last_column))
    box[0], box[1], box[2], box[3] = top, bottom, left, right
    return count


@_compiled(
    _read(_f8, 2),
    _read(_i4, 2),
    _read(_i4, 1),
    _read(_i4, 2),
    _i8,
    _b1,
    _i8,
    _i8,
    _written(_f8, 2),
    _written(_i4, 2),
    _written(_i4, 2),
)
def draw_depth(
    vertices: Any,
    corners: Any,
    kept: Any,
    kept_boxes: Any,
    count: int,
    perspective: bool,
    number: int,
    top: int,
    depth: Any,
    mesh_index: Any,
    part_index: Any,
) -> None:
    """Writes depth, mesh and triangle of each sample where a triangle is the nearest so far.

    Args:
        vertices: (V, 3) over the grid of samples.
        corners: (T, 3) indices of them.
        kept: Triangles, from `find_shown`.
        kept_boxes: Their boxes.
        count: How many there are.
        perspective: Whether 1 / z rather than z is linear on the screen.
        number: Of the mesh.
        top: Row of the grid that is the first of the band.
        depth: (rows, width) of the band.
        mesh_index: (rows, width) of the band.
        part_index: (rows, width) of the band.
    """
    band_last = top + depth.shape[0] - 1
    for place in range(count):
        if kept_boxes[place, 0] > band_last or kept_boxes[place, 1] < top:
            continue
        triangle = kept[place]
        a, b, c = corners[triangle, 0], corners[triangle, 1], corners[triangle, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        bx, by, bz = vertices[b, 0], vertices[b, 1], vertices[b, 2]
        cx, cy, cz = vertices[c, 0], vertices[c, 1], vertices[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        sign = -1.0 if area < 0.0 else 1.0
        if perspective:
            az, bz, cz = 1.0 / az, 1.0 / bz, 1.0 / cz
        first_column, last_column = kept_boxes[place, 2], kept_boxes[place, 3]
        for row in range(max(kept_boxes[place, 0], top), min(kept_boxes[place, 1], band_last) + 1):
            y = float(row)
            low, high = first_column, last_column
            if high - low > _NARROWED_WIDTH:
                low, high = _narrowed(low, high, y, bx, by, cx, cy, sign)
                low, high = _narrowed(low, high, y, cx, cy, ax, ay, sign)
                low, high = _narrowed(low, high, y, ax, ay, bx, by, sign)
            to_ay, to_by, to_cy = sign * (ay - y), sign * (by - y), sign * (cy - y)
            for column in range(low, high + 1):
                x = float(column)
                to_ax, to_bx, to_cx = ax - x, bx - x, cx - x
                at_a = to_bx * to_cy - to_by * to_cx
                at_b = to_cx * to_ay - to_cy * to_ax
                at_c = to_ax * to_by - to_ay * to_bx
                if not (at_a >= 0.0 and at_b >= 0.0 and at_c >= 0.0):
                    continue
                total = at_a + at_b + at_c
                scaled = at_a * az + at_b * bz + at_c * cz
                # What leaves the numbers has no weights.
                if not (0.0 < total < np.inf and scaled < np.inf):
                    continue
                z = total / scaled if perspective else scaled / total
                if z < depth[row - top, column] and z > -np.inf:
                    depth[row - top, column] = z
                    mesh_index[row - top, column] = number
                    part_index[row - top, column] = triangle


@_compiled(
    _read(_f8, 2),
    _read(_i4, 2),
    _read(_i4, 1),
    _read(_f8, 3),
    _read(_i4, 2),
    _read(_f8, 2),
    _read(_f4, 3),
    _read(_i4, 2),
    _read(_f8, 2),
    _b1,
    _i8,
    _i8,
    _read(_i8, 1),
    _read(_i4, 2),
    _written(_i4, 2),
    _written(_f4, 3),
    _written(_f4, 3),
    _written(_f4, 2),
)
def shade(
    vertices: Any,
    corners: Any,
    parents: Any,
    piece_weights: Any,
    triangles: Any,
    colours: Any,
    texture: Any,
    texture_triangles: Any,
    texture_coordinates: Any,
    perspective: bool,
    number: int,
    top: int,
    box: Any,
    mesh_index: Any,
    part_index: Any,
    image: Any,
    barycentric: Any,
    coverage: Any,
) -> None:
    """Writes colour, weights and coverage where a mesh is seen; parts become triangles.

    Args:
        vertices: (V, 3) over the grid of samples.
        corners: (T', 3) indices of them, of whole triangles or parts of them.
        parents: (T',) the mesh's triangle of each; empty if all are whole.
        piece_weights: (T', 3, 3) weights of a parent's corners at a part's; empty likewise.
        triangles: (T, 3) of the mesh.
        colours: (V, 3) of vertices, that the texture is multiplied by as shares of 255.
        texture: (h, w, 3), empty if there is none.
        texture_triangles: (T, 3) indices of the coordinates.
        texture_coordinates: (U, 2), v up.
        perspective: Whether weights are linear on the surface rather than on the screen.
        number: Of the mesh.
        top: Row of the grid that is the first of the band.
        box: (4,) first and last row, first and last column where the mesh may be seen.
        mesh_index: (rows, width) of the band.
        part_index: (rows, width) of the band.
        image: (rows, width, 3 or 4) of the band.
        barycentric: (rows, width, 3) of the band.
        coverage: (rows, width) of the band.
    """
    rows = mesh_index.shape[0]
    height, width = texture.shape[0], texture.shape[1]
    textured = texture.size > 0
    for row in range(max(box[0] - top, 0), min(box[1] - top, rows - 1) + 1):
        y = float(row + top)
        for column in range(box[2], box[3] + 1):
            if mesh_index[row, column] != number:
                continue
            x = float(column)
            part = part_index[row, column]
            a, b, c = corners[part, 0], corners[part, 1], corners[part, 2]
            ax, ay = vertices[a, 0], vertices[a, 1]
            bx, by = vertices[b, 0], vertices[b, 1]
            cx, cy = vertices[c, 0], vertices[c, 1]
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            sign = -1.0 if area < 0.0 else 1.0
            to_ax, to_bx, to_cx = ax - x, bx - x, cx - x
            to_ay, to_by, to_cy = sign * (ay - y), sign * (by - y), sign * (cy - y)
            at_a = to_bx * to_cy - to_by * to_cx
            at_b = to_cx * to_ay - to_cy * to_ax
            at_c = to_ax * to_by - to_ay * to_bx
            if perspective:
                at_a *= 1.0 / vertices[a, 2]
                at_b *= 1.0 / vertices[b, 2]
                at_c *= 1.0 / vertices[c, 2]
            total = at_a + at_b + at_c
            w0, w1, w2 = at_a / total, at_b / total, at_c / total
            if parents.size > 0:
                pieces = piece_weights[part]
                p0 = w0 * pieces[0, 0] + w1 * pieces[1, 0] + w2 * pieces[2, 0]
                p1 = w0 * pieces[0, 1] + w1 * pieces[1, 1] + w2 * pieces[2, 1]
                p2 = w0 * pieces[0, 2] + w1 * pieces[1, 2] + w2 * pieces[2, 2]
                w0, w1, w2 = p0, p1, p2
                part = parents[part]
                part_index[row, column] = part
            barycentric[row, column, 0] = w0
            barycentric[row, column, 1] = w1
            barycentric[row, column, 2] = w2
            coverage[row, column] = 1.0
            if image.shape[2] == 4:
                image[row, column, 3] = 255.0
            i, j, k = triangles[part, 0], triangles[part, 1], triangles[part, 2]
            red = w0 * colours[i, 0] + w1 * colours[j, 0] + w2 * colours[k, 0]
            green = w0 * colours[i, 1] + w1 * colours[j, 1] + w2 * colours[k, 1]
            blue = w0 * colours[i, 2] + w1 * colours[j, 2] + w2 * colours[k, 2]
            if textured:
                i, j = texture_triangles[part, 0], texture_triangles[part, 1]
                k = texture_triangles[part, 2]
                u = (
                    w0 * texture_coordinates[i, 0]
                    + w1 * texture_coordinates[j, 0]
                    + w2 * texture_coordinates[k, 0]
                )
                v = (
                    w0 * texture_coordinates[i, 1]
                    + w1 * texture_coordinates[j, 1]
                    + w2 * texture_coordinates[k, 1]
                )
                tx = min(max(u * width - 0.5, 0.0), width - 1.0)
                ty = min(max((1.0 - v) * height - 0.5, 0.0), height - 1.0)
                left, upper = int(tx), int(ty)
                right, lower = min(left + 1, width - 1), min(upper + 1, height - 1)
                tx, ty = tx - left, ty - upper
                red *= _between(texture, left, right, upper, lower, tx, ty, 0) / 255.0
                green *= _between(texture, left, right, upper, lower, tx, ty, 1) / 255.0
                blue *= _between(texture, left, right, upper, lower, tx, ty, 2) / 255.0
            image[row, column, 0] = red
            image[row, column, 1] = green
            image[row, column, 2] = blue


@_compiled(
    _i8,
    _read(_f4, 3),
    _read(_f8, 2),
    _read(_i4, 2),
    _read(_i4, 2),
    _read(_f4, 3),
    _written(_f4, 3),
    _written(_f8, 2),
    _written(_i4, 2),
    _written(_i4, 2),
    _written(_f4, 3),
    _written(_f4, 2),
)
def resolve(
    size: int,
    sample_image: Any,
    sample_depth: Any,
    sample_mesh: Any,
    sample_triangle: Any,
    sample_barycentric: Any,
    image: Any,
    depth: Any,
    mesh_index: Any,
    triangle_index: Any,
    barycentric: Any,
    coverage: Any,
) -> None:
    """Makes pixels of size x size samples each; pixels hold the background before."""
    count = float(size * size)
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            covered = 0.0
            red = green = blue = 0.0
            for down in range(row * size, (row + 1) * size):
                for across in range(column * size, (column + 1) * size):
                    if sample_mesh[down, across] < 0:
                        continue
                    covered += 1.0
                    red += float(sample_image[down, across, 0])
                    green += float(sample_image[down, across, 1])
                    blue += float(sample_image[down, across, 2])
                    if sample_depth[down, across] < depth[row, column]:
                        depth[row, column] = sample_depth[down, across]
                        mesh_index[row, column] = sample_mesh[down, across]
                        triangle_index[row, column] = sample_triangle[down, across]
                        for corner in range(3):
                            barycentric[row, column, corner] = sample_barycentric[
                                down, across, corner
                            ]
            if covered == 0.0:
                continue
            coverage[row, column] = covered / count
            if image.shape[2] == 4:
                image[row, column, 0] = red / covered
                image[row, column, 1] = green / covered
                image[row, column, 2] = blue / covered
                image[row, column, 3] = 255.0 * (covered / count)
            else:
                rest = count - covered
                image[row, column, 0] = (red + rest * float(image[row, column, 0])) / count
                image[row, column, 1] = (green + rest * float(image[row, column, 1])) / count
                image[row, column, 2] = (blue + rest * float(image[row, column, 2])) / count


@_compiled(_read(_f8, 2), _read(_i4, 2), _written(_f8, 2))
def vertex_normals(vertices: Any, triangles: Any, normals: Any) -> None:
    """Adds up the normals of triangles at their corners and makes them unit vectors.

    Args:
        vertices: (V, 3).
        triangles: (T, 3).
        normals: (V, 3) zeros.
    """
    for triangle in range(len(triangles)):
        i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
        ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        cx, cy, cz = vertices[k, 0] - ax, vertices[k, 1] - ay, vertices[k, 2] - az
        bx, by, bz = vertices[j, 0] - ax, vertices[j, 1] - ay, vertices[j, 2] - az
        x = cy * bz - cz * by
        y = cz * bx - cx * bz
        z = cx * by - cy * bx
        for corner in (i, j, k):
            normals[corner, 0] += x
            normals[corner, 1] += y
            normals[corner, 2] += z
    for vertex in range(len(normals)):
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        length = math.sqrt(x * x + y * y + z * z)
        if length > 0.0:
            normals[vertex, 0] = x / length
            normals[vertex, 1] = y / length
            normals[vertex, 2] = z / length


@_part
def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = math.sqrt(x * x + y * y + z * z)
    if length > 0.0:
        return x / length, y / length, z / length
    return x, y, z


@_compiled(
    _read(_f8, 2),
    _read(_f8, 2),
    _read(_f8, 2),
    _read(_f8, 1),
    _read(_f8, 1),
    _read(_f8, 1),
    _f8,
    _b1,
    _read(_f8, 1),
    _b1,
    _read(_f8, 1),
    _written(_f8, 2),
)
def phong(
    own: Any,
    normals: Any,
    points: Any,
    glow: Any,
    diffuse: Any,
    specular: Any,
    exponent: float,
    near_lamp: bool,
    lamp: Any,
    near_eye: bool,
    eye: Any,
    lit: Any,
) -> None:
    """Lights vertices; see `sim3dr.lighting.phong`.

    Args:
        own: (V, 3) colours, or (1, 3) for all.
        normals: (V, 3).
        points: (V, 3).
        glow: (3,) share times colour.
        diffuse: (3,) share times colour.
        specular: (3,) 255 times share times colour.
        exponent: Of the highlight.
        near_lamp: Whether `lamp` is a place rather than the unit vector towards it.
        lamp: (3,).
        near_eye: Whether `eye` is a place rather than the unit vector towards it.
        eye: (3,).
        lit: (V, 3) room for the colours.
    """
    step = 0 if own.shape[0] == 1 else 1
    shiny = specular[0] > 0.0 or specular[1] > 0.0 or specular[2] > 0.0
    # Multiplication is many times faster than a power; exponents are mostly small whole numbers.
    factors = int(exponent) if exponent == np.floor(exponent) and 1.0 <= exponent <= 16.0 else 0
    lx, ly, lz, ex, ey, ez = lamp[0], lamp[1], lamp[2], eye[0], eye[1], eye[2]
    for vertex in range(normals.shape[0]):
        nx, ny, nz = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        if near_lamp or near_eye:
            px, py, pz = points[vertex, 0], points[vertex, 1], points[vertex, 2]
            if near_lamp:
                lx, ly, lz = _unit(lamp[0] - px, lamp[1] - py, lamp[2] - pz)
        cosine = nx * lx + ny * ly + nz * lz
        highlight = 0.0
        if shiny and cosine > 0.0:
            if near_eye:
                ex, ey, ez = _unit(eye[0] - px, eye[1] - py, eye[2] - pz)
            into_eye = (
                (2.0 * cosine * nx - lx) * ex
                + (2.0 * cosine * ny - ly) * ey
                + (2.0 * cosine * nz - lz) * ez
            )
            if exponent == 0.0:
                highlight = 1.0
            elif into_eye > 0.0:
                if factors > 0:
                    highlight = into_eye
                    for _ in range(factors - 1):
                        highlight *= into_eye
                else:
                    highlight = into_eye**exponent
        straight = max(cosine, 0.0)
        for channel in range(3):
            lit[vertex, channel] = (
                own[step * vertex, channel] * (glow[channel] + diffuse[channel] * straight)
                + specular[channel] * highlight
            )
