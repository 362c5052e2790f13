from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from img2pose.config import DataConfig
from img2pose.data.transforms import Augmentation, Mosaic, Occlusion, Picture, face_boxes
from img2pose.data.transforms import projected_points as points_of
from img2pose.references import PoseReferences

HEIGHT, WIDTH = 240, 320
FACES = np.array([[0.1, -0.2, 0.05, -0.9, 0.1, 8.0], [0, 0.3, 0, 0.9, -0.1, 9.0]])


@pytest.fixture
def picture() -> Picture:
    """Plain, so that whatever is put over it shows, but for pieces of itself."""
    return Picture(np.full((HEIGHT, WIDTH, 3), 119, dtype=np.uint8), FACES.copy())


def occlusion(references: PoseReferences, **data: Any) -> Occlusion:
    return Occlusion(DataConfig(occlusion_probability=1.0, **data), references)


def test_labels_stay_and_faces_are_covered_in_part(
    picture: Picture, references: PoseReferences
) -> None:
    occlude = occlusion(references, occlusion_size=(0.4, 0.6))
    shares = []
    for seed in range(30):
        covered = occlude(picture, np.random.default_rng(seed))
        np.testing.assert_array_equal(covered.poses_in_image, FACES)
        changed = (covered.pixels != picture.pixels).any(-1)
        for left, top, right, bottom in face_boxes(picture, references).astype(int):
            shares.append(changed[top:bottom, left:right].mean())
    # A third of the pieces are of the plain picture itself and do not show.
    assert 0.4 < np.mean(np.array(shares) > 0.02) < 0.95
    assert max(shares) < 0.9
    assert (picture.pixels == 119).all()


def test_occluders_lie_elsewhere_too(picture: Picture, references: PoseReferences) -> None:
    occlude = occlusion(references)
    outside = np.ones((HEIGHT, WIDTH), dtype=bool)
    for left, top, right, bottom in face_boxes(picture, references).astype(int):
        outside[top - 30 : bottom + 30, left - 30 : right + 30] = False
    seen = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for seed in range(40):
        covered = occlude(picture, np.random.default_rng(seed))
        seen |= (covered.pixels != picture.pixels).any(-1)
    assert seen[outside].mean() > 0.3


def test_the_share_of_faces_is_the_one_set(picture: Picture, references: PoseReferences) -> None:
    occlude = Occlusion(DataConfig(occlusion_probability=0.25), references)
    untouched = [occlude(picture, np.random.default_rng(seed)) is picture for seed in range(200)]
    assert np.mean(untouched) == pytest.approx(0.75**2, abs=0.1)


def test_a_face_hidden_by_more_than_the_limit_is_painted_out(
    picture: Picture, references: PoseReferences
) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    noisy = Picture(pixels, FACES)
    keep = occlusion(references, occlusion_size=(0.5, 0.9))
    limit = occlusion(references, occlusion_size=(0.5, 0.9), occlusion_max_hidden=0.3)
    points = np.floor(points_of(noisy, references)).astype(int)
    counts = []
    for seed in range(40):
        covered = keep(noisy, np.random.default_rng(seed))
        limited = limit(noisy, np.random.default_rng(seed))
        hidden = (covered.pixels != pixels).any(-1)[points[..., 1], points[..., 0]].mean(1)
        kept = [bool((pose == limited.poses_in_image).all(1).any()) for pose in FACES]
        # A noisy or coloured pixel rarely equals the one it hides.
        assert all(stays or share > 0.27 for stays, share in zip(kept, hidden, strict=True))
        assert all(share < 0.33 for stays, share in zip(kept, hidden, strict=True) if stays)
        for index in np.flatnonzero(~np.array(kept)):
            x, y = points[index, 30]
            assert not limited.pixels[y, x].any()
        counts.append(sum(kept))
    assert set(counts) >= {1, 2}


def test_no_piece_of_the_picture_that_shows_a_face_is_pasted(references: PoseReferences) -> None:
    # Faces are the only white in the picture; a patch with a face's middle would be white there.
    picture = Picture(np.full((HEIGHT, WIDTH, 3), 119, dtype=np.uint8), FACES[:1])
    left, top, right, bottom = face_boxes(picture, references)[0].astype(int)
    middle_x, middle_y = (left + right) // 2, (top + bottom) // 2
    picture.pixels[middle_y - 2 : middle_y + 3, middle_x - 2 : middle_x + 3] = (250, 251, 249)
    occlude = occlusion(references, occlusion_size=(1.0, 1.0))
    spot = np.zeros((HEIGHT, WIDTH), dtype=bool)
    spot[middle_y - 2 : middle_y + 3, middle_x - 2 : middle_x + 3] = True
    for seed in range(60):
        covered = occlude(picture, np.random.default_rng(seed)).pixels
        copied = (covered == (250, 251, 249)).all(-1) & ~spot
        assert copied.sum() < 16


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (9, 2)])
def test_tiny_pictures_and_faces_beyond_them(
    size_hw: tuple[int, int], references: PoseReferences
) -> None:
    poses = np.array([[0, 0, 0, 0, 0, 6.0], [0, 0, 0, 30, 0, 6.0], [0, 0, 0, 1.5, 0, 4.0]])
    picture = Picture(np.full((*size_hw, 3), 50, dtype=np.uint8), poses)
    occlude = occlusion(references, occlusion_max_hidden=0.2)
    for seed in range(20):
        covered = occlude(picture, np.random.default_rng(seed))
        assert covered.size_hw == size_hw
        assert len(covered.poses_in_image) <= 3


def test_nothing_is_drawn_where_it_is_off_or_nobody_is(
    picture: Picture, references: PoseReferences
) -> None:
    rng = np.random.default_rng(0)
    assert Occlusion(DataConfig(), references)(picture, rng) is picture
    empty = Picture(picture.pixels, np.zeros((0, 6)))
    assert occlusion(references)(empty, rng) is empty
    assert rng.random() == np.random.default_rng(0).random()


def test_whole_pictures_and_mosaics_are_occluded(
    picture: Picture, references: PoseReferences
) -> None:
    config = DataConfig(occlusion_probability=1.0, occlusion_size=(0.5, 0.5), mosaic_canvas=96)
    plain = DataConfig(mosaic_canvas=96)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        whole = Augmentation(config, references)(picture, rng)
        assert (whole.pixels != 119).any()
        np.testing.assert_array_equal(whole.poses_in_image, FACES)
    levels = [
        {
            tuple(color)
            for seed in range(4)
            for color in Mosaic(c, references)([picture] * 4, np.random.default_rng(seed))
            .pixels.reshape(-1, 3)
            .tolist()
        }
        for c in (config, plain)
    ]
    assert len(levels[0]) > 2 * len(levels[1])
