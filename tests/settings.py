"""Settings that several tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

from img2pose.types import PoseStats

PUBLISHED_STATS = PoseStats(
    np.array([-0.0238, 0.0275, -0.0144, 0.0664, 0.2380, 3.4813]),
    np.array([0.2353, 0.5395, 0.1767, 0.1320, 0.1358, 0.3663]),
)

SMALL_MODEL: dict[str, Any] = {
    "min_size": 96,
    "max_size": 192,
    "norm": "group_norm",
    "pose_norm": "layer_norm",
    "pretrained_backbone": False,
    "fpn_channels": 32,
    "rpn_pre_nms_train": 100,
    "rpn_pre_nms_test": 100,
    "rpn_post_nms_train": 50,
    "rpn_post_nms_test": 50,
    "proposals_per_image": 32,
    "min_depth": 0.2,
}
