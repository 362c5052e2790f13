"""What heads and scenes are made of: the model, noise, solids, hair, backgrounds, light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2pose.data.synthetic.accessories import HATS, hat_parts
from img2pose.data.synthetic.backgrounds import (
    GAMMA,
    folder_background,
    made_up_background,
)
from img2pose.data.synthetic.camera import photographed
from img2pose.data.synthetic.figures import Wardrobe, make_figure
from img2pose.data.synthetic.hair import draw_hair_style, hair_parts
from img2pose.data.synthetic.head_model import HeadModel, default_head_model
from img2pose.data.synthetic.identities import draw_person
from img2pose.data.synthetic.lighting import draw_illumination
from img2pose.data.synthetic.noise import fractal_noise
from img2pose.data.synthetic.parts import assemble
from img2pose.data.synthetic.skull import on_skull
from img2pose.data.synthetic.solids import box, capsules, ellipsoid, grid_triangles, tube
from img2pose.references import PoseReferences
from sim3dr import vertex_normals


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return default_head_model()


def test_the_mean_head_is_the_reference(model: HeadModel, references: PoseReferences) -> None:
    vertices = model.shape(np.zeros(50), np.zeros(52))
    np.testing.assert_allclose(vertices[model.landmark_indices], references.points_68, atol=1e-5)


def test_shape_adds_components_and_names_tell_what_they_do(model: HeadModel) -> None:
    identity = np.random.default_rng(0).normal(0, 1, 50)
    expression = np.zeros(52)
    shut = model.shape(identity, expression)
    flat = model.fine.mean.reshape(-1) + identity @ model.identities
    expected = flat.reshape(-1, 3) + model.tuck[:, None] * [0, 0, 1]
    np.testing.assert_allclose(shut, expected, atol=1e-4)
    expression[model.expression_names.index("jawOpen")] = 1.0
    opened = model.shape(identity, expression)
    lips = model.landmark_indices[[62, 66]]
    gap = np.diff(opened[lips, 1]) - np.diff(shut[lips, 1])
    assert gap > 0.15


def test_little_light_comes_into_mouth_and_nostrils(model: HeadModel) -> None:
    fine = model.fine
    assert fine.openness.min() >= 0 and fine.openness.max() <= 1 + 1e-6
    forehead = (fine.mean[:, 1] < -0.7) & (fine.mean[:, 2] < -0.3)
    assert fine.openness[forehead].min() > 0.85
    assert np.median(fine.openness[fine.masks["inside-mouth"] > 0.5]) < 0.05
    assert (model.tuck[model.landmark_indices] == 0).all()


def test_the_coarse_head_is_a_part_of_the_fine_one(model: HeadModel) -> None:
    coarse, fine = model.coarse, model.fine
    assert len(coarse.mean) < 0.5 * len(fine.mean)
    np.testing.assert_array_equal(coarse.mean, fine.mean[coarse.fine_indices])
    assert coarse.triangles.max() < len(coarse.mean)
    assert coarse.is_face.any() and not coarse.is_face.all()
    outward = vertex_normals(coarse.mean.astype(float), coarse.triangles)
    tip = np.argmin(coarse.mean[:, 2])
    assert outward[tip, 2] < -0.5


def test_skull_has_a_forehead_in_front_and_a_crown_on_top(model: HeadModel) -> None:
    skull = model.skull(model.fine.mean.astype(np.float64))
    front, crown = on_skull(skull, np.array([0.0, 0.0]), np.array([30.0, 89.5]))
    assert front[2] < -0.35 and abs(front[0]) < 0.02
    assert crown[1] < -1.35
    left, right = on_skull(skull, np.array([-90.0, 90.0]), np.array([20.0, 20.0]))
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=0.03)


def test_noise_is_smooth_repeatable_and_within_one() -> None:
    points = np.random.default_rng(0).uniform(-20, 20, (4000, 3)).astype(np.float32)
    noise = fractal_noise(points, seed=3)
    np.testing.assert_array_equal(noise, fractal_noise(points, seed=3))
    assert np.abs(noise).max() <= 1
    assert abs(noise.mean()) < 0.05 and noise.std() > 0.15
    near = fractal_noise(points + np.float32(1e-3), seed=3)
    assert np.abs(near - noise).max() < 0.03
    assert np.abs(np.corrcoef(noise, fractal_noise(points, seed=4))[0, 1]) < 0.1


def _volume(surface: tuple[np.ndarray, np.ndarray]) -> float:
    vertices, triangles = surface
    return abs(float(np.linalg.det(vertices[triangles]).sum())) / 6


def test_solids_have_their_size() -> None:
    center = np.array([3.0, 1, 2])
    vertices, triangles = box(center, np.array([1.0, 2, 3]))
    assert _volume((vertices, triangles)) == pytest.approx(48)
    assert ((vertex_normals(vertices, triangles) * (vertices - center)).sum(1) > 0.9).all()
    ball = _volume(ellipsoid(np.array([1.0, 5, 2]), np.array([1.0, 2, 3]), 40, 60))
    assert ball == pytest.approx(4 / 3 * np.pi * 6, rel=0.02)
    starts, ends = np.zeros((2, 3)), np.array([[0.0, 4, 0], [3.0, 0, 0]])
    vertices, triangles = capsules(starts, ends, np.array([0.5, 1]), np.array([0.5, 1]))
    assert len(vertices) == 96 and triangles.max() == 95
    assert vertices[:, 1].max() == pytest.approx(4.5)
    ring, _ = tube(np.array([[0.0, 0, 0], [0, 0, 5]]), 0.3, 8)
    np.testing.assert_allclose(np.hypot(ring[:, 0], ring[:, 1]), 0.3)
    assert len(grid_triangles(3, 4)) == 12 and len(grid_triangles(3, 4, True)) == 16


def test_hair_covers_the_crown_and_leaves_the_face(model: HeadModel) -> None:
    seen_long = seen_bald = False
    for seed in range(25):
        rng = np.random.default_rng(seed)
        person = draw_person(rng, model)
        fine = person.shape(model.shape(person.identity, person.expression))
        style = draw_hair_style(rng, person)
        parts = hair_parts(model.skull(fine), person, style, rng, False)
        seen_bald |= not parts
        seen_long |= style.length > 0.5
        for part in parts[:1]:
            assert np.isfinite(part.vertices).all()
            assert part.vertices[:, 1].min() < fine[:, 1].min() + 0.02
            nose = fine[model.landmark_indices[30]]
            assert np.linalg.norm(part.vertices - nose, axis=1).min() > 0.35
    assert seen_long and seen_bald


@pytest.mark.parametrize("kind", HATS)
def test_hats_sit_on_the_head(kind: str, model: HeadModel) -> None:
    rng = np.random.default_rng(1)
    person = draw_person(rng, model)
    fine = model.shape(person.identity, np.zeros(52))
    parts = hat_parts(model.skull(fine), rng, kind)
    places = np.concatenate([part.vertices for part in parts])
    assert np.isfinite(places).all()
    assert places[:, 1].min() < fine[:, 1].min() + 0.6
    assert np.abs(places).max() < 4


def test_a_figure_is_finite_and_made_of_what_the_wardrobe_says(model: HeadModel) -> None:
    everything = Wardrobe(glasses=1, hats=1, masks=1, occluders=1)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        figure, landmarks = make_figure(rng, model, np.eye(3), everything, coarse=seed % 3 == 0)
        assert len(figure.lenses) == 1
        assert landmarks.shape == (68, 3)
        scene = assemble([(0, part) for part in figure.parts])
        assert np.isfinite(scene.vertices).all() and np.isfinite(scene.attributes).all()
        assert scene.triangles.max() < len(scene.vertices)
        assert scene.attributes[:, :3].min() >= 0
        assert 0.1 < scene.is_face.mean() < 0.9


def test_backgrounds_are_light_of_any_kind() -> None:
    rng = np.random.default_rng(0)
    pictures = [made_up_background(rng, 48, 64) for _ in range(60)]
    for picture in pictures:
        assert picture.shape == (48, 64, 3)
        assert picture.dtype == np.float32
        assert np.isfinite(picture).all() and picture.min() >= 0
    means = np.array([picture.mean() for picture in pictures])
    assert means.min() < 0.1 and means.max() > 0.5


def test_a_folders_background_is_a_part_of_its_picture(tmp_path: Path) -> None:
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = 200, np.arange(90)
    path = tmp_path / "wall.png"
    Image.fromarray(pixels).save(path)
    picture = folder_background(np.random.default_rng(0), (path,), 32, 32)
    levels = 255 * picture ** (1 / GAMMA)
    np.testing.assert_allclose(levels[..., 0], 200, atol=0.1)
    assert 0 < np.ptp(levels[..., 1]) <= 90
    assert np.abs(levels[..., 2]).max() < 0.1


def test_cameras_expose_for_faces() -> None:
    scene = np.full((64, 64, 3), 4.0, dtype=np.float32)
    scene[24:40, 24:40] = 0.05
    levels = []
    for metered in (None, 0.05):
        shots = [
            photographed(np.random.default_rng(s), scene, (32, 32), metered) for s in range(12)
        ]
        assert all(pixels.shape == (32, 32, 3) and 40 <= q <= 99 for pixels, q in shots)
        levels.append(np.mean([pixels[14:18, 14:18].mean() for pixels, _ in shots]))
    assert levels[1] > levels[0] + 20


def test_light_comes_from_unit_directions() -> None:
    names = set()
    for seed in range(60):
        light = draw_illumination(np.random.default_rng(seed), np.eye(3))
        np.testing.assert_allclose(np.linalg.norm(light.directions, axis=1), 1, atol=1e-6)
        assert len(light.directions) == len(light.colours)
        assert light.colours.min() >= 0 and light.surroundings.min() > 0
        names.add(light.name)
    assert len(names) == 8
