"""Known answers and laws of both engines, and how far they agree."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from img2pose.references import default_mesh
from sim3dr import Mesh, Rasterized, rasterize, subdivide

ROOT = Path(__file__).parent.parent.parent
TRIANGLE = np.array([[0, 1, 2]])
# Corners clockwise on a screen with y down: the front is seen.
FRONT = np.array([[0.0, 0.0, 2.0], [3.0, 0.0, 2.0], [0.0, 3.0, 2.0]])
RED, GREEN = (255.0, 0.0, 0.0), (0.0, 255.0, 0.0)
CAMERA = np.array([[60.0, 0.0, 31.0], [0.0, 60.0, 23.0], [0.0, 0.0, 1.0]])

both_engines = pytest.mark.parametrize("engine", ["numba", "numpy"])


def soup(rng: np.random.Generator, count: int = 40, spread: float = 60.0) -> Mesh:
    vertices = rng.uniform(-10, spread, (60, 3)) * [1, 1, 0.1] + [0, 0, 2]
    return Mesh(vertices, rng.integers(0, 60, (count, 3)), rng.uniform(0, 255, (60, 3)))


def head_in_camera(turn: float, place: tuple[float, float, float]) -> np.ndarray:
    c, s = np.cos(turn), np.sin(turn)
    turned: np.ndarray = default_mesh().vertices @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return turned + np.array(place)


def assert_alike(fast: Rasterized, plain: Rasterized) -> None:
    """No pixel differs, at edges neither: no band is left out."""
    for name in ("depth", "mesh_index", "triangle_index"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name), err_msg=name)
    np.testing.assert_allclose(fast.image, plain.image, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(fast.barycentric, plain.barycentric, atol=1e-6)
    np.testing.assert_array_equal(fast.coverage, plain.coverage.astype(np.float32))


# One triangle.


@both_engines
def test_one_triangle_covers_the_pixels_whose_centres_it_holds(engine: Any) -> None:
    drawn = rasterize(Mesh(FRONT, TRIANGLE, RED), 5, 6, engine=engine)
    expected = np.add.outer(np.arange(5), np.arange(6)) <= 3
    np.testing.assert_array_equal(drawn.triangle_index == 0, expected)
    np.testing.assert_array_equal(drawn.mesh_index == 0, expected)
    np.testing.assert_array_equal(drawn.image[..., 0], 255 * expected)
    np.testing.assert_array_equal(drawn.coverage, expected)
    np.testing.assert_allclose(drawn.depth[expected], 2.0)
    assert np.isinf(drawn.depth[~expected]).all()


@both_engines
def test_pixel_centres_have_whole_coordinates(engine: Any) -> None:
    small = np.array([[1.9, 0.9, 1.0], [2.2, 0.9, 1.0], [2.0, 1.2, 1.0]])
    drawn = rasterize(Mesh(small, TRIANGLE), 4, 4, engine=engine)
    assert np.argwhere(drawn.triangle_index == 0).tolist() == [[1, 2]]


@both_engines
def test_corner_pixels_take_the_corner_colours(engine: Any) -> None:
    drawn = rasterize(Mesh(FRONT, TRIANGLE, np.eye(3)), 4, 4, engine=engine)
    for place, colour in (((0, 0), [1, 0, 0]), ((0, 3), [0, 1, 0]), ((3, 0), [0, 0, 1])):
        np.testing.assert_allclose(drawn.image[place], colour, atol=1e-7)
    np.testing.assert_allclose(drawn.image[1, 1], [1 / 3, 1 / 3, 1 / 3], atol=1e-7)


@both_engines
def test_back_sides_are_culled_unless_asked_for(engine: Any) -> None:
    back = Mesh(FRONT[[0, 2, 1]], TRIANGLE)
    assert (rasterize(back, 4, 4, engine=engine).triangle_index == -1).all()
    kept = rasterize(back, 4, 4, cull_back=False, engine=engine)
    front = rasterize(Mesh(FRONT, TRIANGLE), 4, 4, engine=engine)
    np.testing.assert_array_equal(kept.triangle_index, front.triangle_index)


@both_engines
def test_triangles_without_area_and_beyond_the_picture_never_appear(engine: Any) -> None:
    line = np.array([[0.0, 0.0, 1.0], [2.0, 2.0, 1.0], [4.0, 4.0, 1.0]])
    for vertices in (line, FRONT + [100, 0, 0], FRONT + [-1e12, 0, 0], 1e300 * (FRONT - 1)):
        drawn = rasterize(Mesh(vertices, TRIANGLE), 5, 5, cull_back=False, engine=engine)
        assert (drawn.triangle_index == -1).all()


@both_engines
def test_a_gigantic_triangle_fills_the_picture(engine: Any) -> None:
    huge = np.array([[-1e12, -1e12, 1.0], [1e12, -1e12, 1.0], [0.0, 1e12, 1.0]])
    drawn = rasterize(Mesh(huge, TRIANGLE, RED), 30, 40, engine=engine)
    assert (drawn.triangle_index == 0).all()
    np.testing.assert_allclose(drawn.depth, 1.0)


# Laws.


@both_engines
def test_depth_is_the_nearest_of_all_triangles_drawn_one_by_one(engine: Any) -> None:
    mesh = soup(np.random.default_rng(1), 25, 14)
    together = rasterize(mesh, 12, 12, cull_back=False, engine=engine)
    alone = [Mesh(mesh.vertices, row[None], mesh.colours) for row in mesh.triangles]
    single = [rasterize(one, 12, 12, cull_back=False, engine=engine).depth for one in alone]
    np.testing.assert_array_equal(together.depth, np.min(single, axis=0))


@both_engines
def test_the_order_of_meshes_does_not_matter(engine: Any) -> None:
    rng = np.random.default_rng(2)
    meshes = [soup(rng, 10) for _ in range(4)]
    one = rasterize(meshes, 50, 60, engine=engine)
    other = rasterize(meshes[::-1], 50, 60, engine=engine)
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.depth, other.depth)
    seen = one.mesh_index >= 0
    np.testing.assert_array_equal(other.mesh_index[seen], 3 - one.mesh_index[seen])
    assert len(np.unique(one.mesh_index)) == 5


@both_engines
def test_at_equal_depth_the_first_is_seen(engine: Any) -> None:
    twice = Mesh(np.vstack([FRONT, FRONT]), [[3, 4, 5], [0, 1, 2]])  # type: ignore[arg-type]
    drawn = rasterize([twice, twice], 4, 4, engine=engine)
    assert set(drawn.triangle_index.ravel()) == {-1, 0} == set(drawn.mesh_index.ravel())


@both_engines
def test_intersecting_triangles_are_split_where_they_cross(engine: Any) -> None:
    flat = np.array([[0.0, 0.0, 1.0], [20.0, 0.0, 1.0], [0.0, 20.0, 1.0]])
    steep = np.array([[0.0, 0.0, 0.05], [20.0, 0.0, 2.05], [0.0, 20.0, 0.05]])
    drawn = rasterize([Mesh(flat, TRIANGLE), Mesh(steep, TRIANGLE)], 10, 10, engine=engine)
    expected = np.tile(np.where(0.05 + 0.1 * np.arange(10) < 1.0, 1, 0), (10, 1))
    np.testing.assert_array_equal(drawn.mesh_index, expected)


@both_engines
def test_a_shift_by_whole_pixels_shifts_the_picture(engine: Any) -> None:
    vertices = np.random.default_rng(3).integers(0, 256, (30, 3)) / 16 + [4, 4, 1]
    triangles = np.random.default_rng(4).integers(0, 30, (40, 3))
    here = rasterize(Mesh(vertices, triangles, vertices), 24, 24, engine=engine)
    there = rasterize(Mesh(vertices + [3, 2, 0], triangles, vertices), 26, 27, engine=engine)
    for name in ("image", "depth", "triangle_index", "barycentric"):
        np.testing.assert_array_equal(getattr(there, name)[2:, 3:], getattr(here, name))


@both_engines
def test_weights_sum_to_one_and_rebuild_the_pixel(engine: Any) -> None:
    mesh = soup(np.random.default_rng(0))
    drawn = rasterize(mesh, 40, 30, cull_back=False, engine=engine)
    covered = drawn.triangle_index >= 0
    weights = drawn.barycentric[covered].astype(np.float64)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert (weights >= 0).all() and covered.any()
    np.testing.assert_array_equal(drawn.barycentric[~covered], 0.0)
    corners = mesh.vertices[mesh.triangles[drawn.triangle_index[covered]]]
    points = (weights[..., None] * corners).sum(axis=1)
    rows, columns = np.nonzero(covered)
    np.testing.assert_allclose(points[:, 0], columns, atol=1e-4)
    np.testing.assert_allclose(points[:, 1], rows, atol=1e-4)
    np.testing.assert_allclose(points[:, 2], drawn.depth[covered], atol=1e-5)


@both_engines
def test_a_closed_surface_has_no_cracks(engine: Any) -> None:
    # A fan around an uneven centre: slivers whose edges run through many pixels.
    turn = np.linspace(0, 2 * np.pi, 721)[:-1]
    rim = np.stack([31 + 90 * np.cos(turn), 23 + 90 * np.sin(turn)], axis=1)
    vertices = np.column_stack([np.vstack([[30.123, 22.456], rim]), np.ones(721)])
    after = np.roll(np.arange(1, 721), -1)
    triangles = np.stack([np.zeros(720, int), np.arange(1, 721), after], axis=1)
    assert (rasterize(Mesh(vertices, triangles), 48, 64, engine=engine).mesh_index == 0).all()


@both_engines
def test_samples_of_one_colour_keep_it_and_edges_are_mixed(engine: Any) -> None:
    square = np.array([[-9.0, -9, 1], [2.25, -9, 1], [2.25, 30, 1], [-9, 30, 1]])
    mesh = Mesh(square, np.array([[0, 1, 2], [0, 2, 3]]), (40.0, 80.0, 120.0))
    drawn = rasterize(mesh, 5, 5, (240, 240, 240), supersampling=2, engine=engine)
    np.testing.assert_allclose(drawn.image[:, :2], np.tile([40.0, 80, 120], (5, 2, 1)))
    # Column 2 is sampled at 1.75 and 2.25, on the edge, which counts as inside; 3 is outside.
    np.testing.assert_array_equal(drawn.coverage[0], [1, 1, 1, 0, 0])
    shifted = Mesh(square - [0.1, 0, 0], mesh.triangles, mesh.colours)
    half = rasterize(shifted, 5, 5, (240, 240, 240), supersampling=2, engine=engine)
    np.testing.assert_allclose(half.image[:, 2], np.tile([140.0, 160, 180], (5, 1)))
    np.testing.assert_array_equal(half.coverage[0], [1, 1, 0.5, 0, 0])
    assert half.mesh_index[0].tolist() == [0, 0, 0, -1, -1]
    alone = rasterize(shifted, 5, 5, supersampling=2, transparent=True, engine=engine)
    np.testing.assert_allclose(
        alone.image[0, 1:4], [[40, 80, 120, 255], [40, 80, 120, 127.5], [0] * 4]
    )


@both_engines
def test_background_is_a_colour_or_a_picture_and_is_not_changed(engine: Any) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    before = picture.copy()
    drawn = rasterize(Mesh(FRONT, TRIANGLE, RED), 5, 6, picture, engine=engine)
    np.testing.assert_array_equal(picture, before)
    empty = drawn.triangle_index < 0
    np.testing.assert_array_equal(drawn.image[empty], picture[empty])
    plain = rasterize([], 5, 6, [1, 2, 3], engine=engine)
    np.testing.assert_array_equal(plain.image, np.tile([1, 2, 3], (5, 6, 1)))
    assert (plain.triangle_index == -1).all()


# Texture.


@both_engines
def test_texture_is_looked_up_between_texels(engine: Any) -> None:
    texture = np.arange(12, dtype=np.float32).reshape(2, 2, 3) * 10
    # The square's corners are pixels (0, 0) and (4, 4); v runs upward.
    square = np.array([[0.0, 0, 1], [4, 0, 1], [4, 4, 1], [0, 4, 1]])
    uv = np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    mesh = Mesh(square, [[0, 1, 2], [0, 2, 3]], None, texture, uv)  # type: ignore[arg-type]
    image = rasterize(mesh, 5, 5, engine=engine).image
    for row, column, expected in (
        (0, 0, texture[0, 0]),
        (1, 1, texture[0, 0]),
        (4, 0, texture[1, 0]),
        (0, 4, texture[0, 1]),
        (2, 2, texture.mean(axis=(0, 1))),
        (0, 2, texture[0].mean(axis=0)),
        (2, 1, texture[:, 0].mean(axis=0)),
    ):
        np.testing.assert_allclose(image[row, column], expected, atol=1e-4)
    # Light on the vertices multiplies the texture.
    dim = rasterize(mesh.with_colours((51.0, 255.0, 0.0)), 5, 5, engine=engine).image
    np.testing.assert_allclose(dim, image * [0.2, 1, 0], atol=1e-4)


@both_engines
def test_corners_of_one_vertex_may_have_their_own_places_in_the_texture(engine: Any) -> None:
    texture = np.zeros((1, 2, 3), dtype=np.uint8)
    texture[0, 0], texture[0, 1] = RED, GREEN
    square = np.array([[0.0, 0, 1], [8, 0, 1], [8, 8, 1], [0, 8, 1]])
    mesh = Mesh(
        square,
        np.array([[0, 1, 2], [0, 2, 3]]),
        texture=texture,  # type: ignore[arg-type]
        texture_coordinates=np.array([[0.1, 0.5], [0.9, 0.5]]),
        texture_triangles=np.array([[0, 0, 0], [1, 1, 1]], dtype=np.int32),
    )
    drawn = rasterize(mesh, 9, 9, engine=engine)
    np.testing.assert_allclose(drawn.image[1, 6], RED)
    np.testing.assert_allclose(drawn.image[6, 1], GREEN)


# The camera.


@both_engines
def test_perspective_is_exact_on_a_plane(engine: Any) -> None:
    # The plane n . X = d, its colour linear in X: both are known at every pixel.
    normal, distance = np.array([0.6, 0.2, -1.0]), -3.0
    xy = np.array([[-2.0, -2], [2, -2], [2, 2], [-2, 2]])
    z = (distance - xy @ normal[:2]) / normal[2]
    vertices = np.column_stack([xy, z])
    mesh = Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]]), 100 + 20 * vertices)
    drawn = rasterize(mesh, 48, 64, intrinsics=CAMERA, engine=engine)
    rows, columns = np.nonzero(drawn.mesh_index == 0)
    rays = np.stack([columns, rows, np.ones(len(rows))], axis=1) @ np.linalg.inv(CAMERA).T
    points = rays * (distance / (rays @ normal))[:, None]
    assert len(rows) > 1000
    np.testing.assert_allclose(drawn.depth[rows, columns], points[:, 2], rtol=1e-12)
    np.testing.assert_allclose(drawn.image[rows, columns], 100 + 20 * points, atol=1e-4)
    flat = rasterize(mesh, 48, 64, intrinsics=CAMERA, perspective_correct=False, engine=engine)
    assert np.abs(flat.depth[rows, columns] - points[:, 2]).max() > 0.1
    by_hand = np.column_stack([(vertices / z[:, None]) @ CAMERA.T[:, :2], z])
    screen = rasterize(
        Mesh(by_hand, mesh.triangles, mesh.colours), 48, 64, perspective_correct=True, engine=engine
    )
    np.testing.assert_allclose(screen.image, drawn.image, atol=1e-3)


@both_engines
@pytest.mark.parametrize("behind", [1, 2])
def test_triangles_across_the_near_plane_show_what_lies_beyond(engine: Any, behind: int) -> None:
    # A floor that runs from behind the camera into the distance, and the same cut fine.
    # Numbers that put no pixel exactly on an edge.
    vertices = np.array([[-1.031, 1, -2.017], [1.513, 1, 9.1], [-1.477, 1, 7.03]])
    if behind == 2:
        vertices = np.array([[-2.013, 1, -1.07], [0.211, 1, 9.03], [2.017, 1, -2.03]])
    triangle = TRIANGLE if _faces_up(vertices) else TRIANGLE[:, [0, 2, 1]]
    colours = 100 + 10 * vertices
    near = 0.5
    drawn = rasterize(
        Mesh(vertices, triangle, colours), 48, 64, intrinsics=CAMERA, near=near, engine=engine
    )
    seen = drawn.mesh_index == 0
    rows, columns = np.nonzero(seen)
    rays = np.stack([columns, rows, np.ones(len(rows))], axis=1) @ np.linalg.inv(CAMERA).T
    points = rays / rays[:, 1:2]
    assert len(rows) > 100 and set(drawn.triangle_index[seen].tolist()) == {0}
    np.testing.assert_allclose(drawn.depth[seen], points[:, 2], rtol=1e-9)
    np.testing.assert_allclose(drawn.image[seen], 100 + 10 * points, atol=1e-3)
    rebuilt = np.einsum("nk,kd->nd", drawn.barycentric[seen], vertices[triangle[0]])
    np.testing.assert_allclose(rebuilt, points, atol=1e-4)
    assert drawn.depth.min() >= near
    # What is hidden by the plane: pieces of a fine mesh, those wholly before it left out.
    fine, parts = vertices, triangle
    for _ in range(5):
        fine, parts, _ = subdivide(fine, parts)
    parts = parts[(fine[parts][..., 2] >= near).all(axis=1)]
    kept = rasterize(Mesh(fine, parts), 48, 64, intrinsics=CAMERA, near=near, engine=engine)
    assert not ((kept.mesh_index == 0) & ~seen).any()
    assert ((kept.mesh_index == 0) & seen).sum() > 0.8 * seen.sum()


def _faces_up(floor: np.ndarray) -> bool:
    """Whether a camera above the floor (y down) sees its front."""
    a, b, c = floor
    return bool(np.cross(c - a, b - a)[1] < 0)


@both_engines
def test_a_mesh_behind_the_camera_is_not_seen(engine: Any) -> None:
    mesh = Mesh(FRONT - [0, 0, 5], TRIANGLE)
    drawn = rasterize(mesh, 20, 20, intrinsics=CAMERA, cull_back=False, engine=engine)
    assert (drawn.mesh_index == -1).all()


# Both engines, threads, processes.


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"supersampling": 2},
        {"supersampling": 3, "transparent": True},
        {"cull_back": False},
        {"cull_back": False, "perspective_correct": True},
    ],
    ids=str,
)
def test_engines_agree_on_soups_and_heads(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    for _ in range(4):
        meshes = [soup(rng), soup(rng, 20, 200)]
        meshes = [Mesh(m.vertices * [1, 1, 1] + [0, 0, 2], m.triangles, m.colours) for m in meshes]
        assert_alike(
            rasterize(meshes, 50, 60, **settings),
            rasterize(meshes, 50, 60, engine="numpy", **settings),
        )
    triangles = default_mesh().triangles
    heads = [
        Mesh(vertices, triangles, 128 + 80 * vertices)
        # The last one stands across the near plane.
        for vertices in (
            head_in_camera(0.4, (-0.6, 0.1, 6.0)),
            head_in_camera(-0.7, (0.5, 0.0, 5.5)),
            head_in_camera(2.5, (1.1, 0.3, 1.1)),
        )
    ]
    pictures = [
        rasterize(heads, 90, 120, intrinsics=CAMERA * [[2, 1, 2], [1, 2, 2], [1, 1, 1]],
                  near=0.2, engine=engine, **settings)
        for engine in ("numba", "numpy")
    ]  # fmt: skip
    assert_alike(*pictures)
    assert set(np.unique(pictures[0].mesh_index)) >= {0, 1, 2}


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_do_not_change_the_picture(threads: int) -> None:
    rng = np.random.default_rng(6)
    meshes = [soup(rng, 100, 300) for _ in range(3)]
    for settings in ({}, {"supersampling": 2, "cull_back": False}):
        one = rasterize(meshes, 270, 310, threads=1, **settings)  # type: ignore[arg-type]
        many = rasterize(meshes, 270, 310, threads=threads, **settings)  # type: ignore[arg-type]
        for name in ("image", "depth", "mesh_index", "triangle_index", "barycentric", "coverage"):
            np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


def test_several_python_threads_draw_at_once() -> None:
    meshes = [soup(np.random.default_rng(seed), 100, 300) for seed in range(4)]
    expected = [rasterize(mesh, 250, 250, threads=1).image for mesh in meshes]
    drawn: list[Any] = [None] * 4

    def draw(index: int) -> None:
        for _ in range(3):
            drawn[index] = rasterize(meshes[index], 250, 250, threads=2).image

    workers = [threading.Thread(target=draw, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for image, right in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(image, right)


def _draw_in_child(seed: int) -> np.ndarray:
    return rasterize(soup(np.random.default_rng(seed), 100, 300), 250, 250, threads=2).image


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_draws_after_its_parent() -> None:
    expected = _draw_in_child(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for image in pool.map_async(_draw_in_child, [0, 0]).get(timeout=60):
            np.testing.assert_array_equal(image, expected)


def test_meshes_may_be_read_only() -> None:
    vertices, triangles = FRONT.copy(), TRIANGLE.astype(np.int32)
    vertices.flags.writeable = triangles.flags.writeable = False
    drawn = rasterize(Mesh(vertices, triangles, vertices), 4, 4)
    assert (drawn.mesh_index == 0).sum() == 10


# Random triangles: 100,000 with `pytest -m slow tests/sim3dr/test_rasterizer.py -k soups`.


def _hostile_soup(rng: np.random.Generator) -> tuple[list[Mesh], dict[str, Any]]:
    meshes = []
    for _ in range(rng.integers(1, 3)):
        count = int(rng.integers(1, 12))
        scale = rng.choice([1e-300, 1e-9, 0.3, 20.0, 1e3, 1e12, 1e160, 1e300])
        vertices = rng.normal(0, 1, (count, 3)) * scale
        if rng.random() < 0.5:
            vertices = np.round(vertices)
        if rng.random() < 0.3:
            vertices[rng.integers(count)] = rng.choice([0.0, 7.5, 1e308, -1e308, 1e-310], 3)
        triangles = rng.integers(0, count, (int(rng.integers(1, 12)), 3))
        texture = {}
        if rng.random() < 0.3:
            texture = {
                "texture": rng.uniform(0, 255, (*rng.integers(1, 4, 2), 3)),
                "texture_coordinates": rng.normal(0, rng.choice([1.0, 1e300]), (count, 2)),
            }
        meshes.append(Mesh(vertices, triangles, None, **texture))
    settings: dict[str, Any] = {
        "supersampling": int(rng.integers(1, 4)),
        "cull_back": bool(rng.random() < 0.5),
        "transparent": bool(rng.random() < 0.3),
        "threads": int(rng.integers(1, 3)),
    }
    if rng.random() < 0.6:
        settings["intrinsics"] = CAMERA / [[4], [4], [1]]
        settings["near"] = float(rng.choice([1e-9, 0.01, 3.0, 1e9]))
        settings["perspective_correct"] = bool(rng.random() < 0.5)
    return meshes, settings


def _draw_soups(seed: int, count: int, compared: int) -> None:
    rng = np.random.default_rng(seed)
    for number in range(count):
        meshes, settings = _hostile_soup(rng)
        drawn = rasterize(meshes, 11, 17, **settings)
        seen = drawn.mesh_index >= 0
        np.testing.assert_array_equal(seen, np.isfinite(drawn.depth))
        np.testing.assert_array_equal(seen, drawn.triangle_index >= 0)
        if number < compared:
            plain = rasterize(meshes, 11, 17, engine="numpy", **settings)
            for name in ("depth", "mesh_index", "triangle_index"):
                np.testing.assert_array_equal(getattr(drawn, name), getattr(plain, name))


def test_random_soups_crash_nothing() -> None:
    _draw_soups(7, 300, 300)


@pytest.mark.slow
def test_a_hundred_thousand_random_soups_crash_nothing() -> None:
    _draw_soups(8, 100_000, 5_000)


# Errors.


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"vertices": FRONT[:, :2]}, ValueError, "vertices must have shape"),
        ({"vertices": np.zeros((0, 3))}, ValueError, "empty"),
        ({"vertices": FRONT.astype(complex)}, TypeError, "real numbers"),
        ({"vertices": [["a", "b", "c"]] * 3}, TypeError, "real numbers"),
        ({"vertices": [[0, 0, 1], [0, np.nan, 1], [1, 0, 1]]}, ValueError, "the first is 1"),
        ({"triangles": np.array([0, 1, 2])}, ValueError, "triangles must have shape"),
        ({"triangles": np.zeros((0, 3), int)}, ValueError, "empty"),
        ({"triangles": [[0, 1, 3]]}, ValueError, "name vertices 0 to 2"),
        ({"triangles": [[0, -1, 2]]}, ValueError, "name vertices 0 to 2"),
        ({"triangles": [[0.0, 1.0, 2.0]]}, TypeError, "whole numbers"),
        ({"triangles": [[True, False, True]]}, TypeError, "whole numbers"),
        ({"colours": np.zeros((2, 3))}, ValueError, "colours must have shape"),
        ({"colours": np.full(3, np.inf)}, ValueError, "colours must be finite"),
        ({"colours": np.full(3, 1e300)}, ValueError, "within float32"),
        (
            {"texture": np.full((2, 2, 3), 1e300), "texture_coordinates": np.zeros((3, 2))},
            ValueError,
            "within float32",
        ),
        ({"texture": np.zeros((2, 2, 3))}, ValueError, "belong together"),
        ({"texture_triangles": TRIANGLE}, ValueError, "without a texture"),
        (
            {"texture": np.full((2, 2, 3), np.nan), "texture_coordinates": np.zeros((3, 2))},
            ValueError,
            "texture must be finite",
        ),
        (
            {"texture": np.zeros((2, 2, 3)), "texture_coordinates": np.zeros((2, 2))},
            ValueError,
            "texture_triangles must name",
        ),
    ],
)
def test_wrong_meshes_are_named(
    changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"vertices": FRONT, "triangles": TRIANGLE}
    with pytest.raises(kind, match=message):
        Mesh(**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"meshes": [FRONT]}, TypeError, "must be a Mesh"),
        ({"height": 0}, ValueError, "at least 1"),
        ({"width": 2.5}, TypeError, "whole number"),
        ({"background": np.zeros((2, 2, 3))}, ValueError, "background must have shape"),
        ({"background": ["a", "b", "c"]}, TypeError, "background"),
        ({"background": np.full(3, np.nan)}, ValueError, "background must be finite"),
        ({"meshes": None}, TypeError, "must be a Mesh or several"),
        ({"cull_back": "no"}, TypeError, "cull_back must be True or False"),
        ({"perspective_correct": "no"}, TypeError, "perspective_correct must be True or False"),
        ({"threads": 2.5}, TypeError, "threads must be a whole number"),
        ({"background": (1, 2, 3), "transparent": True}, ValueError, "no background"),
        ({"supersampling": 0}, ValueError, "supersampling"),
        ({"threads": 0}, ValueError, "threads must be"),
        ({"engine": "cuda"}, ValueError, "engine must be"),
        ({"intrinsics": np.zeros((3, 3))}, ValueError, "focal lengths"),
        ({"intrinsics": np.eye(4)}, ValueError, "3, 3"),
        ({"intrinsics": CAMERA, "near": 0.0}, ValueError, "near"),
        ({"meshes": Mesh(FRONT - [0, 0, 2], TRIANGLE), "perspective_correct": True},
         ValueError, "depths above 0"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(
    changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"meshes": Mesh(FRONT, TRIANGLE), "height": 5, "width": 6}
    with pytest.raises(kind, match=message):
        rasterize(**(arguments | changes))


def test_importing_the_package_does_not_import_numba() -> None:
    # It takes a third of a second, and not everyone who imports the package draws.
    code = "import sys, sim3dr; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
