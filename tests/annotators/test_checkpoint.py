"""A checkpoint of ours as the detector that labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from img2pose.annotators.checkpoint import CheckpointDetector
from img2pose.annotators.protocol import checked_faces
from img2pose.geometry import solve_pose
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model


def test_the_points_are_those_of_the_poses(tmp_path: Path, small_model: Img2Pose) -> None:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    label = CheckpointDetector(model_path=path, score_threshold=0.1, device="cpu", min_size=128)
    found = checked_faces(label(image), "img2pose")
    direct = Detector.from_checkpoint(path, device="cpu", score_threshold=0.1, min_size=128)
    expected = direct.predict(image)
    assert len(expected) == len(found.landmarks) > 0
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes)
    np.testing.assert_allclose(found.scores, expected.scores)
    pose = solve_pose(direct.references.points_68, found.landmarks[0], expected.intrinsics)
    np.testing.assert_allclose(pose, expected.poses[0], atol=1e-3)
