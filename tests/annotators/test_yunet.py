"""YuNet on real photographs (research data and model; skipped where they are missing)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from img2pose.annotators.overlaps import match_to_boxes
from img2pose.annotators.protocol import FoundFaces, checked_faces
from img2pose.annotators.yunet import YuNet
from img2pose.images import read_image

MIRRORED = [1, 0, 2, 4, 3]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """OpenCV's threads wait for one another where other work takes the cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def model_path(shared: Path) -> Path:
    return shared / "models" / "face_detection_yunet.onnx"


@pytest.fixture(scope="module")
def group(shared: Path) -> np.ndarray:
    """A photograph of several faces."""
    return read_image(sorted((shared / "data/wider/WIDER_train/images").glob("*/*.jpg"))[100])


@pytest.fixture(scope="module")
def helen(shared: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ten photographs and the 68 points of a face in each."""
    pairs = []
    for path in sorted((shared / "data/helen").glob("**/*.pts"))[:200:20]:
        lines = path.read_text().split("{")[1].split("}")[0].split()
        pairs.append((read_image(path.with_suffix(".jpg")), np.array(lines, float).reshape(68, 2)))
    return pairs


def five_of(points_68: np.ndarray) -> np.ndarray:
    eyes = points_68[36:42].mean(0), points_68[42:48].mean(0)
    five: np.ndarray = np.stack([*eyes, points_68[30], points_68[48], points_68[54]])
    return five


def nearest_points(found: FoundFaces, five: np.ndarray) -> np.ndarray:
    """The points of the found face that are nearest to five points."""
    distances = np.linalg.norm(np.array(found.landmarks) - five, axis=-1).mean(-1)
    nearest: np.ndarray = found.landmarks[int(distances.argmin())]
    return nearest


def test_the_points_come_in_our_order_and_lie_where_people_marked_them(
    model_path: Path, helen: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    detector = YuNet(model_path=model_path, sizes=[320, 640])
    errors = []
    for image, points_68 in helen:
        found = checked_faces(detector(image), "yunet")
        five = five_of(points_68)
        eye_distance = np.linalg.norm(five[1] - five[0])
        errors.append(np.linalg.norm(nearest_points(found, five) - five, axis=-1) / eye_distance)
    # Swapped eyes would be off by 1.
    assert np.mean(errors) < 0.15
    assert np.max(errors) < 0.5


def test_a_mirrored_picture_has_the_mirrored_faces(model_path: Path, group: np.ndarray) -> None:
    detector = YuNet(model_path=model_path, sizes=[640, 1024])
    found = detector(group)
    mirrored = detector(np.ascontiguousarray(group[:, ::-1]))
    assert len(found.scores) == len(mirrored.scores) > 1
    np.testing.assert_allclose(mirrored.scores, found.scores, atol=1e-3)
    width = group.shape[1]
    back = mirrored.boxes_xyxy[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0]
    np.testing.assert_allclose(back, found.boxes_xyxy, atol=0.1)
    points = np.array(mirrored.landmarks)[:, MIRRORED] * [-1, 1] + [width, 0]
    np.testing.assert_allclose(points, found.landmarks, atol=0.1)


def test_faces_of_a_few_pixels_are_found(model_path: Path, shared: Path) -> None:
    """Photographs made so small that their faces are 12 pixels high in the mean."""
    detector = YuNet(model_path=model_path)
    large = hits = 0
    for path in sorted((shared / "data/wider/WIDER_train/images").glob("*/*.jpg"))[10:100:15]:
        image = read_image(path)
        faces = detector(image).boxes_xyxy
        scale = 12 / (faces[:, 3] - faces[:, 1]).mean()
        assert scale < 1
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        hits += len(match_to_boxes(detector(small).boxes_xyxy, faces * scale, 0.5)[0])
        large += len(faces)
    assert hits > 0.6 * large


def test_a_face_that_fills_the_picture_is_found(
    model_path: Path, helen: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    detector = YuNet(model_path=model_path)
    hits = 0
    for image, points_68 in helen[:5]:
        low, high = points_68.min(0), points_68.max(0)
        # The brows are the points' top; the face goes on to the hairline.
        left, top = (low - [0, 0.25 * (high[1] - low[1])]).clip(0).round().astype(int)
        right, bottom = high.round().astype(int)
        face = cv2.resize(image[top:bottom, left:right], (500, 600))
        whole = np.array([[0, 0, 500, 600]], float)
        hits += len(match_to_boxes(detector(face).boxes_xyxy, whole, 0.5)[0])
    assert hits == 5


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 2000), (40, 30), (641, 333)])
def test_pictures_of_any_size_will_do(model_path: Path, size_hw: tuple[int, int]) -> None:
    found = checked_faces(YuNet(model_path=model_path)(np.zeros((*size_hw, 3), np.uint8)), "yunet")
    assert len(found.scores) == 0


def test_more_sizes_and_the_mirror_find_more(model_path: Path, shared: Path) -> None:
    path = max((shared / "data/wider/WIDER_val/images").glob("*/*.jpg"), key=lambda p: p.name)
    image = read_image(path)
    few = YuNet(model_path=model_path, sizes=320, mirror=False)(image)
    many = YuNet(model_path=model_path)(image)
    assert len(many.scores) >= len(few.scores) > 0
    strict = YuNet(model_path=model_path, score_threshold=0.9)(image)
    assert (strict.scores >= 0.9).all()
