"""Figures as a model card shows them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from img2pose.config import ModelConfig
from img2pose.errors import InputError
from img2pose.evaluation.model_card import (
    FIGURES_BEGIN,
    FIGURES_END,
    CardEvaluation,
    CardFile,
    figures_text,
    filled_card,
)

CONFIG = ModelConfig(min_size=(128, 256), max_size=512, face_score_threshold=0.6)
FILE = CardFile("c.pth", "a" * 64, 24_000_000, CONFIG, 23_700_000, "int8", "b" * 64)
BAND = {
    "band": "15 to 30 deg",
    "faces": 7,
    "recall_at_50": 0.5,
    "rotation_error_deg_mean": 12.345,
    "rotation_error_deg_median": 10.0,
    "landmark_error_mean": None,
}
SUMMARY: dict[str, Any] = {
    "figures": {
        "pictures": 870,
        "faces": 871,
        "recall_at_50": 0.97654,
        "recall_at_75": 0.9,
        "false_positives_per_picture": 0.512,
        "rotation_error_deg_mean": 8.125,
        "rotation_error_deg_median": 7.0,
        "landmark_error_mean": 0.10456,
        "score_threshold": 0.6,
        "by_yaw": [BAND],
        "by_face_size": [BAND | {"band": "64 to 128 px"}],
    },
    "model": {
        "checkpoint_sha256": "a" * 64,
        "min_size": 256,
        "max_size": 512,
        "inference_profile": "exact",
    },
    "data": {"truth_camera": "box"},
    "command": "img2pose evaluate landmarks --checkpoint c.pth",
}


def changed(part: str, name: str, value: Any) -> dict[str, Any]:
    summary = copy.deepcopy(SUMMARY)
    summary[part][name] = value
    return summary


def test_figures_of_the_file_and_of_its_source() -> None:
    of_source = changed("model", "checkpoint_sha256", "b" * 64)
    evaluations = [
        CardEvaluation.of_summary("Helen", SUMMARY, FILE, "s.json"),
        CardEvaluation.of_summary("Helen", of_source, FILE, "t.json"),
        CardEvaluation.of_summary("a|b", SUMMARY, FILE, "u.json"),
    ]
    lines = figures_text(FILE, evaluations, None).splitlines()
    row = "| 870 | 871 | 0.977 | 0.900 | 0.51 | 8.12 | 7.00 | 0.1046 |"
    assert f"| Helen | this file | box {row}" in lines
    assert f"| Helen | before compression | box {row}" in lines
    assert f"| a\\|b | this file | box {row}" in lines
    assert lines.count("| 15 to 30 deg | 7 | 0.500 | 12.35 | 10.00 | \N{EN DASH} |") == 2
    assert lines.count("### Helen, by yaw (truth's camera: box)") == 1
    assert lines.count("### Helen, by face size (truth's camera: box)") == 1
    assert f"- SHA-256 `{'a' * 64}`" in lines
    assert any("shorter side of 256 pixels" in line and "score of 0.6" in line for line in lines)


def test_columns_of_a_table_are_as_many_as_its_heads() -> None:
    evaluation = CardEvaluation.of_summary("Helen", SUMMARY, FILE, "s.json")
    blocks = figures_text(FILE, [evaluation], None).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert [{row.count("|") for row in rows} for rows in tables] == [{12}, {7}, {7}]


@pytest.mark.parametrize(
    ("summary", "message"),
    [
        (changed("model", "checkpoint_sha256", "c" * 64), "another model than c.pth"),
        (changed("model", "min_size", 400), "min_size 400, not 256"),
        (changed("figures", "score_threshold", 0.5), "score_threshold 0.5, not 0.6"),
        (changed("model", "inference_profile", "fast"), "inference_profile fast"),
        ({"figures": {}}, "no summary of scripts/evaluate_landmarks.py"),
        ([], "no summary of scripts/evaluate_landmarks.py"),
    ],
)
def test_figures_of_something_else_are_refused(summary: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        CardEvaluation.of_summary("Helen", summary, FILE, "s.json")
    assert str(error.value).startswith("s.json: ")


def test_figures_replace_those_before() -> None:
    card = f"# Title\n{FIGURES_BEGIN}\nold\n{FIGURES_END}\nend\n"
    once = filled_card(card, "first\n", "card.md")
    assert once == f"# Title\n{FIGURES_BEGIN}\n\nfirst\n\n{FIGURES_END}\nend\n"
    assert filled_card(once, "second\n", "card.md") == once.replace("first", "second")
    with pytest.raises(InputError, match=r"card\.md: has no place for figures"):
        filled_card("# Title\n", "first\n", "card.md")
