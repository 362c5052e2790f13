from __future__ import annotations

import numpy as np
import pytest

from sim3dr import Mesh, TextureMap, cylindrical_map, extract_texture, filled_texels, rasterize

CAMERA = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
# A square of one unit at depth 2: 50 pixels wide about the middle, its front toward the camera.
SQUARE = np.array([[-0.5, -0.5, 2.0], [0.5, -0.5, 2], [0.5, 0.5, 2], [-0.5, 0.5, 2]])
HALVES = np.array([[0, 1, 2], [0, 2, 3]])
UPRIGHT = TextureMap(np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]]), HALVES.astype(np.int32))


def photograph() -> np.ndarray:
    y, x = np.mgrid[:100, :100]
    return np.stack([2 * x, 2 * y, x + y], axis=-1).astype(np.uint8)


def depth_of(*meshes: np.ndarray) -> np.ndarray:
    scene = [Mesh(vertices, HALVES) for vertices in meshes]
    return rasterize(scene, 100, 100, intrinsics=CAMERA, engine="numpy").depth


def taken(square: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    texels = filled_texels(UPRIGHT, 20)
    return extract_texture(photograph(), square, HALVES, texels, CAMERA, depth)


def test_a_square_has_the_photographs_pixels() -> None:
    texture, seen = taken(SQUARE, depth_of(SQUARE))
    assert seen.all()
    # Texel centres, in the photograph: 2.5 pixels apart from the square's left edge at 25.
    places = 25 + 2.5 * (np.arange(20) + 0.5)
    expected = np.stack(np.meshgrid(2 * places, 2 * places, indexing="xy"), axis=-1)
    np.testing.assert_allclose(texture[..., :2], expected, atol=0.51)


def test_what_is_hidden_is_unseen_and_black() -> None:
    nearer = (SQUARE - [0.5, 0, 1.0]) * [1, 4, 1]
    texture, seen = taken(SQUARE, depth_of(SQUARE, nearer))
    # The nearer square covers the picture from x = -50 to 50, its right edge being at 0.
    assert not seen[:, :10].any() and seen[:, 10:].all()
    assert (texture[:, :10] == 0).all()


def test_what_is_turned_away_or_outside_is_unseen() -> None:
    from_behind = SQUARE * [-1, 1, 1]
    assert not taken(from_behind, depth_of(from_behind))[1].any()
    # Nearly in a plane with the camera.
    edge_on = np.array([[0.1, -0.5, 2.0], [0.55, -0.5, 10], [0.55, 0.5, 10], [0.1, 0.5, 2]])
    assert not taken(edge_on, depth_of(edge_on))[1].any()
    half_out = SQUARE - [1, 0, 0]
    seen = taken(half_out, depth_of(half_out))[1]
    assert not seen[:, :9].any() and seen[:, 11:].all()
    behind = SQUARE * [1, 1, -1]
    assert not taken(behind, np.full((100, 100), np.inf))[1].any()


def test_wrong_shapes_are_named() -> None:
    arguments = (SQUARE, HALVES, filled_texels(UPRIGHT, 8), CAMERA)
    with pytest.raises(ValueError, match="photograph"):
        extract_texture(photograph()[..., 0], *arguments, np.ones((100, 100)))
    with pytest.raises(ValueError, match="depth"):
        extract_texture(photograph(), *arguments, np.ones((100, 99)))
    with pytest.raises(TypeError, match="photograph must be uint8"):
        extract_texture(photograph() / 255, *arguments, np.ones((100, 100)))
    square, _, texels, camera = arguments
    with pytest.raises(ValueError, match="texels name triangle 1 of 1"):
        extract_texture(photograph(), square, HALVES[:1], texels, camera, np.ones((100, 100)))
    with pytest.raises(ValueError, match="axis_xz"):
        cylindrical_map(SQUARE, HALVES, (np.nan, 0.0))


def tube(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi * np.arange(count) / count + 0.01
    ring = np.stack([np.sin(angle), np.zeros(count), -np.cos(angle)], axis=1)
    vertices = np.concatenate([ring - [0, 1, 0], ring + [0, 1, 0]])
    a = np.arange(count)
    b = (a + 1) % count
    return vertices, np.concatenate(
        [np.stack([a, b, b + count], axis=1), np.stack([a, b + count, a + count], axis=1)]
    )


def test_a_cylinder_is_unrolled_without_gap_or_overlap() -> None:
    vertices, triangles = tube()
    unrolled = cylindrical_map(vertices, triangles)
    corners = unrolled.coordinates[unrolled.triangles]
    assert corners.min() == 0 and corners.max() == 1
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    doubled_areas = np.abs(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    np.testing.assert_allclose(doubled_areas, 1 / 12, rtol=1e-9)
    # The front is in the middle, the person's left (x > 0) to the right, the top at v = 1.
    front = unrolled.coordinates[0]
    assert abs(front[0] - 0.5) < 0.1 and front[1] == 1
    assert unrolled.coordinates[3, 0] > front[0]


def test_of_two_layers_the_outer_one_has_the_place() -> None:
    vertices, triangles = tube()
    inner = vertices * [0.5, 1, 0.5]
    both = np.concatenate([inner, vertices])
    unrolled = cylindrical_map(both, np.concatenate([triangles, triangles + len(inner)]))
    assert unrolled.layers is not None
    ring = slice(0, len(inner)), slice(len(inner), len(both))
    assert (unrolled.layers[ring[1]] < unrolled.layers[ring[0]]).all()


def test_the_axis_may_stand_elsewhere() -> None:
    vertices, triangles = tube()
    moved = cylindrical_map(vertices + [0, 0, 5], triangles, (0.0, 5.0))
    np.testing.assert_allclose(
        moved.coordinates, cylindrical_map(vertices, triangles).coordinates, atol=1e-9
    )


def test_the_outer_layer_fills_the_texture() -> None:
    vertices, triangles = tube()
    both = np.concatenate([vertices * [0.5, 1, 0.5], vertices])
    unrolled = cylindrical_map(both, np.concatenate([triangles, triangles + len(vertices)]))
    texels = filled_texels(unrolled, 32)
    assert len(texels.index) == 32 * 32
    assert (texels.triangle >= len(triangles)).all()
