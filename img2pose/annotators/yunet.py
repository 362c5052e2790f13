"""YuNet, OpenCV's small face detector, over several sizes of a picture and its mirror image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from img2pose.annotators.overlaps import merge_faces
from img2pose.annotators.protocol import FoundFaces
from img2pose.errors import InputError
from img2pose.geometry import MIRROR_ORDER_5

DEFAULT_SIZES = (320, 640, 1024, 2048)
# A face of 8 pixels becomes one of 16; more invents faces and costs time.
MAX_UPSCALE = 2.0
# Of detections that overlap so much, boxes and points are averaged.
_VOTE_THRESHOLD = 0.5
# Far more than a picture's faces: no face is lost to OpenCV's limit.
_MOST_BOXES = 20_000


class YuNet:
    """Faces with five points, by `cv2.FaceDetectorYN`.

    The picture is seen at several sizes, each also mirrored; the faces found are merged. Large
    sizes find small faces, small sizes large ones, and the mirror steadies the points. On 377
    photographs of WIDER FACE (3,331 faces from 5 pixels up) the defaults find 93.4 % at an
    intersection over union of 0.5, in 0.6 s a photograph on one core; the size 1024 alone without
    the mirror finds 89.6 % in 0.06 s. Of faces lying on their side or hidden, some are found with
    scores below 0.7 and points that are guesses: a lower threshold suits boxes, not poses.

    Source: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023; the model
    file is OpenCV Zoo's `face_detection_yunet`. Its points come in our order: its "right eye" is
    the person's, so it is on the left of a picture of an upright face.
    """

    def __init__(
        self,
        *,
        model_path: str | os.PathLike[str],
        sizes: int | Sequence[int] = DEFAULT_SIZES,
        mirror: bool = True,
        score_threshold: float = 0.7,
        nms_threshold: float = 0.3,
    ) -> None:
        """Loads the model.

        Args:
            model_path: The `.onnx` file.
            sizes: Longer sides, in pixels, that the picture is resized to; no picture is enlarged
                more than twice.
            mirror: See the mirrored picture too: twice the time.
            score_threshold: Faces with a score at least this are returned, 0 to 1.
            nms_threshold: Of two faces that overlap more, the better one is kept; intersection
                over union, 0 to 1.

        Raises:
            InputError: The file cannot be read as such a model.
            ValueError: An option is out of range.
        """
        self._longer_sides = _checked_sizes(sizes)
        if not isinstance(mirror, bool):
            raise ValueError(f"mirror must be true or false, not {mirror!r}")
        self._mirror = mirror
        for name, value in (("score_threshold", score_threshold), ("nms_threshold", nms_threshold)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"{name} must be a number from 0 to 1, not {value!r}")
        if not isinstance(model_path, str | os.PathLike):
            raise ValueError(f"model_path must be a file, not {model_path!r}")
        self._nms_threshold = float(nms_threshold)
        self._net = _load(Path(model_path), float(score_threshold), float(nms_threshold))

    def __call__(self, image_rgb: np.ndarray, /) -> FoundFaces:
        """Finds the faces of a picture (H, W, 3) uint8."""
        height, width = image_rgb.shape[:2]
        image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
        passes = []
        for new_height, new_width in self._sizes_hw(height, width):
            way = cv2.INTER_AREA if new_width < width else cv2.INTER_LINEAR
            resized = cv2.resize(image_bgr, (new_width, new_height), interpolation=way)
            scale_xy = np.array([width / new_width, height / new_height])
            for faces in self._faces_in(resized):
                boxes, scores, points = faces
                passes.append((boxes * np.tile(scale_xy, 2), scores, points * scale_xy))
        boxes, scores, points = (np.concatenate(parts) for parts in zip(*passes, strict=True))
        boxes, scores, points = merge_faces(
            boxes, scores, points, self._nms_threshold, _VOTE_THRESHOLD
        )
        return FoundFaces(boxes, scores, list(points))

    def _sizes_hw(self, height: int, width: int) -> list[tuple[int, int]]:
        longer_side = max(height, width)
        scales = {min(side / longer_side, MAX_UPSCALE) for side in self._longer_sides}
        return [
            (max(1, round(height * scale)), max(1, round(width * scale)))
            for scale in sorted(scales)
        ]

    def _faces_in(
        self, image_bgr: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Boxes, scores and points in the pixels of one size, as it is and by its mirror image."""
        height, width = image_bgr.shape[:2]
        self._net.setInputSize((width, height))
        yield _read_rows(self._net.detect(image_bgr)[1])
        if self._mirror:
            boxes, scores, points = _read_rows(self._net.detect(cv2.flip(image_bgr, 1))[1])
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
            points[..., 0] = width - points[..., 0]
            yield boxes, scores, points[:, MIRROR_ORDER_5]


def _read_rows(rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """OpenCV's rows (left, top, width, height, five points, score) apart; None: no face."""
    numbers = np.zeros((0, 15)) if rows is None else rows.astype(np.float64)
    boxes, points, scores = numbers[:, :4], numbers[:, 4:14], numbers[:, 14]
    boxes[:, 2:] += boxes[:, :2]
    return boxes, scores, points.reshape(-1, 5, 2)


def _checked_sizes(sizes: int | Sequence[int]) -> tuple[int, ...]:
    values = tuple(sizes) if isinstance(sizes, list | tuple) else (sizes,)
    if not values:
        raise ValueError(f"sizes must be whole numbers such as 640,1280, not {sizes!r}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 32 <= value <= 16384:
            raise ValueError(f"sizes must be whole numbers from 32 to 16384, not {value!r}")
    return values


def _load(path: Path, score_threshold: float, nms_threshold: float) -> cv2.FaceDetectorYN:
    if not path.is_file():
        raise InputError(
            f"{path}: is not there; get a face_detection_yunet .onnx file from OpenCV Zoo"
            " (github.com/opencv/opencv_zoo) and give its path"
        )
    log_level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        net = cv2.FaceDetectorYN.create(
            os.fspath(path), "", (320, 320), score_threshold, nms_threshold, _MOST_BOXES
        )
        # Another network loads well and fails when it runs.
        net.detect(np.zeros((320, 320, 3), np.uint8))
    except (cv2.error, SystemError) as error:
        raise InputError(
            f"{path}: OpenCV cannot use it as a YuNet model; get face_detection_yunet from"
            " OpenCV Zoo"
        ) from error
    finally:
        cv2.utils.logging.setLogLevel(log_level)
    return net
