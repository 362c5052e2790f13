from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from img2pose.errors import InputError
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.weights import load_model, pack_model
from img2pose.references import PoseReferences
from tests.settings import PUBLISHED_STATS, SMALL_MODEL


def test_own_checkpoint_comes_back_whole(small_model: Img2Pose, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    loaded = load_model(path)
    assert not loaded.training
    assert loaded.config == small_model.config
    assert loaded.references.sha256 == small_model.references.sha256
    np.testing.assert_array_equal(loaded.pose_stats.mean, small_model.pose_stats.mean)
    image = torch.rand(3, 96, 128)
    small_model.eval()
    with torch.inference_mode():
        expected, found = small_model([image])[0], loaded([image])[0]
    for name, value in expected.items():
        assert torch.equal(value, found[name])


def test_overrides_change_settings(small_model: Img2Pose, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    loaded = load_model(path, min_size=64, score_threshold=0.3)
    assert loaded.transform.min_size == (64,)
    assert loaded.roi_heads.score_thresh == 0.3
    with pytest.raises(InputError, match="min_sise"):
        load_model(path, min_sise=64)


def published_layout(model: Img2Pose, *, wrapped: bool, names_of_2021: bool) -> dict:
    state = {}
    for name, value in model.state_dict().items():
        if names_of_2021:
            name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
            for part in ("inner", "layer"):
                for level in range(4):
                    name = name.replace(f"{part}_blocks.{level}.0.", f"{part}_blocks.{level}.")
        state[("module." if wrapped else "") + name] = value
    return state


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("names_of_2021", [True, False])
@pytest.mark.parametrize("optimizer", [True, False])
def test_published_layouts(
    references: PoseReferences, tmp_path: Path, wrapped: bool, names_of_2021: bool, optimizer: bool
) -> None:
    settings = SMALL_MODEL
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **settings)
    content = {"fpn_model": published_layout(model, wrapped=wrapped, names_of_2021=names_of_2021)}
    if optimizer:
        content["optimizer"] = torch.optim.SGD(model.parameters(), lr=0.1).state_dict()
    path = tmp_path / "published.pth"
    torch.save(content, path)
    loaded = load_model(path, pose_stats=PUBLISHED_STATS, references=references, **settings)
    assert loaded.config.match_published
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_published_weights_need_statistics_and_warn_of_references(
    small_model: Img2Pose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "published.pth"
    torch.save({"fpn_model": small_model.state_dict()}, path)
    with pytest.raises(InputError, match="statistics"):
        load_model(path)
    with caplog.at_level(logging.WARNING):
        load_model(
            path,
            pose_stats=PUBLISHED_STATS,
            norm="group_norm",
            pose_norm="layer_norm",
            pretrained_backbone=False,
            fpn_channels=32,
        )
    assert "boxes will differ" in caplog.text


def test_missing_unknown_and_misshapen_entries_are_listed(
    small_model: Img2Pose, tmp_path: Path
) -> None:
    content = pack_model(small_model)
    state = dict(content["model"])
    del state["rpn.head.cls_logits.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["backbone.body.conv1.weight"] = torch.zeros(1, 1)
    content["model"] = state
    path = tmp_path / "broken.pth"
    torch.save(content, path)
    with pytest.raises(InputError) as error:
        load_model(path)
    for name in ("rpn.head.cls_logits.bias", "extra.weight", "backbone.body.conv1.weight"):
        assert name in str(error.value)


class Payload:
    """Would touch a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_nothing_is_executed(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"format": Payload(trace)}, path)
    with pytest.raises(InputError, match=r"evil\.pth"):
        load_model(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut", b"\x80\x02}q\x00."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.pth"):
        load_model(path)


def test_a_damaged_archive_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    # Behind the entry's header, where no stream of zlib begins so.
    content[34:44] = b"\xff" * 10
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.pth: is no checkpoint or is damaged"):
        load_model(path)


@pytest.mark.parametrize("content", [{0: torch.zeros(1)}, {"a": torch.zeros(1)}, [], {}])
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=r"other\.pth"):
        load_model(path)


def test_missing_file_and_newer_format(small_model: Img2Pose, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_model(tmp_path / "absent.pth")
    path = tmp_path / "newer.pth"
    torch.save({**pack_model(small_model), "format_version": 99}, path)
    with pytest.raises(InputError, match="99"):
        load_model(path)


def test_incomplete_checkpoint_is_refused(small_model: Img2Pose, tmp_path: Path) -> None:
    content = pack_model(small_model)
    del content["pose_mean"]
    path = tmp_path / "half.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match="pose_mean"):
        load_model(path)


def test_one_changed_byte_among_the_weights_is_noticed(
    small_model: Img2Pose, tmp_path: Path
) -> None:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_model(path)


def test_weights_that_are_no_finite_floats_are_refused(
    small_model: Img2Pose, tmp_path: Path
) -> None:
    content = pack_model(small_model)
    state = dict(content["model"])
    state["rpn.head.cls_logits.bias"] = torch.full_like(state["rpn.head.cls_logits.bias"], np.nan)
    state["backbone.body.conv1.weight"] = state["backbone.body.conv1.weight"].long()
    path = tmp_path / "model.pth"
    torch.save({**content, "model": state}, path)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert "rpn.head.cls_logits.bias holds values that are not finite" in str(caught.value)
    assert "backbone.body.conv1.weight is of torch.int64" in str(caught.value)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_the_depth_of_published_weights_is_read_from_them(
    references: PoseReferences, tmp_path: Path, depth: int
) -> None:
    model = build_model(
        depth, pose_stats=PUBLISHED_STATS, references=references, pretrained_backbone=False
    )
    path = tmp_path / "published.pth"
    torch.save({"fpn_model": published_layout(model, wrapped=True, names_of_2021=True)}, path)
    assert load_model(path, pose_stats=PUBLISHED_STATS, references=references).config.depth == depth


def test_weights_of_another_depth_are_refused_by_name(
    small_model: Img2Pose, tmp_path: Path
) -> None:
    state = {n: v for n, v in small_model.state_dict().items() if ".layer3.1." not in n}
    path = tmp_path / "published.pth"
    torch.save(state, path)
    with pytest.raises(InputError, match="18, 34, 50, 101"):
        load_model(path, pose_stats=PUBLISHED_STATS)


def test_of_much_that_does_not_fit_three_are_named(small_model: Img2Pose, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    with pytest.raises(InputError, match=r"\(\d+ entries: .+; \.\.\.\); check depth") as error:
        load_model(path, depth=34)
    assert str(error.value).count("missing ") == 3
