"""Known answers of normals and lamps."""

from __future__ import annotations

import numpy as np
import pytest

from sim3dr import shade, vertex_normals

# Corners of a cube; each face's four corners run clockwise seen from outside (x right, y down).
CUBE = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], dtype=float)
SQUARES = [(0, 1, 3, 2), (5, 4, 6, 7), (4, 0, 2, 6), (1, 5, 7, 3), (4, 5, 1, 0), (2, 3, 7, 6)]


def octahedron() -> tuple[np.ndarray, np.ndarray]:
    vertices = np.array(
        [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float
    )
    triangles = []
    for x in (0, 1):
        for y in (2, 3):
            for z in (4, 5):
                a, b, c = vertices[[x, y, z]]
                outward = np.dot(np.cross(c - a, b - a), a + b + c) > 0
                triangles.append([x, y, z] if outward else [x, z, y])
    return vertices, np.array(triangles)


def test_the_front_of_a_flat_face_looks_at_the_camera() -> None:
    vertices = np.array([[0.0, 0.0, 5.0], [1.0, 0.0, 5.0], [0.0, 1.0, 5.0]])
    np.testing.assert_allclose(vertex_normals(vertices, [[0, 1, 2]]), [[0, 0, -1]] * 3)


def test_normals_of_an_octahedron_are_its_corners() -> None:
    vertices, triangles = octahedron()
    np.testing.assert_allclose(vertex_normals(vertices, triangles), vertices, atol=1e-12)


def test_normals_of_a_cube_point_outward_at_every_corner() -> None:
    triangles = [t for a, b, c, d in SQUARES for t in ((a, b, c), (a, c, d))]
    normals = vertex_normals(CUBE, triangles)
    np.testing.assert_array_equal(np.sign(normals), CUBE)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)


def test_larger_triangles_weigh_more() -> None:
    vertices = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 1, 1], [0, 0, 1]], dtype=float)
    normals = vertex_normals(vertices, [[0, 1, 2], [0, 3, 4]])
    # Nine to one: the large one faces -z, the small one x.
    small = np.cross(vertices[4] - vertices[0], vertices[3] - vertices[0])
    expected = np.array([0, 0, -9.0]) + small
    np.testing.assert_allclose(normals[0], expected / np.linalg.norm(expected))


def test_vertices_without_a_triangle_have_no_normal() -> None:
    vertices = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    normals = vertex_normals(vertices, [[0, 1, 2], [3, 3, 3]])
    np.testing.assert_array_equal(normals[3], 0.0)
    assert np.isfinite(normals).all()


def test_a_lamp_lights_the_side_it_shines_on() -> None:
    normals = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    lit = shade([1.0, 0.5, 0.0], normals, ambient=0.2, directional=0.8)
    np.testing.assert_allclose(lit, [[1.0, 0.5, 0.0], [0.2, 0.1, 0.0], [0.2, 0.1, 0.0]])


def test_the_length_of_the_light_direction_does_not_matter() -> None:
    vertices, triangles = octahedron()
    normals = vertex_normals(vertices, triangles)
    one = shade(np.ones((6, 3)), normals, light_direction=(1.0, 2.0, 3.0))
    ten = shade(np.ones((6, 3)), normals, light_direction=(10.0, 20.0, 30.0))
    np.testing.assert_allclose(one, ten)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="normals must have shape"):
        shade(np.ones((3, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="colours must have shape"):
        shade(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="light_direction"):
        shade(np.ones((3, 3)), np.ones((3, 3)), light_direction=(0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="name vertices"):
        vertex_normals(np.zeros((2, 3)), [[0, 1, 2]])
