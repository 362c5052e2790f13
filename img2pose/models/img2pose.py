"""The whole network, and how one is built."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from img2pose.config import ModelConfig
from img2pose.devices import to_device
from img2pose.geometry import image_intrinsics, transform_poses
from img2pose.models.backbone import build_backbone
from img2pose.models.detection_settings import DetectionSettings
from img2pose.models.draws import Draw, generator_of
from img2pose.models.heads import ClassPredictor, PosePredictor
from img2pose.models.losses import LossTerm
from img2pose.models.pooling import PyramidRoIAlign
from img2pose.models.precision import in_float32, lower_precision
from img2pose.models.profiles import PROFILES
from img2pose.models.roi_heads import PoseRoIHeads
from img2pose.models.rpn import ProposalNetwork
from img2pose.references import PoseReferences
from img2pose.types import PoseStats

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
NUM_CLASSES = 2
ROI_BINS = 7
HEAD_WIDTH = 1024


def _scaling(size_from_hw: tuple[int, int], size_to_hw: tuple[int, int], like: Tensor) -> Tensor:
    """(2, 3) map of pixels from one size of an image to another."""
    factors = [to / of for of, to in zip(size_from_hw[::-1], size_to_hw[::-1], strict=True)]
    scaling = torch.tensor([[factors[0], 0, 0], [0, factors[1], 0]], dtype=like.dtype)
    return to_device(scaling, like.device)


def _at_most(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)


class PoseTransform(GeneralizedRCNNTransform):
    """torchvision's resizing and normalisation, poses included.

    Resizing moves the principal point (a whole pixel) by a fraction of one, and rounds the sides:
    poses are re-expressed for it, unless the published detections are to be matched.
    """

    def __init__(self, *, match_published: bool, **inherited: Any) -> None:
        super().__init__(image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD, **inherited)
        self.match_published = match_published
        self._generator: torch.Generator | None = None
        for name, value in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            per_channel = torch.tensor(value)[:, None, None]
            # Not in the state dict, whose layout is the published one.
            self.register_buffer(name, per_channel, persistent=False)

    def normalize(self, image: Tensor) -> Tensor:
        """Brings an image (3, H, W) of 0..1 to the mean and deviation of ImageNet's.

        Raises:
            ValueError: The tensor has another shape or is not of floats.
        """
        if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
            raise ValueError(
                "images must be float tensors (3, H, W) with values in 0..1, not"
                f" {image.dtype} {tuple(image.shape)}"
            )
        normalised: Tensor = (image - self.mean) / self.std
        return normalised

    @in_float32
    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        """Resizes, normalises and batches; see torchvision's."""
        prepared: tuple[ImageList, list[dict[str, Tensor]] | None] = super().forward(
            images, targets
        )
        return prepared

    def torch_choice(self, k: list[int]) -> int:
        """One of the sizes `k`, drawn by the image's seed."""
        drawn = torch.empty(1).uniform_(0.0, float(len(k)), generator=self._generator)
        return k[int(drawn)]

    def _transfer(
        self, poses: Tensor, size_from_hw: tuple[int, int], size_to_hw: tuple[int, int]
    ) -> Tensor:
        if self.match_published or len(poses) == 0:
            return poses
        cameras = [image_intrinsics(*size) for size in (size_from_hw, size_to_hw)]
        result: Tensor = transform_poses(poses, _scaling(size_from_hw, size_to_hw, poses), *cameras)
        return result

    def _size_of_thin(self, size_hw: tuple[int, int]) -> tuple[int, int] | None:
        """What a picture is resized to whose shorter side torchvision would round down to none."""
        scale = min(self.min_size[-1] / min(size_hw), self.max_size / max(size_hw))
        if min(size_hw) * scale >= 1:
            return None
        height, width = (max(1, math.floor(side * scale)) for side in size_hw)
        return height, width

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Resizes an image (3, H, W) and its targets' `boxes` and `dofs`."""
        size_hw = (image.shape[-2], image.shape[-1])
        if target is None and (thin_hw := self._size_of_thin(size_hw)) is not None:
            return F.interpolate(image[None], size=thin_hw, mode="bilinear")[0], None
        self._generator = generator_of(target, Draw.SIZE, torch.device("cpu"))
        image, target = super().resize(image, target)
        if target is not None:
            resized_hw = (image.shape[-2], image.shape[-1])
            target["dofs"] = self._transfer(target["dofs"], size_hw, resized_hw)
        return image, target

    @in_float32
    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Brings detections from the resized images back to the given ones."""
        for faces, resized, original in zip(
            result, image_shapes, original_image_sizes, strict=True
        ):
            scaling = _scaling(resized, original, faces["boxes"])
            faces["boxes"] = faces["boxes"] * scaling.diagonal().repeat(2)
            faces["dofs"] = self._transfer(faces["dofs"], resized, original)
        return result


class Img2Pose(GeneralizedRCNN):
    """Finds every face of a photograph with its 6DoF pose.

    In evaluation, `model(images)` takes a list of RGB float tensors (3, H, W) in 0..1 of any sizes
    and returns for each image a dict, best face first. Images that are equally large once resized
    run together, so no image changes what is found in another.

    - `boxes` (N, 4) float32: left, top, right, bottom, pixels of the given image
    - `scores` (N,) float32 in 0..1
    - `labels` (N,) int64: 1, a face
    - `dofs` (N, 6) float32: rotation vector (radians) and translation (reference units) in the
      given image's camera (`image_intrinsics`)

    In training, `model(images, targets)` also takes for each image `boxes` (N, 4) float32 with an
    area, `labels` (N,) int64, `dofs` (N, 6) float32, and returns the scalars `loss_classifier`,
    `loss_dof_reg`, `loss_points`, `loss_objectness`, `loss_rpn_box_reg`. Images without faces
    (N = 0) are welcome in both. A target's `seed`, an int64 scalar on the host, fixes what is drawn
    for its image; without it torch's generator does.

    Args:
        config: Architecture and settings.
        pose_stats: Normalisation of its poses.
        references: The face its poses refer to.
        download_backbone: False when weights of its own are loaded next.

    Attributes:
        config: What it was built from.
        profile: What evaluation may leave out, of `config.inference_profile`.
        pose_stats: Normalisation of its poses.
        references: The face its poses refer to.
    """

    def __init__(
        self,
        config: ModelConfig,
        pose_stats: PoseStats,
        references: PoseReferences,
        *,
        download_backbone: bool = True,
    ) -> None:
        backbone = build_backbone(
            config.depth,
            norm=config.norm,
            pretrained=config.pretrained_backbone,
            download=download_backbone,
            trainable_stages=config.trainable_stages,
            fpn_channels=config.fpn_channels,
        )
        anchors = AnchorGenerator(
            sizes=((16,), (32,), (64,), (128,), (256,)), aspect_ratios=((0.5, 1.0, 2.0),) * 5
        )
        profile = PROFILES[config.inference_profile]
        rpn = ProposalNetwork(
            anchor_generator=anchors,
            head=RPNHead(config.fpn_channels, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={
                "training": config.rpn_pre_nms_train,
                "testing": _at_most(config.rpn_pre_nms_test, profile.proposals_before_nms),
            },
            post_nms_top_n={
                "training": config.rpn_post_nms_train,
                "testing": _at_most(config.rpn_post_nms_test, profile.proposals),
            },
            nms_thresh=config.rpn_nms_threshold,
            score_thresh=profile.min_objectness,
            bfloat16=profile.bfloat16,
        )
        pooled_channels = config.fpn_channels * ROI_BINS**2
        roi_heads = PoseRoIHeads(
            class_head=TwoMLPHead(pooled_channels, HEAD_WIDTH),
            class_predictor=ClassPredictor(HEAD_WIDTH, NUM_CLASSES),
            pose_stats=pose_stats,
            references=references,
            box_factors=(config.box_x_factor, config.box_y_factor, config.box_forehead),
            min_depth=config.min_depth,
            match_published=config.match_published,
            bfloat16=profile.bfloat16,
            box_roi_pool=PyramidRoIAlign(ROI_BINS),
            box_head=TwoMLPHead(pooled_channels, HEAD_WIDTH),
            box_predictor=PosePredictor(HEAD_WIDTH, NUM_CLASSES, config.pose_norm),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=config.proposals_per_image,
            positive_fraction=config.positive_fraction,
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.max_detections,
        )
        transform = PoseTransform(
            min_size=config.min_size,
            max_size=config.max_size,
            match_published=config.match_published,
        )
        super().__init__(backbone, rpn, roi_heads, transform)
        self.profile = profile
        self.config = config
        self.pose_stats = pose_stats
        self.references = references

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> list[dict[str, Tensor]] | dict[str, Tensor]:
        """Detections in evaluation, losses in training; see the class.

        Raises:
            ValueError: An image is no float tensor (3, H, W), or training lacks targets or has
                boxes without area.
        """
        if not self.training:
            return self._detect(images)
        if targets is None:
            raise ValueError("training needs targets for each image")
        return {name: term.mean() for name, term in self.loss_terms(images, targets).items()}

    def loss_terms(
        self, images: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, LossTerm]:
        """The losses of training by name, not yet divided by what they are counted over.

        Args:
            images: As for `forward`.
            targets: As for `forward`.

        Raises:
            ValueError: As `forward`.
        """
        if len(targets) != len(images):
            raise ValueError("training needs targets for each image")
        boxes = torch.cat([target["boxes"] for target in targets])
        if not (boxes[:, 2:] > boxes[:, :2]).all():
            raise ValueError("boxes of targets must have an area: left < right, top < bottom")
        batch, targets = self.transform(images, targets)
        features = self._features(batch.tensors)
        proposals, proposal_terms = self.rpn(batch, features, targets)
        _, terms = self.roi_heads(features, proposals, batch.image_sizes, targets)
        return {**terms, **proposal_terms}

    def _features(self, images: Tensor) -> dict[str, Tensor]:
        features = self.backbone(images)
        # Anchors and pooling take their type from these.
        return {name: level.to(images) for name, level in features.items()}

    @contextmanager
    def resizing_to(self, shorter_side: int, longest_side: int | None) -> Iterator[None]:
        """Evaluation resizes images to this while inside, in place of the configured size.

        Args:
            shorter_side: Pixels.
            longest_side: Pixels that the longer side may have, None for no limit; where it would
                be longer, the shorter side is less than `shorter_side`.
        """
        transform = self.transform
        before = transform.min_size, transform.max_size
        transform.min_size = (shorter_side,)
        transform.max_size = math.inf if longest_side is None else longest_side
        try:
            yield
        finally:
            transform.min_size, transform.max_size = before

    def batch_of_one_size(self, prepared: list[Tensor]) -> ImageList:
        """Equally large, resized and normalised images as evaluation lays them out in memory."""
        tensors = self.transform.batch_images(prepared)
        if tensors.device.type == "cpu":
            # Its convolutions and above all its max pooling are faster so.
            tensors = tensors.contiguous(memory_format=torch.channels_last)
        return ImageList(tensors, [(image.shape[1], image.shape[2]) for image in prepared])

    def prepare(self, image: Tensor) -> Tensor:
        """An image (3, H, W) of 0..1 as evaluation looks at it: normalised, resized (3, h, w)."""
        prepared: Tensor = self.transform.resize(self.transform.normalize(image))[0]
        return prepared

    def detect(
        self,
        prepared: list[Tensor],
        sizes_hw: list[tuple[int, int]],
        settings: DetectionSettings | None = None,
    ) -> list[dict[str, Tensor]]:
        """Finds the faces of images of one size in one batch; for evaluation.

        Args:
            prepared: Of `prepare`, equally large.
            sizes_hw: Height and width of each image before.
            settings: None: the model's own.

        Returns:
            As `forward`, in pixels and cameras of the images before.
        """
        batch = self.batch_of_one_size(prepared)
        with lower_precision(batch.tensors.device, wanted=self.profile.bfloat16):
            features = self._features(batch.tensors)
        proposals, _ = self.rpn(batch, features)
        faces, _ = self.roi_heads(features, proposals, batch.image_sizes, settings=settings)
        found: list[dict[str, Tensor]] = self.transform.postprocess(
            faces, batch.image_sizes, sizes_hw
        )
        return found

    def _detect(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        prepared = [self.prepare(image) for image in images]
        # A neighbour of another size would be padded to, and so change what is found.
        groups: dict[torch.Size, list[int]] = {}
        for index, image in enumerate(prepared):
            groups.setdefault(image.shape, []).append(index)
        found: dict[int, dict[str, Tensor]] = {}
        for indices in groups.values():
            originals_hw = [(images[i].shape[1], images[i].shape[2]) for i in indices]
            faces = self.detect([prepared[index] for index in indices], originals_hw)
            found.update(zip(indices, faces, strict=True))
        return [found[index] for index in range(len(images))]

    @contextmanager
    def _losses_without_training(self) -> Iterator[None]:
        # Only the flags that choose "losses" are set, not their children's: norms stay in
        # evaluation and sizes fixed.
        chosen = (self, self.rpn, self.roi_heads)
        before = [module.training for module in chosen]
        try:
            for module in chosen:
                module.training = True
            yield
        finally:
            for module, training in zip(chosen, before, strict=True):
                module.training = training

    @torch.no_grad()
    def validation_losses(
        self, images: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The training losses as evaluation sees the images: fixed size, norms untouched.

        Give targets a `seed` for comparable figures.

        Args:
            images: As for `forward`.
            targets: As for `forward`.
        """
        was_training = self.training
        self.eval()
        try:
            with self._losses_without_training():
                losses: dict[str, Tensor] = self(images, targets)
        finally:
            self.train(was_training)
        return losses


def build_model(
    depth: int = 18,
    *,
    pose_stats: PoseStats,
    references: PoseReferences,
    min_size: int | tuple[int, ...] | list[int] = ModelConfig.min_size,
    max_size: int = ModelConfig.max_size,
    norm: str = ModelConfig.norm,
    pretrained_backbone: bool = ModelConfig.pretrained_backbone,
    **settings: Any,
) -> Img2Pose:
    """Builds a model; what is not given is as published.

    Args:
        depth: ResNet's depth: 18, 34, 50 or 101.
        pose_stats: Mean and standard deviation that normalise the poses.
        references: The reference face.
        min_size: Shorter side of resized images in pixels; several: training draws, evaluation
            takes the last.
        max_size: Longest longer side in pixels.
        norm: Norm of the backbone; `group_norm` for training from random weights.
        pretrained_backbone: Download torchvision's ImageNet weights.
        **settings: Other fields of `ModelConfig`.

    Raises:
        InputError: A value is out of range.
        TypeError: A setting is unknown.
    """
    sizes = (min_size,) if isinstance(min_size, int) else tuple(min_size)
    config = ModelConfig(
        depth=depth,
        min_size=sizes,
        max_size=max_size,
        norm=norm,
        pretrained_backbone=pretrained_backbone,
        **settings,
    )
    return Img2Pose(config, pose_stats, references)
