"""Faces and their poses by ONNX Runtime; torch is not needed, nor imported."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.images import image_array
from img2pose.inference.given_pictures import DecodedPicture
from img2pose.inference.onnx_metadata import INPUT_NAMES, OUTPUT_NAMES, OnnxMetadata
from img2pose.inference.picture_detector import PictureDetector, detections_in, model_settings
from img2pose.references import PoseReferences

if TYPE_CHECKING:
    import onnxruntime

_REMEDY = "give a file that scripts/export_onnx.py wrote"
CPU_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A picture as the graph takes it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        intrinsics: The user's; None: the assumed ones.
    """

    image: np.ndarray
    intrinsics: np.ndarray | None


class OnnxDetector(PictureDetector[_Prepared]):
    """An exported model and what is wanted of it: pictures in, faces out, as `Detector` gives them.

    Several threads may call one detector at the same time.

    Pictures run one by one, as the graph takes them: with a `batch_size` of several, so many run
    at the same time, each in a thread of its own, and share ONNX Runtime's threads. They need not
    be of one size. Float tensors are rounded to 8 bits.

    Args:
        path: File that `scripts/export_onnx.py` wrote.
        score_threshold: Faces with a greater score are returned; None: above the model's
            `face_score_threshold`.
        nms_threshold: IoU of boxes above which the face with the lower score is dropped; None: the
            model's.
        max_detections: Most faces a picture; None: the model's.
        bbox_x_factor: See `Detector.from_checkpoint`, as the next two; None: the model's.
        bbox_y_factor: The same of the height.
        expand_forehead: The same of the forehead.
        min_size: Shorter side in pixels that pictures are resized to; None: the model's.
        max_size: Longest longer side; None: the model's.
        providers: ONNX Runtime's names of what runs the graph, the first that can is taken for
            each operation; None: a CUDA GPU where onnxruntime-gpu is installed, and the CPU.
        threads: CPU threads; None: one for each core.

    Attributes:
        metadata: What the file says of itself.
        settings: Thresholds, limits and box factors; they hold in place of the model's own.

    Raises:
        InputError: The file is missing, damaged or another program's, onnxruntime is not
            installed, there is no such provider, or a value is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        score_threshold: float | None = None,
        *,
        nms_threshold: float | None = None,
        max_detections: int | None = None,
        bbox_x_factor: float | None = None,
        bbox_y_factor: float | None = None,
        expand_forehead: float | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        self._session = _open_session(path, providers, threads)
        self.metadata = OnnxMetadata.from_properties(
            self._session.get_modelmeta().custom_metadata_map, os.fspath(path)
        )
        _check_inputs(self._session, os.fspath(path))
        wanted = model_settings(
            nms_threshold, max_detections, bbox_x_factor, bbox_y_factor, expand_forehead
        )
        if min_size is not None:
            wanted["min_size"] = (min_size,)
        if max_size is not None:
            wanted["max_size"] = max_size
        # A configuration checks its values.
        config = replace(self.metadata.config, **wanted)
        self._set_settings(config, score_threshold)
        self._sizes = config.min_size[-1], config.max_size

    @property
    def references(self) -> PoseReferences:
        """The reference face that the poses refer to."""
        return self.metadata.references

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's names of what runs the graph."""
        names: list[str] = self._session.get_providers()
        return names

    def _prepare(self, decoded: DecodedPicture) -> _Prepared:
        image = np.ascontiguousarray(image_array(decoded.image))
        return _Prepared(image, decoded.intrinsics)

    def _kind(self, prepared: _Prepared) -> Hashable:
        return None

    def _run(self, batch: list[_Prepared]) -> list[FaceDetections]:
        if len(batch) == 1:
            return [self._find(batch[0])]
        with ThreadPoolExecutor(len(batch), thread_name_prefix="onnx") as pool:
            return list(pool.map(self._find, batch))

    def _find(self, prepared: _Prepared) -> FaceDetections:
        settings = self.settings
        min_size, max_size = self._sizes
        inputs = {
            "image": prepared.image,
            "score_threshold": np.array(settings.score_threshold, np.float32),
            "nms_threshold": np.array(settings.nms_threshold, np.float32),
            "max_detections": np.array(settings.max_detections, np.int64),
            "box_factors": np.array(settings.box_factors, np.float32),
            "min_size": np.array(min_size, np.int64),
            "max_size": np.array(max_size, np.int64),
        }
        boxes, scores, poses = self._session.run(OUTPUT_NAMES, inputs)
        height, width = prepared.image.shape[:2]
        return detections_in(poses, boxes, scores, (height, width), prepared.intrinsics)


def _check_inputs(session: onnxruntime.InferenceSession, path: str) -> None:
    nodes = [*session.get_inputs(), *session.get_overridable_initializers()]
    if {node.name for node in nodes} != set(INPUT_NAMES):
        raise InputError(f"{path}: its graph has other inputs than its metadata promise; {_REMEDY}")


def _open_session(
    path: str | os.PathLike[str], providers: Sequence[str] | None, threads: int | None
) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "onnxruntime is not installed; pip install onnxruntime, or img2pose-torch[onnx]"
        ) from error
    available = onnxruntime.get_available_providers()
    if providers is None:
        chosen = [name for name in ("CUDAExecutionProvider", CPU_PROVIDER) if name in available]
    else:
        chosen = list(providers)
        unknown = [name for name in chosen if name not in available]
        if unknown or not chosen:
            raise InputError(
                f"providers {', '.join(unknown) or 'none'}: not in this onnxruntime; there are"
                f" {', '.join(available)}"
            )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of every shape that depends on the picture
    # It would keep a plan of memory for every size of picture that comes.
    options.enable_mem_pattern = False
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads {threads}: must be at least 1")
        options.intra_op_num_threads = threads
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; {_REMEDY}")
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=chosen)
    # ONNX Runtime's errors have no base of their own.
    except Exception as error:
        raise InputError(f"{path}: is no ONNX file or is damaged; {_REMEDY}") from error
