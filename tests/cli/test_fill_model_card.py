"""The command that fills a model card, from commands that measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from img2pose.cli import compress_checkpoint, evaluate_landmarks
from img2pose.cli.fill_model_card import main
from img2pose.evaluation.model_card import FIGURES_BEGIN, FIGURES_END
from img2pose.evaluation.model_differences import differences_of
from img2pose.files import file_sha256

CARD = f"# A model\n\n{FIGURES_BEGIN}\n{FIGURES_END}\n\n## Limits\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `card.md`."""
    monkeypatch.chdir(tmp_path)
    Path("card.md").write_text(CARD)
    return tmp_path


def test_a_checkpoint_is_compressed_measured_and_described(
    folder: Path, compact_checkpoint: Path, face_photographs: Path, face_dataset: Path
) -> None:
    pictures = sorted(str(path) for path in face_photographs.glob("*.jpg"))[:2]
    flags = ["--checkpoint", str(compact_checkpoint), "--device", "cpu"]
    compress = [*flags, "--output_path", "c.pth", "--score_threshold", "0.2"]
    assert compress_checkpoint.main([*compress, "--images", *pictures]) == 0
    store = ["--lmdb", str(face_dataset / "val.lmdb"), "--device", "cpu"]
    for checkpoint, out, more in (
        ("c.pth", "after", []),
        (str(compact_checkpoint), "before", ["--score_threshold", "0.2"]),
    ):
        arguments = ["--checkpoint", checkpoint, "--output_path", out, *store, *more]
        assert evaluate_landmarks.main(arguments) == 0
    arguments = ["c.pth", "--card", "card.md", "--compression", "c.json"]
    for out in ("after", "before"):
        arguments += ["--evaluation", "drawn heads", f"{out}/summary.json"]
    assert main(arguments) == 0
    card = Path("card.md").read_text()
    assert card.startswith("# A model\n") and card.endswith("\n## Limits\n")
    assert file_sha256("c.pth", "") in card
    assert "| drawn heads | this file | image | 2 | 2 |" in card
    assert "| drawn heads | before compression | image | 2 | 2 |" in card
    assert "Compression, on 2 pictures:" in card
    assert "score of 0.2" in card
    # Of the checkpoint's own threshold, which no flag named.
    summary = json.loads(Path("after/summary.json").read_text())
    assert summary["figures"]["score_threshold"] == 0.2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["gone.pth", "--card", "card.md"], "gone.pth"),
        (["card.md", "--card", "card.md"], "card.md: is no checkpoint"),
        (["c.pth", "--card", "gone.md"], "gone.md"),
        (["c.pth", "--card", "text.md"], "text.md: has no place for figures"),
        (["c.pth", "--card", "card.md", "--evaluation", "x", "gone.json"], "gone.json"),
        (["c.pth", "--card", "card.md", "--evaluation", "x", "card.md"], "card.md: cannot be"),
        (["c.pth", "--card", "card.md", "--evaluation", "x", "empty.json"], "empty.json"),
        (["c.pth", "--card", "card.md", "--compression", "empty.json"], "empty.json"),
        (
            ["c.pth", "--card", "card.md", "--compression", "other.json"],
            "other.json: is not about c.pth",
        ),
        (["c.pth", "--card", "card.md", "--compression", "part.json"], "part.json: says nothing"),
    ],
)
def test_bad_input_is_named_in_one_line_and_changes_nothing(
    folder: Path,
    compact_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    named: str,
) -> None:
    Path("c.pth").symlink_to(compact_checkpoint)
    Path("text.md").write_text("words\n")
    Path("empty.json").write_text("{}")
    Path("part.json").write_text('{"sha256": "0", "loss": {"pictures": 1}}')
    loss = differences_of([]).to_dict()
    Path("other.json").write_text(json.dumps({"sha256": "0", "loss": loss}))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert Path("card.md").read_text() == CARD
