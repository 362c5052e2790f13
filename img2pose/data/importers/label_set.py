"""What every importer gives: images that have labels, each to be read on its own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from img2pose.data.annotations import Annotation, resolve_image, unknown_landmarks
from img2pose.errors import InputError
from img2pose.geometry import boxes_from_points, euler_to_matrix, matrix_to_rotvec
from img2pose.images import IMAGE_SUFFIXES, image_size


@dataclass(frozen=True)
class LeftOut:
    """An image that the data set's protocol leaves out; images of one reason are counted."""

    reason: str


@dataclass(frozen=True)
class LabelledImage:
    """One image of a data set and how its labels are read.

    Attributes:
        image_path: The image, relative to the data set's folder.
        label_file: The file with its labels.
        read: Checks the image's header and gives its annotation; raises `InputError`.
    """

    image_path: str
    label_file: Path
    read: Callable[[], Annotation | LeftOut]


@dataclass(frozen=True)
class LabelSet:
    """A data set's labelled images.

    Attributes:
        images: At least one; no `image_path` stands twice.
        label_source: What made the labels.
        counts: What is to be said of the whole, such as how many boxes were left out and why.
    """

    images: Sequence[LabelledImage]
    label_source: str
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass
class FaceList:
    """Faces of one image, gathered one by one; `None` are landmarks that are not known."""

    boxes_xyxy: list[list[float]] = field(default_factory=list)
    landmarks: list[np.ndarray | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    head_angles: list[np.ndarray | None] = field(default_factory=list)

    def add(
        self,
        box_xyxy: list[float],
        landmarks: np.ndarray | None = None,
        score: float | None = None,
        head_angles: np.ndarray | None = None,
    ) -> None:
        """Adds a face; see `Annotation`."""
        self.boxes_xyxy.append(box_xyxy)
        self.landmarks.append(landmarks)
        self.scores.append(score)
        self.head_angles.append(head_angles)

    def annotation(self, image_path: str, source: Path, label_source: str) -> Annotation:
        """The faces as an annotation.

        Raises:
            InputError: A face is malformed.
        """
        return Annotation(
            image_path,
            np.array(self.boxes_xyxy),
            tuple(unknown_landmarks() if p is None else p for p in self.landmarks),
            source,
            tuple(self.scores),
            tuple(self.head_angles),
            label_source,
        )


def images_folder(path: str | os.PathLike[str]) -> Path:
    """The data set's folder.

    Raises:
        InputError: It is none.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give the images' as --images_path")
    return folder


def labelled_size(
    folder: Path, image_path: str, source: Path, allow_outside: bool
) -> tuple[int, int]:
    """Height and width of an image that labels name, from its header.

    Raises:
        InputError: It is missing, outside the folder, too large or no picture.
    """
    path = resolve_image(folder, image_path, source, allow_outside)
    if not path.is_file():
        raise InputError(f"{source}: image {path} is not there; is --images_path right?")
    return image_size(path)


def face_list_images(
    folder: Path,
    label_file: Path,
    faces: Mapping[str, FaceList],
    label_source: str,
    allow_outside: bool,
) -> list[LabelledImage]:
    """The images of one file with all labels, whose faces are known already."""

    def reader(image_path: str) -> Callable[[], Annotation]:
        def read() -> Annotation:
            labelled_size(folder, image_path, label_file, allow_outside)
            return faces[image_path].annotation(image_path, label_file, label_source)

        return read

    return [LabelledImage(path, label_file, reader(path)) for path in faces]


def parse_numbers(line: str, where: str) -> list[float]:
    """The numbers of a line, separated by white space.

    Raises:
        InputError: One is none, or not finite.
    """
    try:
        numbers = [float(entry) for entry in line.split()]
    except ValueError as error:
        raise InputError(f"{where}: numbers expected, not {line[:60]!r}") from error
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{where}: {line[:60]!r} is not finite; mend or remove it")
    return numbers


def images_beside(folder: Path, label_suffix: str) -> tuple[list[tuple[str, Path]], dict[str, int]]:
    """Images, in folders inside folders too, with a label file of the same stem beside them.

    Links to folders are not followed; names that begin with a dot do not count.

    Returns:
        (image path relative to the folder, label file) by name; and how many images and label
        files lack the other.

    Raises:
        InputError: An image has the name of another but for its suffix, or there is no pair.
    """
    pairs: list[tuple[str, Path]] = []
    alone = {"images": 0, "labels": 0}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images: dict[str, str] = {}
        labels: dict[str, str] = {}
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(name)
            if path.suffix.lower() == label_suffix:
                labels[path.stem] = name
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                if path.stem in images:
                    raise InputError(
                        f"{Path(parent, name)}: has the name of {images[path.stem]}; keep one"
                    )
                images[path.stem] = name
        both = images.keys() & labels.keys()
        alone["images"] += len(images) - len(both)
        alone["labels"] += len(labels) - len(both)
        pairs += [
            (Path(parent, images[stem]).relative_to(folder).as_posix(), Path(parent, labels[stem]))
            for stem in images
            if stem in both
        ]
    if not pairs:
        raise InputError(
            f"{folder}: holds no image with a {label_suffix} file of the same name beside it;"
            " give the folder that has both"
        )
    counts = {
        f"images without a {label_suffix} file, left out": alone["images"],
        f"{label_suffix} files without an image, left out": alone["labels"],
    }
    return pairs, counts


def annotation_with_angles(
    image_path: str,
    points: np.ndarray,
    pose_para: np.ndarray,
    size_hw: tuple[int, int],
    source: Path,
    label_source: str,
) -> Annotation:
    """One face of 68 points and known head angles, as 300W-LP's labels are made.

    Args:
        image_path: See `Annotation`.
        points: (68, 2) pixels.
        pose_para: Pitch, yaw, roll in radians, then numbers that do not matter here.
        size_hw: The image's height and width, which bound the box.
        source: See `Annotation`.
        label_source: See `Annotation`.

    Returns:
        The box is the points' bounds, scaled by 1.1 and 1.1 and lengthened by 0.3 on the
        forehead's side, clipped to the image.
    """
    angles = pose_para.ravel()[:3]
    pose = np.zeros((1, 6))
    pose[0, :3] = matrix_to_rotvec(euler_to_matrix(np.rad2deg(angles)))
    box = boxes_from_points(points[None], pose, size_hw)
    # A face wholly outside the image keeps an empty box, which conversion leaves out.
    box[:, 2:] = np.maximum(box[:, :2], box[:, 2:])
    return Annotation(
        image_path, box, (points,), source, head_angles=(angles,), label_source=label_source
    )
