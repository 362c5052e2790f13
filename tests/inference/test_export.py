"""The written file itself, and that it is not written when it would be wrong."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from img2pose.errors import InputError, OutputError
from img2pose.inference import OnnxDetector
from img2pose.inference.agreement import agreement_of
from img2pose.inference.export import export_onnx, halve_weights, write_if_equal
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.weights import load_model
from img2pose.references import PoseReferences
from tests.inference.exporting import CHECKPOINT, EXPORTED, noise
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

THRESHOLD = 0.1

# The first test waits for the export: half a minute of one core's time.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def proto(exported: Path) -> onnx.ModelProto:
    return onnx.load(exported / EXPORTED)


@pytest.fixture(scope="module")
def model(exported: Path) -> Img2Pose:
    return load_model(exported / CHECKPOINT, score_threshold=THRESHOLD)


def test_only_the_image_must_be_given(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / EXPORTED)
    (image,) = session.get_inputs()
    assert (image.name, image.type) == ("image", "tensor(uint8)")
    assert image.shape == ["height", "width", 3]
    defaults = {node.name: node.type for node in session.get_overridable_initializers()}
    assert defaults == {
        "score_threshold": "tensor(float)",
        "nms_threshold": "tensor(float)",
        "max_detections": "tensor(int64)",
        "box_factors": "tensor(float)",
        "min_size": "tensor(int64)",
        "max_size": "tensor(int64)",
    }
    assert [(node.name, node.shape) for node in session.get_outputs()] == [
        ("boxes", ["faces", 4]),
        ("scores", ["faces"]),
        ("poses", ["faces", 6]),
    ]
    picture = noise(80, 100)
    boxes, scores, poses = session.run(None, {"image": picture})
    expected = OnnxDetector(exported / EXPORTED, THRESHOLD).predict(picture)
    assert len(scores) > 0
    np.testing.assert_allclose(boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(poses, expected.poses, atol=1e-4)


def test_the_file_is_sound_and_tells_nothing_of_the_machine(proto: onnx.ModelProto) -> None:
    onnx.checker.check_model(proto, full_check=True)
    assert all(opset.domain in ("", "ai.onnx") for opset in proto.opset_import)
    content = proto.SerializeToString()
    assert str(Path(__file__).parent.parent.parent).encode() not in content
    assert b"site-packages" not in content


def test_a_graph_that_finds_something_else_is_not_written(
    tmp_path: Path, proto: onnx.ModelProto, model: Img2Pose
) -> None:
    wrong = copy.deepcopy(proto)
    # The last layer of the pose head: six numbers of each of two classes.
    (bias,) = (i for i in wrong.graph.initializer if list(i.dims) == [12] and ".3." in i.name)
    values = onnx.numpy_helper.to_array(bias) + np.float32(0.02)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    target = tmp_path / "new" / "model.onnx"
    with pytest.raises(OutputError, match=r"model\.onnx.*poses") as refusal:
        write_if_equal(wrong, model, target, pictures=[noise(80, 100)], weights="float32")
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_faces_of_one_engine_only_are_counted_in_the_refusal(
    tmp_path: Path, proto: onnx.ModelProto, model: Img2Pose
) -> None:
    lowered = copy.deepcopy(model)
    lowered.roi_heads.class_predictor.cls_score.bias.data += torch.tensor([2.0, 0.0])
    with pytest.raises(OutputError, match="faces that only PyTorch finds"):
        write_if_equal(
            proto, lowered, tmp_path / "m.onnx", pictures=[noise(80, 100)], weights="float32"
        )
    assert list(tmp_path.iterdir()) == []


def test_float16_halves_the_file_and_loses_little(
    tmp_path: Path, exported: Path, proto: onnx.ModelProto, model: Img2Pose
) -> None:
    target = tmp_path / "half.onnx"
    report = write_if_equal(
        copy.deepcopy(proto),
        model,
        target,
        pictures=[noise(80, 100), noise(50, 90, 1)],
        weights="float16",
    )
    assert report.bytes == target.stat().st_size < 0.55 * report.float32_bytes
    assert report.float32_bytes == (exported / EXPORTED).stat().st_size
    assert report.loss is not None
    assert report.loss.faces > 0
    assert report.agreement.pose < report.loss.pose < 0.05
    picture = noise(80, 100)
    halved = OnnxDetector(target, THRESHOLD, threads=1).predict(picture)
    full = OnnxDetector(exported / EXPORTED, THRESHOLD, threads=1).predict(picture)
    found = agreement_of([(full, halved)], threshold=THRESHOLD, margin=0.01)
    assert found.faces > 0
    assert 0 < found.pose < 0.05


def test_weights_beyond_float16_are_refused(proto: onnx.ModelProto) -> None:
    large = copy.deepcopy(proto)
    weight = next(i for i in large.graph.initializer if len(i.dims) == 4)
    values = onnx.numpy_helper.to_array(weight) * np.float32(1e7)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    with pytest.raises(InputError, match="float16"):
        halve_weights(large)


def test_what_cannot_be_asked_for_is_refused(tmp_path: Path, model: Img2Pose) -> None:
    with pytest.raises(ValueError, match="pictures"):
        export_onnx(model, tmp_path / "m.onnx", pictures=[], checkpoint_sha256="")
    with pytest.raises(ValueError, match="int4"):
        export_onnx(
            model,
            tmp_path / "m.onnx",
            pictures=[noise(8, 8)],
            checkpoint_sha256="",
            weights="int4",
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "frozen_bn", "pose_norm": "batch_norm", "match_published": True},
        {"norm": "batch_norm", "inference_profile": "fast", "depth": 50},
    ],
)
def test_other_architectures_export_too(
    tmp_path: Path, references: PoseReferences, changes: dict[str, object]
) -> None:
    torch.manual_seed(0)
    settings = {**SMALL_MODEL, "score_threshold": THRESHOLD, **changes}
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings)
    pictures = [noise(80, 100), noise(61, 333, 1)]
    report = export_onnx(model, tmp_path / "m.onnx", pictures=pictures, checkpoint_sha256="0")
    assert report.agreement.faces > 0
