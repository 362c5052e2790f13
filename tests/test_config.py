from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.config import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    config_from_mapping,
    read_config,
)
from img2pose.errors import InputError
from img2pose.training.run import plain_values

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_are_valid_and_say_what_to_expect(path: Path) -> None:
    read_config(TrainConfig, path)
    head = path.read_text()
    assert all(word in head for word in ("# Source:", "# Command:", "# Expect:"))


def test_file_then_overrides(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: {depth: 50, min_size: [300, 400]}\noptim: {lr: 1e-3}\n")
    config = read_config(TrainConfig, path, {"model.depth": "34", "data.random_flip": "true"})
    assert config.model.depth == 34
    assert config.model.min_size == (300, 400)
    assert config.optim.lr == 0.001
    assert config.data.random_flip is True


@pytest.mark.parametrize("spelling", ["200, 300", "200,300", "[200, 300]"])
def test_lists_of_sizes(spelling: str) -> None:
    config = read_config(TrainConfig, None, {"model.min_size": spelling})
    assert config.model.min_size == (200, 300)


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("backbone.body", ("backbone.body",)),
        ("backbone.body, rpn.head", ("backbone.body", "rpn.head")),
        ("[backbone.body,rpn.head]", ("backbone.body", "rpn.head")),
        (["backbone.body"], ("backbone.body",)),
        ("[]", ()),
        ([], ()),
    ],
)
def test_lists_of_names(spelling: object, expected: tuple[str, ...]) -> None:
    config = read_config(TrainConfig, None, {"optim.frozen": spelling, "evaluators": spelling})
    assert config.optim.frozen == config.evaluators == expected


def test_what_may_be_off_is_off_by_default_and_may_be_said_so() -> None:
    off = {"ema_decay": 0, "lr_batch_size": 0, "clip_gradient_norm": 0, "early_stop_patience": 0}
    config = config_from_mapping(OptimConfig, off)
    assert (config.ema_decay, config.lr_batch_size) == (0, 0)
    assert OptimConfig(ema_decay=0.999).ema_decay == 0.999
    # What the published commands do.
    default = OptimConfig()
    assert (default.precision, default.accumulation_steps) == ("float32", 1)
    assert default.frozen == ()
    assert default.decay_norms_and_biases


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("modle: {depth: 18}", "modle"),
        ("model: {deph: 18}", "deph"),
        ("model: {depth: eighteen}", "depth"),
        ("model: {depth: 18.5}", "depth"),
        ("model: {depth: true}", "depth"),
        ("optim: {lr: .nan}", "lr"),
        ("optim: {lr: -1}", "lr"),
        ("optim: {schedule: cosinus}", "schedule"),
        ("data: {random_flip: 1}", "random_flip"),
        ("data: {scale_range: [2, 1]}", "scale_range"),
        ("data: {scale_range: [1, 2, 3]}", "scale_range"),
        ("data: {threed_5_points: a.npy}", "threed_68_points"),
        ("workspace: 3", "workspace"),
        ("optim: {epochs: .inf}", "epochs"),
        ("optim: {seed: -1}", "seed"),
        ("optim: {momentum: -1}", "momentum"),
        ("optim: {lr_plateau_factor: 1.0}", "lr_plateau_factor"),
        ("model: {norm: group_norm}", "pretrained_backbone"),
        ("model: {min_size: [300, 400], max_size: 384}", "max_size"),
        ("model: {box_x_factor: -1}", "box_x_factor"),
        ("model: {rpn_post_nms_test: 0}", "rpn_post_nms_test"),
        ("data: {unreadable_records: maybe}", "unreadable_records"),
        ("data: {train_source: [a.lmdb], train_weights: [1, 2]}", "train_weights"),
        ("data: {train_source: [a.lmdb], train_weights: [0]}", "train_weights"),
        ("optim: {precision: float64}", "precision"),
        ("optim: {channels_last: 1}", "channels_last"),
        ("optim: {decay_norms_and_biases: 0}", "decay_norms_and_biases"),
        ("optim: {accumulation_steps: 0}", "accumulation_steps"),
        ("optim: {batch_size: 0}", "batch_size"),
        ("optim: {lr_batch_size: -1}", "lr_batch_size"),
        ("optim: {ema_decay: 1}", "ema_decay"),
        ("optim: {ema_decay: -0.1}", "ema_decay"),
        ("optim: {frozen: [3]}", "frozen"),
        ("optim: {weight_decay: -1}", "weight_decay"),
        ("optim: {warmup_steps: -1}", "warmup_steps"),
        ("optim: {clip_gradient_norm: -1}", "clip_gradient_norm"),
        ("optim: {early_stop_patience: -1}", "early_stop_patience"),
        ("validate_every_epochs: 0", "validate_every_epochs"),
        ("log_every_steps: 0", "log_every_steps"),
        ("sheet_pictures: -1", "sheet_pictures"),
        ("checkpoint_every_steps: -1", "checkpoint_every_steps"),
        ("keep_every_epochs: -1", "keep_every_epochs"),
        ("evaluators: [3]", "evaluators"),
        ("monitor: 3", "monitor"),
        ("prefix: ''", "prefix"),
        ("- a list", "mapping"),
        ("model: 3", "model"),
        ("model: false", "model"),
        ("data: []", "data"),
        ("a: [1", "YAML"),
    ],
)
def test_faults_name_the_file_and_the_field(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=named) as error:
        read_config(TrainConfig, path)
    assert "bad.yaml" in str(error.value)


@pytest.mark.parametrize(
    "overrides", [{"data": "x", "data.workers": "0"}, {"data.workers": "0", "data": "x"}]
)
def test_a_value_and_its_parts_cannot_both_be_set(overrides: dict[str, str]) -> None:
    with pytest.raises(InputError, match="data"):
        read_config(TrainConfig, None, overrides)


def test_a_heading_without_lines_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text("model:\ndata: {}\n")
    assert read_config(TrainConfig, path) == TrainConfig()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_config(TrainConfig, tmp_path / "none.yaml")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["depth", "norm", "min_size", "max_size", "min_depth"]), PLAIN)
)
@settings(max_examples=200, deadline=None)
def test_any_plain_values_are_taken_or_refused_in_words(values: dict[str, object]) -> None:
    try:
        config = config_from_mapping(ModelConfig, values, "file.yaml")
    except InputError as error:
        assert "file.yaml" in str(error)
    else:
        assert isinstance(config.depth, int)


def test_every_field_is_described() -> None:
    for kind in (ModelConfig, DataConfig, OptimConfig, TrainConfig):
        for name in kind.__dataclass_fields__:
            assert f"        {name}: " in (kind.__doc__ or "")


def test_plain_yaml_of_a_config_reads_back() -> None:
    overrides = {"model.depth": 50, "optim.frozen": "rpn,backbone", "evaluators": "landmarks"}
    config = read_config(TrainConfig, None, overrides)
    text = yaml.safe_dump(plain_values(asdict(config)))
    assert config_from_mapping(TrainConfig, yaml.safe_load(text)) == config


@pytest.mark.parametrize("threshold", [0.01, 0.96, float("nan")])
def test_a_threshold_for_faces_is_one_that_evaluations_can_judge(threshold: float) -> None:
    with pytest.raises(InputError, match="face_score_threshold"):
        ModelConfig(face_score_threshold=threshold)
