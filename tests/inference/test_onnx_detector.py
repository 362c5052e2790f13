"""What was exported finds what PyTorch finds, and needs no torch for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import img2pose
import img2pose.inference
from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.geometry import image_intrinsics
from img2pose.images import image_tensor
from img2pose.inference import OnnxDetector
from img2pose.inference.agreement import Agreement, agreement_of
from img2pose.inference.detector import Detector
from img2pose.inference.onnx_metadata import FORMAT
from tests.inference.exporting import CHECKPOINT, EXPORTED, noise

ROOT = Path(__file__).parent.parent.parent
THRESHOLD = 0.1
WITHOUT_TORCH = """
import json, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
from img2pose.inference import OnnxDetector
from img2pose import OnnxDetector as lazily

assert lazily is OnnxDetector
faces = OnnxDetector(sys.argv[1], 0.1, threads=1).predict(sys.argv[2:], batch_size=2)
properties = [len(f.euler_deg()) + len(f.landmarks()) + len(f.translations_m()) for f in faces]
assert not any(name.partition(".")[0] == "torch" for name in sys.modules)
print(json.dumps([f.to_dict() for f in faces]))
"""

# The first test waits for the export: half a minute of one core's time.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def detector(exported: Path) -> OnnxDetector:
    return OnnxDetector(exported / EXPORTED, THRESHOLD, threads=1)


@pytest.fixture(scope="module")
def reference(exported: Path) -> Detector:
    return Detector.from_checkpoint(exported / CHECKPOINT, device="cpu", score_threshold=THRESHOLD)


def compared(
    first: Sequence[FaceDetections], second: Sequence[FaceDetections], threshold: float = THRESHOLD
) -> Agreement:
    pairs = zip(first, second, strict=True)
    return agreement_of(pairs, threshold=threshold, margin=1e-4)


def assert_same(found: Agreement) -> None:
    assert found.faces > 0
    assert (found.only_first, found.only_second) == (0, 0)
    assert found.pose < 1e-3
    assert found.score < 1e-4
    assert found.box_share < 1e-3


@pytest.mark.parametrize(
    "size_hw",
    [(80, 100), (96, 96), (61, 333), (300, 40), (240, 320), (2, 700), (1, 1), (33, 31)],
)
def test_noise_of_any_size_has_the_faces_that_pytorch_finds(
    detector: OnnxDetector, reference: Detector, size_hw: tuple[int, int]
) -> None:
    picture = noise(*size_hw)
    found, expected = detector.predict(picture), reference.predict(picture)
    assert_same(compared([expected], [found]))
    assert found.size_hw == expected.size_hw == size_hw
    np.testing.assert_array_equal(found.intrinsics, expected.intrinsics)
    assert (np.diff(found.scores) <= 0).all()


def test_photographs_have_the_faces_that_pytorch_finds(
    detector: OnnxDetector, reference: Detector, face_photographs: Path
) -> None:
    found = detector.predict(face_photographs, batch_size=3)
    assert len(found) == 6
    assert_same(compared(reference.predict(face_photographs), found))


def test_large_photographs_too(detector: OnnxDetector, reference: Detector, shared: Path) -> None:
    paths = sorted((shared / "data" / "helen").glob("*.jpg"))[:3]
    assert len(paths) == 3
    assert_same(compared(reference.predict(paths), detector.predict(paths)))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_of_any_sizes_change_nothing_and_keep_the_order(
    detector: OnnxDetector, batch_size: int
) -> None:
    pictures = [noise(80, 100), noise(64, 96, 1), noise(80, 100, 2), noise(50, 50, 3)]
    alone = [detector.predict(picture) for picture in pictures]
    together = detector.predict((picture for picture in pictures), batch_size=batch_size)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.poses, other.poses)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_threads_share_a_detector(detector: OnnxDetector) -> None:
    pictures = [noise(60, 80, seed) for seed in range(4)]
    alone = [detector.predict(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector.predict, pictures))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_cameras_and_lenses_are_the_detectors(detector: OnnxDetector, reference: Detector) -> None:
    camera = np.array([[150.0, 0, 48], [0, 160, 41], [0, 0, 1]])
    options: dict[str, Any] = {"intrinsics": camera, "distortion": np.array([-0.2, 0.05, 0, 0])}
    picture = noise(80, 100)
    found = detector.predict(picture, **options)
    assert_same(compared([reference.predict(picture, **options)], [found]))
    np.testing.assert_array_equal(found.intrinsics, camera)


def test_a_float_tensor_is_rounded_to_the_picture_it_came_from(detector: OnnxDetector) -> None:
    picture = noise(40, 60)
    for given in (image_tensor(picture), Image.fromarray(picture)):
        np.testing.assert_array_equal(
            detector.predict(given).poses, detector.predict(picture).poses
        )


def test_thresholds_hold_at_run_time(exported: Path, detector: OnnxDetector) -> None:
    picture = noise(80, 100)
    everything = detector.predict(picture)
    middle = float(np.median(everything.scores))
    lower = OnnxDetector(exported / EXPORTED, middle, threads=1)
    np.testing.assert_array_equal(
        lower.predict(picture).scores, everything.scores[everything.scores > middle]
    )
    lower.score_threshold = 1.0
    found = lower.predict(picture)
    assert found.poses.shape == (0, 6)
    assert found.boxes.shape == (0, 4)
    with pytest.raises(ValueError, match="score_threshold"):
        lower.score_threshold = 1.5


@pytest.mark.parametrize(
    "settings",
    [
        {"nms_threshold": 0.2},
        {"max_detections": 3},
        {"bbox_x_factor": 1.5, "bbox_y_factor": 0.8, "expand_forehead": 0.0},
        {"min_size": 64, "max_size": 70},
    ],
)
def test_settings_change_what_they_change_in_pytorch(
    exported: Path, detector: OnnxDetector, settings: dict[str, Any]
) -> None:
    picture = noise(80, 100)
    changed = OnnxDetector(exported / EXPORTED, THRESHOLD, threads=1, **settings)
    expected = Detector.from_checkpoint(
        exported / CHECKPOINT, device="cpu", score_threshold=THRESHOLD, **settings
    )
    found = changed.predict(picture)
    assert_same(compared([expected.predict(picture)], [found]))
    before = detector.predict(picture)
    assert found.boxes.shape != before.boxes.shape or np.abs(found.boxes - before.boxes).max() > 1


def test_references_are_the_models(detector: OnnxDetector, reference: Detector) -> None:
    assert detector.references.sha256 == reference.references.sha256
    assert detector.metadata.config.fpn_channels == 32
    assert detector.providers == ["CPUExecutionProvider"]


def test_it_runs_where_torch_is_not_installed(
    exported: Path, detector: OnnxDetector, face_photographs: Path
) -> None:
    pictures = sorted(face_photographs.glob("*.jpg"))[:3]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(exported / EXPORTED), *map(str, pictures)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = [FaceDetections.from_dict(value) for value in json.loads(done.stdout)]
    for one, other in zip(found, detector.predict(pictures), strict=True):
        np.testing.assert_allclose(one.poses, other.poses, atol=1e-5)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)


def test_its_names_are_public() -> None:
    assert img2pose.OnnxDetector is img2pose.inference.OnnxDetector is OnnxDetector
    assert img2pose.inference.Detector is Detector
    with pytest.raises(AttributeError, match="Detektor"):
        _ = img2pose.inference.Detektor


def write_identity(path: Path, properties: dict[str, str]) -> Path:
    """Another program's graph."""
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "identity", value[:1], value[1:])
    opset = [onnx.helper.make_opsetid("", 18)]
    proto = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.helper.set_model_props(proto, properties)
    onnx.save(proto, path)
    return path


def properties_of(detector: OnnxDetector, **changes: object) -> dict[str, str]:
    (key, text), *_ = detector.metadata.to_properties().items()
    return {key: json.dumps({**json.loads(text), **changes})}


def assert_refused(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as refusal:
        OnnxDetector(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_no_onnx_file_is_named(tmp_path: Path, exported: Path) -> None:
    path = tmp_path / "model.onnx"
    assert_refused(path, "no such file")
    path.write_bytes(b"")
    assert_refused(path, "damaged|not of img2pose")
    path.write_text("words")
    assert_refused(path, "damaged")
    path.write_bytes((exported / EXPORTED).read_bytes()[:5000])
    assert_refused(path, "damaged")
    path.write_bytes((exported / CHECKPOINT).read_bytes())
    assert_refused(path, "damaged")


def test_other_peoples_files_and_damaged_metadata_are_named(
    tmp_path: Path, detector: OnnxDetector
) -> None:
    path = tmp_path / "model.onnx"
    assert_refused(write_identity(path, {}), "not of img2pose")
    assert_refused(write_identity(path, {"img2pose": "{"}), "metadata are damaged")
    assert_refused(write_identity(path, {"img2pose": "[]"}), "metadata are damaged")
    assert_refused(write_identity(path, {"img2pose": "[" * 100_000}), "metadata are damaged")
    for changes, match in (
        ({"format_version": 99}, "update"),
        ({"format": "other"}, FORMAT),
        ({"pose_mean": [0.0] * 5}, "damaged"),
        ({"points_5": [[0.0] * 3] * 5}, "hash"),
        ({"points_5": [[10**400] * 3] * 5}, "damaged"),
        ({"model_config": {"depth": 19}}, "depth"),
        ({"model_config": None}, "damaged"),
    ):
        assert_refused(write_identity(path, properties_of(detector, **changes)), match)
    # What it says of itself is right, but the graph is not the model's.
    assert_refused(write_identity(path, properties_of(detector)), "inputs")


def test_what_onnx_runtime_cannot_do_is_named(exported: Path) -> None:
    for options, match in (
        ({"providers": ["ToasterExecutionProvider"]}, "Toaster"),
        ({"providers": []}, "providers"),
        ({"threads": 0}, "threads"),
        ({"min_size": 0}, "min_size"),
        ({"nms_threshold": 2.0}, "nms_threshold"),
        ({"max_detections": 0}, "max_detections"),
    ):
        with pytest.raises(InputError, match=match):
            OnnxDetector(exported / EXPORTED, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="score_threshold"):
        OnnxDetector(exported / EXPORTED, 2.0)


def test_pictures_that_are_none_are_refused(detector: OnnxDetector) -> None:
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), torch.zeros(3, 4, 4).byte()):
        with pytest.raises(ValueError, match="must be"):
            detector.predict(wrong)
    with pytest.raises(InputError, match=r"gone\.jpg"):
        detector.predict(["gone.jpg"])
    with pytest.raises(ValueError, match="batch_size"):
        detector.predict([noise(8, 8)], batch_size=0)


def test_intrinsics_of_the_assumed_camera_change_no_pose(detector: OnnxDetector) -> None:
    picture = noise(80, 100)
    given = detector.predict(picture, intrinsics=image_intrinsics(80, 100))
    np.testing.assert_allclose(given.poses, detector.predict(picture).poses, atol=1e-5)
