"""Known answers of normals and lamps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from img2pose.references import default_mesh
from sim3dr import Lighting, Mesh, light_meshes, phong, subdivide, vertex_normals

both_engines = pytest.mark.parametrize("engine", ["numba", "numpy"])

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


@both_engines
def test_normals_of_a_sphere_are_its_points(engine: Any) -> None:
    vertices, triangles = octahedron()
    for _ in range(5):
        vertices, triangles, _ = subdivide(vertices, triangles)
        vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    normals = vertex_normals(vertices, triangles, engine=engine)
    # Triangles are 3 degrees wide, and uneven near the octahedron's corners.
    assert (normals * vertices).sum(axis=1).min() > np.cos(np.radians(1.5))


def test_engines_agree_on_normals_and_light() -> None:
    rng = np.random.default_rng(0)
    mesh = default_mesh()
    fast, plain = (
        vertex_normals(mesh.vertices, mesh.triangles, engine=engine)
        for engine in ("numba", "numpy")
    )
    np.testing.assert_allclose(fast, plain, atol=1e-12)
    own = rng.uniform(0, 255, plain.shape)
    for lamps in (
        Lighting(),
        Lighting(specular=0.4, specular_exponent=5),
        Lighting(specular=0.4, specular_exponent=7.3, light_position=(1, -2, -4)),
        Lighting(specular=0.4, specular_exponent=0, view_position=(0.2, 0, -6)),
    ):
        lit = [
            phong(colours, plain, lamps, mesh.vertices, engine=engine)
            for colours in (own, own[0])
            for engine in ("numba", "numpy")
        ]
        np.testing.assert_allclose(lit[0], lit[1], rtol=1e-11, atol=1e-9)
        np.testing.assert_allclose(lit[2], lit[3], rtol=1e-11, atol=1e-9)


@both_engines
def test_a_lamp_lights_the_side_it_shines_on(engine: Any) -> None:
    normals = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    lamp = Lighting(ambient=0.2, directional=0.8)
    lit = phong([1.0, 0.5, 0.0], normals, lamp, engine=engine)
    np.testing.assert_allclose(lit, [[1.0, 0.5, 0.0], [0.2, 0.1, 0.0], [0.2, 0.1, 0.0]])


@both_engines
def test_phong_by_hand(engine: Any) -> None:
    # The surface faces the viewer. The lamp stands 60 degrees aside, the eye 30 degrees to the
    # other side: the mirrored ray misses the eye by 30 degrees.
    lamps = Lighting(
        ambient=0.1,
        directional=0.4,
        specular=0.2,
        specular_exponent=2.0,
        ambient_colour=(1.0, 0.5, 0.0),
        lamp_colour=(1.0, 1.0, 0.5),
        light_position=(-np.sin(np.pi / 3) * 7, 0.0, 5.0 - np.cos(np.pi / 3) * 7),
        view_position=(np.sin(np.pi / 6) * 3, 0.0, 5.0 - np.cos(np.pi / 6) * 3),
    )
    lit = phong([100.0, 200.0, 40.0], [[0, 0, -1.0]], lamps, [[0, 0, 5.0]], engine=engine)
    highlight = 0.2 * 255 * 0.75
    expected = [
        100 * (0.1 + 0.4 * 0.5) + highlight,
        200 * (0.05 + 0.4 * 0.5) + highlight,
        40 * (0.4 * 0.5 * 0.5) + highlight / 2,
    ]
    np.testing.assert_allclose(lit, [expected])
    # From behind there is neither light nor highlight.
    dark = phong([100.0, 200.0, 40.0], [[0, 0, 1.0]], lamps, [[0, 0, 5.0]], engine=engine)
    np.testing.assert_allclose(dark, [[10.0, 10.0, 0.0]])


def test_the_length_of_the_light_direction_does_not_matter() -> None:
    vertices, triangles = octahedron()
    normals = vertex_normals(vertices, triangles)
    one = phong(np.ones((6, 3)), normals, Lighting(light_direction=(1.0, 2.0, 3.0)))
    ten = phong(np.ones((6, 3)), normals, Lighting(light_direction=(10.0, 20.0, 30.0)))
    np.testing.assert_allclose(one, ten)


def test_light_meshes_does_not_depend_on_threads_and_keeps_the_rest() -> None:
    vertices, triangles = octahedron()
    meshes = [Mesh(vertices + [0, 0, place], triangles, (200.0, 100, 50)) for place in (4, 5, 6)]
    one, two = (light_meshes(meshes, threads=threads) for threads in (1, 2))
    for before, a, b in zip(meshes, one, two, strict=True):
        np.testing.assert_array_equal(a.vertex_colours, b.vertex_colours)
        assert a.vertices is before.vertices
        normals = vertex_normals(before.vertices, triangles)
        np.testing.assert_array_equal(a.vertex_colours, phong([200.0, 100, 50], normals))
        np.testing.assert_array_equal(before.vertex_colours, np.tile([200.0, 100, 50], (6, 1)))


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="normals must have shape"):
        phong(np.ones((3, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="colours must have shape"):
        phong(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="light_direction"):
        Lighting(light_direction=(0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="points"):
        phong(np.ones((3, 3)), np.ones((3, 3)), Lighting(light_position=(0, 0, 0)))
    with pytest.raises(ValueError, match="name vertices"):
        vertex_normals(np.zeros((2, 3)), [[0, 1, 2]])
    with pytest.raises(ValueError, match="engine"):
        vertex_normals(np.zeros((3, 3)), [[0, 1, 2]], engine="cuda")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine"):
        phong(np.ones((3, 3)), np.ones((3, 3)), engine="cuda")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ambient must be a number"):
        Lighting(ambient="much")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lamp_colour"):
        Lighting(lamp_colour=(1.0, -1.0, 1.0))
    with pytest.raises(TypeError, match="must be a Mesh"):
        light_meshes([np.zeros((3, 3))])  # type: ignore[list-item]
