"""What holds of any scene, on scenes that hypothesis makes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sim3dr import Mesh, Rasterized, rasterize, subdivide

HEIGHT, WIDTH = 18, 23
# Sixteenths of pixels: sums with whole numbers are exact, and corners and edges often meet samples.
SIXTEENTHS = st.integers(-16 * 6, 16 * 30).map(lambda number: number / 16)
COLOURS = st.integers(0, 255).map(float)


@st.composite
def scenes(draw: st.DrawFn, most_meshes: int = 3) -> list[Mesh]:
    """Meshes on the screen, in part outside the picture, before and through each other."""
    meshes = []
    for _ in range(draw(st.integers(1, most_meshes))):
        count = draw(st.integers(3, 8))
        xy = draw(arrays(np.float64, (count, 2), elements=SIXTEENTHS))
        z = draw(arrays(np.float64, (count, 1), elements=st.integers(1, 64).map(float)))
        triangles = draw(
            arrays(
                np.int64,
                (draw(st.integers(1, 6)), 3),
                elements=st.integers(0, count - 1),
                fill=None,
            )
        )
        colours = draw(arrays(np.float64, (count, 3), elements=COLOURS))
        meshes.append(Mesh(np.hstack([xy, z]), triangles, colours))
    return meshes


SETTINGS = st.fixed_dictionaries(
    {
        "cull_back": st.booleans(),
        "perspective_correct": st.booleans(),
        "supersampling": st.integers(1, 3),
        "transparent": st.booleans(),
    }
)


def draw_scene(meshes: list[Mesh], **kwargs: Any) -> Rasterized:
    return rasterize(meshes, HEIGHT, WIDTH, **kwargs)


@settings(deadline=None, max_examples=40)
@given(meshes=scenes(), kwargs=SETTINGS, threads=st.integers(1, 3))
def test_the_engines_draw_the_same(
    meshes: list[Mesh], kwargs: dict[str, Any], threads: int
) -> None:
    fast = draw_scene(meshes, threads=threads, **kwargs)
    plain = draw_scene(meshes, engine="numpy", **kwargs)
    for name in ("depth", "mesh_index", "triangle_index"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name), err_msg=name)
    for name in ("image", "barycentric", "coverage"):
        np.testing.assert_allclose(getattr(fast, name), getattr(plain, name), atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(meshes=scenes(), kwargs=SETTINGS, data=st.data())
def test_depth_does_not_depend_on_the_order_of_meshes(
    meshes: list[Mesh], kwargs: dict[str, Any], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(meshes))))
    one = draw_scene(meshes, **kwargs)
    other = draw_scene([meshes[number] for number in order], **kwargs)
    np.testing.assert_array_equal(one.depth, other.depth)
    np.testing.assert_array_equal(one.coverage, other.coverage)
    # Where one mesh alone is nearest, the same one is seen.
    alone = np.stack([draw_scene([mesh], **kwargs).depth for mesh in meshes])
    single = np.isfinite(one.depth) & ((alone == one.depth).sum(axis=0) == 1)
    np.testing.assert_array_equal(one.mesh_index[single], np.array(order)[other.mesh_index[single]])
    np.testing.assert_array_equal(one.depth, alone.min(axis=0))


@settings(deadline=None, max_examples=40)
@given(
    meshes=scenes(),
    kwargs=SETTINGS,
    right=st.integers(0, 9),
    down=st.integers(0, 9),
)
def test_a_shift_by_whole_pixels_shifts_the_picture(
    meshes: list[Mesh], kwargs: dict[str, Any], right: int, down: int
) -> None:
    moved = [
        Mesh(mesh.vertices + [right, down, 0], mesh.triangles, mesh.colours) for mesh in meshes
    ]
    here = draw_scene(meshes, **kwargs)
    there = rasterize(moved, HEIGHT + down, WIDTH + right, **kwargs)
    # Places of samples that are no binary fractions are rounded otherwise elsewhere.
    exact = kwargs["supersampling"] != 3
    for name in ("depth", "mesh_index", "triangle_index", "image", "coverage") if exact else ():
        np.testing.assert_array_equal(
            getattr(there, name)[down:, right:], getattr(here, name), err_msg=name
        )


@settings(deadline=None, max_examples=40)
@given(meshes=scenes(), kwargs=SETTINGS)
def test_colours_lie_between_those_of_the_corners(
    meshes: list[Mesh], kwargs: dict[str, Any]
) -> None:
    drawn = draw_scene(meshes, **kwargs)
    seen = drawn.mesh_index >= 0
    np.testing.assert_array_equal(seen, np.isfinite(drawn.depth))
    np.testing.assert_array_equal(seen, drawn.coverage > 0)
    np.testing.assert_allclose(drawn.barycentric.sum(axis=-1), seen, atol=1e-5)
    assert drawn.barycentric.min() >= 0
    for number, mesh in enumerate(meshes):
        mine = drawn.mesh_index == number
        z = mesh.vertices[mesh.triangles[drawn.triangle_index[mine]], 2]
        assert (drawn.depth[mine] >= z.min(axis=1) * (1 - 1e-12)).all()
        assert (drawn.depth[mine] <= z.max(axis=1) * (1 + 1e-12)).all()
    colours = np.concatenate([mesh.vertex_colours for mesh in meshes])
    image = drawn.image[seen][:, :3]
    if image.size and kwargs["transparent"]:
        assert (image >= colours.min(axis=0) - 1e-3).all()
        assert (image <= colours.max(axis=0) + 1e-3).all()


@settings(deadline=None, max_examples=40)
@given(
    corners=arrays(np.float64, (3, 2), elements=st.floats(2, 90)),
    engine=st.sampled_from(["numba", "numpy"]),
)
def test_a_triangle_covers_as_many_samples_as_its_area_says(
    corners: np.ndarray, engine: Any
) -> None:
    mesh = Mesh(np.column_stack([corners, np.ones(3)]), [[0, 1, 2]])
    drawn = rasterize(mesh, 93, 93, cull_back=False, supersampling=4, engine=engine)
    (ax, ay), (bx, by), (cx, cy) = corners
    area = abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / 2
    perimeter = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).sum()
    # Only the cells of samples, a quarter of a pixel wide, that an edge runs through can be
    # counted wrongly; they lie within a band of their diagonal to each side of the edges.
    diagonal = np.sqrt(2) / 4
    assert abs(drawn.coverage.sum() - area) <= diagonal * perimeter + np.pi * diagonal**2


@settings(deadline=None, max_examples=40)
@given(meshes=scenes(most_meshes=1))
def test_finer_triangles_cover_the_same_samples(meshes: list[Mesh]) -> None:
    (mesh,) = meshes
    finer, triangles, _ = subdivide(mesh.vertices, mesh.triangles)
    coarse = draw_scene([mesh], cull_back=False)
    fine = draw_scene([Mesh(finer, triangles)], cull_back=False)
    # Middles of sides in thirty-seconds are exact, so no sample changes sides.
    np.testing.assert_array_equal(fine.mesh_index, coarse.mesh_index)
    seen = coarse.mesh_index >= 0
    np.testing.assert_allclose(fine.depth[seen], coarse.depth[seen], rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(meshes=scenes(), scale=st.sampled_from([0.25, 3.0]))
def test_a_scale_of_depths_changes_depths_alone(meshes: list[Mesh], scale: float) -> None:
    scaled = [Mesh(mesh.vertices * [1, 1, scale], mesh.triangles, mesh.colours) for mesh in meshes]
    one, other = draw_scene(meshes), draw_scene(scaled)
    np.testing.assert_allclose(other.depth, scale * one.depth, rtol=1e-12)
    np.testing.assert_array_equal(other.coverage, one.coverage)
