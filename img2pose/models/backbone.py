"""ResNet with a feature pyramid."""

from __future__ import annotations

import functools
from collections.abc import Callable
from urllib.error import URLError

from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d

from img2pose.errors import InputError

_RESNET_STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1", "bn1")

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "frozen_bn": FrozenBatchNorm2d,
    "batch_norm": nn.BatchNorm2d,
    "group_norm": functools.partial(nn.GroupNorm, 32),
}


def build_backbone(
    depth: int,
    *,
    norm: str,
    pretrained: bool,
    download: bool,
    trainable_stages: int,
    fpn_channels: int,
) -> BackboneWithFPN:
    """A ResNet whose four stages feed a feature pyramid of five levels, strides 4 to 64.

    Args:
        depth: 18, 34, 50 or 101.
        norm: A key of `NORMS`. A frozen batch norm diverges without pretrained weights.
        pretrained: The weights are, or will be, pretrained: only `trainable_stages` are trained.
        download: Get torchvision's ImageNet weights, if pretrained; else others are loaded later.
        trainable_stages: 0 to 5, counted from the last; the others keep their weights. Applies to
            pretrained weights: random ones are all trained.
        fpn_channels: Channels of every level of the pyramid.

    Raises:
        InputError: The weights cannot be downloaded.
    """
    name = f"resnet{depth}"
    weights = get_model_weights(name)["IMAGENET1K_V1"] if pretrained and download else None
    try:
        resnet = get_model(name, weights=weights, norm_layer=NORMS[norm])
    except URLError as error:
        raise InputError(
            f"{name}: its ImageNet weights cannot be downloaded ({error.reason}); connect, or train"
            " from random weights with --set model.pretrained_backbone=false and"
            " --set model.norm=group_norm"
        ) from error
    if pretrained:
        trained = _RESNET_STAGES[: 6 if trainable_stages == 5 else trainable_stages]
        for parameter_name, parameter in resnet.named_parameters():
            if not parameter_name.startswith(trained):
                parameter.requires_grad_(False)
    width = resnet.inplanes // 8
    return BackboneWithFPN(
        resnet,
        return_layers={f"layer{stage + 1}": str(stage) for stage in range(4)},
        in_channels_list=[width * 2**stage for stage in range(4)],
        out_channels=fpn_channels,
    )
