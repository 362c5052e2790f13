"""Meshes as OBJ, MTL and PLY files, written to open files.

Vertices keep their frame and unit. Corners are written the other way round: here the front of a
triangle is clockwise on the screen (`sim3dr.rasterizer`), while readers of both formats take the
side as outer from which the corners run counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from sim3dr.mesh import Mesh

MATERIAL_NAME = "texture"
_NO_ROWS = np.zeros((0, 3))


def write_ply(stream: BinaryIO, meshes: Sequence[Mesh]) -> None:
    """Writes a binary PLY file with all meshes as one, vertices with red, green and blue.

    Args:
        stream: Open for bytes.
        meshes: Any number; none make a file without vertices.

    Raises:
        ValueError: A coordinate is beyond what float32 holds.
    """
    for number, mesh in enumerate(meshes):
        if np.abs(mesh.vertices).max() > np.finfo(np.float32).max:
            raise ValueError(f"meshes[{number}] has coordinates beyond what a PLY file holds")
    fields = [("xyz", "<f4", 3), ("rgb", "u1", 3)]
    points = np.empty(sum(len(mesh.vertices) for mesh in meshes), dtype=fields)
    points["xyz"] = np.concatenate([_NO_ROWS, *(mesh.vertices for mesh in meshes)])
    points["rgb"] = np.concatenate([_NO_ROWS, *(_rgb(mesh) for mesh in meshes)]).round()
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    corners = [mesh.triangles + offset for mesh, offset in zip(meshes, first, strict=False)]
    faces = np.empty(sum(map(len, corners)), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"] = 3
    faces["corners"] = np.concatenate([_NO_ROWS.astype(np.int32), *corners])[:, ::-1]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(points)}",
        *(f"property float {name}" for name in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    stream.write(("\n".join(header) + "\n").encode("ascii"))
    stream.write(points.tobytes())
    stream.write(faces.tobytes())


def _rgb(mesh: Mesh) -> NDArray[np.float64]:
    return mesh.vertex_colours.clip(0, 255)


def write_obj(
    stream: TextIO, meshes: Sequence[Mesh], names: Sequence[str], material_file: str | None = None
) -> None:
    """Writes an OBJ file, each mesh an object of its own.

    Args:
        stream: Open for text.
        meshes: Any number; none make a file without vertices. Colours follow the vertices'
            coordinates, in 0..1, as most programs read them, unless there is a material.
        names: Of the objects, without blanks.
        material_file: Name of the file of `write_mtl`, beside the OBJ file; the meshes then have
            texture coordinates.

    Raises:
        ValueError: There is not a name for each mesh, one has blanks, or a mesh has no texture
            coordinates although there is a material.
    """
    if len(names) != len(meshes):
        raise ValueError(f"{len(meshes)} meshes and {len(names)} names: one name for each mesh")
    for name in names:
        if name.split() != [name]:
            raise ValueError(f"names must be without blanks, not {name!r}")
    for name, mesh in zip(names, meshes, strict=True):
        if material_file is not None and mesh.texture_coordinates is None:
            raise ValueError(f"{name} has a material but no texture coordinates")
    if not meshes:
        stream.write("# no meshes\n")
    if material_file is not None:
        stream.write(f"mtllib {material_file}\nusemtl {MATERIAL_NAME}\n")
    first_vertex = first_coordinate = 1
    for mesh, name in zip(meshes, names, strict=True):
        stream.write(f"o {name}\n")
        corners = mesh.triangles[:, ::-1] + first_vertex
        first_vertex += len(mesh.vertices)
        if material_file is None:
            rows = np.concatenate([mesh.vertices, _rgb(mesh) / 255], axis=1)
            _write_rows(stream, "v %.6f %.6f %.6f %.4f %.4f %.4f", rows)
            _write_rows(stream, "f %d %d %d", corners)
            continue
        assert mesh.texture_coordinates is not None and mesh.texture_triangles is not None
        _write_rows(stream, "v %.6f %.6f %.6f", mesh.vertices)
        _write_rows(stream, "vt %.6f %.6f", mesh.texture_coordinates)
        coordinates = mesh.texture_triangles[:, ::-1] + first_coordinate
        first_coordinate += len(mesh.texture_coordinates)
        pairs = np.stack([corners, coordinates], axis=2).reshape(-1, 6)
        _write_rows(stream, "f %d/%d %d/%d %d/%d", pairs)


def _write_rows(stream: TextIO, form: str, rows: NDArray[Any]) -> None:
    # One formatting of all rows is many times as fast as one for each.
    stream.write("\n".join([form] * len(rows)) % tuple(rows.ravel().tolist()) + "\n")


def write_mtl(stream: TextIO, texture_file: str) -> None:
    """Writes the material of `write_obj`: matt, its colour from a picture.

    Args:
        stream: Open for text.
        texture_file: Name of the picture's file, beside the MTL file.
    """
    stream.write(
        f"newmtl {MATERIAL_NAME}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture_file}\n"
    )
