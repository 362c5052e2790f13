"""What `trimesh` reads back is what was written."""

from __future__ import annotations

from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from sim3dr import Mesh, vertex_normals, write_mtl, write_obj, write_ply

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0.25], [0, 1, 0.5], [0.125, 0, 1]])
# Front sides, clockwise on the screen, are outside.
FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
COLOURS = np.array([[255.0, 0, 0], [0, 255, 0], [0, 0, 255], [12, 34, 56]])


def two_meshes() -> list[Mesh]:
    return [Mesh(CORNERS, FACES, COLOURS), Mesh(CORNERS + 3, FACES, COLOURS[::-1])]


def test_the_corners_of_this_test_have_their_front_outside() -> None:
    outward = vertex_normals(CORNERS, FACES)
    assert ((CORNERS - CORNERS.mean(axis=0)) * outward).sum(axis=1).min() > 0


def test_ply_keeps_vertices_faces_and_colours() -> None:
    stream = BytesIO()
    write_ply(stream, two_meshes())
    stream.seek(0)
    read = trimesh.load(stream, file_type="ply", process=False)
    np.testing.assert_array_equal(read.vertices, np.concatenate([CORNERS, CORNERS + 3]))
    np.testing.assert_array_equal(read.faces, np.concatenate([FACES, FACES + 4])[:, ::-1])
    expected = np.concatenate([COLOURS, COLOURS[::-1]])
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], expected)
    # Readers find the same side outside as we do.
    assert read.is_watertight and read.volume > 0


def test_obj_keeps_vertices_faces_and_colours() -> None:
    stream = StringIO()
    write_obj(stream, two_meshes(), ["left", "right"])
    text = stream.getvalue()
    assert [line for line in text.splitlines() if line.startswith("o ")] == ["o left", "o right"]
    read = trimesh.load(StringIO(text), file_type="obj", process=False)
    np.testing.assert_allclose(read.vertices, np.concatenate([CORNERS, CORNERS + 3]), atol=1e-6)
    np.testing.assert_array_equal(read.faces, np.concatenate([FACES, FACES + 4])[:, ::-1])
    expected = np.concatenate([COLOURS, COLOURS[::-1]])
    np.testing.assert_allclose(read.visual.vertex_colors[:, :3], expected, atol=1)


def test_obj_with_a_texture_names_its_picture(tmp_path: Path) -> None:
    texture = np.zeros((4, 8, 3), dtype=np.uint8)
    texture[:, 4:] = 200
    coordinates = np.array([[0.0, 0], [0.25, 1], [1, 0.5], [0.5, 0.5], [0.75, 0.25]])
    texture_faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 4]])
    mesh = Mesh(CORNERS, FACES, None, texture.astype(np.float32), coordinates, texture_faces)
    Image.fromarray(texture).save(tmp_path / "t.png")
    with (tmp_path / "m.obj").open("w") as stream:
        write_obj(stream, [mesh, mesh], ["a", "b"], "m.mtl")
    with (tmp_path / "m.mtl").open("w") as stream:
        write_mtl(stream, "t.png")
    read = trimesh.load(tmp_path / "m.obj", process=False)
    assert len(read.faces) == 8
    np.testing.assert_array_equal(np.asarray(read.visual.material.image)[..., :3], texture)
    # A vertex with two places on the texture becomes two: corners are compared.
    places = np.concatenate([coordinates[texture_faces], coordinates[texture_faces]])[:, ::-1]
    np.testing.assert_allclose(read.visual.uv[read.faces], places, atol=1e-6)
    points = np.concatenate([CORNERS[FACES], CORNERS[FACES]])[:, ::-1]
    np.testing.assert_allclose(read.vertices[read.faces], points, atol=1e-6)


def test_without_meshes_files_are_valid_and_empty(tmp_path: Path) -> None:
    with (tmp_path / "m.ply").open("wb") as binary:
        write_ply(binary, [])
    for material in (None, "m.mtl"):
        with (tmp_path / "m.obj").open("w") as text:
            write_obj(text, [], [], material)
        for suffix in ("ply", "obj"):
            assert trimesh.load_mesh(tmp_path / f"m.{suffix}").is_empty


def test_what_a_file_cannot_hold_is_refused_before_anything_is_written() -> None:
    binary, text = BytesIO(), StringIO()
    with pytest.raises(ValueError, match=r"meshes\[0\] has coordinates beyond"):
        write_ply(binary, [Mesh(1e300 * CORNERS, FACES)])
    with pytest.raises(ValueError, match="one name for each"):
        write_obj(text, two_meshes(), ["only"])
    for name in ("a b", "", "a\nb"):
        with pytest.raises(ValueError, match="without blanks"):
            write_obj(text, two_meshes(), ["left", name])
    with pytest.raises(ValueError, match="left has a material"):
        write_obj(text, two_meshes(), ["left", "right"], "m.mtl")
    assert binary.getvalue() == b"" and text.getvalue() == ""
