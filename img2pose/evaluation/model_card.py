"""The part of a model card that is measured: which file it is about, and what it reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from img2pose.config import ModelConfig
from img2pose.errors import InputError
from img2pose.evaluation.model_differences import ModelDifferences
from img2pose.evaluation.report import Table

FIGURES_BEGIN = (
    "<!-- figures by scripts/fill_model_card.py: what is between these marks is replaced -->"
)
FIGURES_END = "<!-- end of figures -->"

# Figures, their heads and decimals.
_COLUMNS = (
    ("pictures", "pictures", None),
    ("faces", "faces", None),
    ("recall_at_50", "recall at IoU 0.5", 3),
    ("recall_at_75", "at 0.75", 3),
    ("false_positives_per_picture", "false positives a picture", 2),
    ("rotation_error_deg_mean", "rotation error, mean (deg)", 2),
    ("rotation_error_deg_median", "median (deg)", 2),
    ("landmark_error_mean", "landmark error, mean", 4),
)
_BAND_COLUMNS = tuple(
    column
    for column in _COLUMNS
    if column[0] not in ("pictures", "recall_at_75", "false_positives_per_picture")
)


@dataclass(frozen=True)
class CardFile:
    """The checkpoint that a card is about.

    Attributes:
        name: Of its file.
        sha256: Of its bytes.
        size_bytes: How many.
        config: Its architecture, and what holds of it without flags.
        parameters: How many numbers training sets.
        weights: How large weights are stored; None: in float32, as training left them.
        source_sha256: Of the checkpoint it was compressed from; None: of none.
    """

    name: str
    sha256: str
    size_bytes: int
    config: ModelConfig
    parameters: int
    weights: str | None = None
    source_sha256: str | None = None


@dataclass(frozen=True)
class CardEvaluation:
    """What `scripts/evaluate_landmarks.py` found.

    Attributes:
        title: What was judged, in words.
        figures: Of `summary.json`, with `by_face_size` and `by_yaw`.
        is_source: Whether the model was the checkpoint before compression.
        truth_camera: Where true poses were fitted.
        command: As typed.
    """

    title: str
    figures: Mapping[str, Any]
    is_source: bool
    truth_camera: str
    command: str

    @classmethod
    def of_summary(
        cls, title: str, summary: Mapping[str, Any], card_file: CardFile, path: str
    ) -> CardEvaluation:
        """Reads a summary, if it is about the card's model as it is used without flags.

        Args:
            title: What was judged.
            summary: Content of `summary.json`.
            card_file: The card's model.
            path: Names the summary in errors.

        Raises:
            InputError: It is another command's, of another model or of other settings.
        """
        config = card_file.config
        expected = {
            "min_size": config.min_size[-1],
            "max_size": config.max_size,
            "inference_profile": config.inference_profile,
            "score_threshold": config.face_score_threshold,
        }
        try:
            figures, model = summary["figures"], summary["model"]
            for name in ("by_face_size", "by_yaw", *(column[0] for column in _COLUMNS)):
                figures[name]
            sha256 = model["checkpoint_sha256"]
            found = {name: {**model, **figures}[name] for name in expected}
            truth_camera, command = str(summary["data"]["truth_camera"]), str(summary["command"])
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path}: is no summary of scripts/evaluate_landmarks.py; give its summary.json"
            ) from error
        if sha256 not in (card_file.sha256, card_file.source_sha256):
            raise InputError(
                f"{path}: is about another model than {card_file.name} and the checkpoint that it"
                " was compressed from; evaluate one of these"
            )
        others = [name for name, value in expected.items() if found[name] != value]
        if others:
            told = ", ".join(f"{name} {found[name]}, not {expected[name]}" for name in others)
            raise InputError(
                f"{path}: was evaluated with {told}; evaluate {card_file.name} without such flags,"
                " and its source with the same values"
            )
        return cls(title, figures, sha256 != card_file.sha256, truth_camera, command)


def _table(
    heads: Sequence[str],
    columns: Sequence[tuple[str, str, int | None]],
    rows: Sequence[tuple[Sequence[str], Mapping[str, Any]]],
) -> str:
    """Markdown of rows of texts, below `heads`, and figures, below those of `columns`."""
    return Table(
        "",
        [*heads, *(head for _, head, _ in columns)],
        [[*texts, *(figures[name] for name, _, _ in columns)] for texts, figures in rows],
        [*[None] * len(heads), *(digits for _, _, digits in columns)],
    ).markdown()


def _file_lines(card_file: CardFile) -> Iterator[str]:
    config = card_file.config
    yield from (
        "## The file",
        "",
        f"- `{card_file.name}`, {card_file.size_bytes:,} bytes",
        f"- SHA-256 `{card_file.sha256}`",
        f"- ResNet-{config.depth} ({config.norm}) with a feature pyramid of {config.fpn_channels}"
        f" channels, pose head with {config.pose_norm}: {card_file.parameters:,} parameters",
    )
    if card_file.weights is not None:
        yield f"- large weights stored as {card_file.weights}, by scripts/compress_checkpoint.py"
        yield f"- compressed from a checkpoint with SHA-256 `{card_file.source_sha256}`"
    yield (
        f"- without flags: pictures are resized to a shorter side of {config.min_size[-1]} pixels,"
        f" but a longer one of at most {config.max_size}; faces count above a score of"
        f" {config.face_score_threshold:g}"
    )


def _loss_lines(loss: ModelDifferences) -> Iterator[str]:
    yield (
        f"Compression, on {loss.pictures} pictures: {loss.faces_first} faces before,"
        f" {loss.faces_second} after, {loss.faces_both} of them the same by IoU 0.5."
    )
    if loss.faces_both:
        yield (
            f"Of these, boxes moved by up to {loss.box_px_max:.2f} pixels, rotations by"
            f" {loss.rotation_deg_mean:.3f} degrees on average and"
            f" {loss.rotation_deg_max:.3f} at most, translations by"
            f" {loss.translation_share_mean:.3%} of their length on average and"
            f" {loss.translation_share_max:.3%} at most, scores by up to"
            f" {loss.score_max:.4f}."
        )


def figures_text(
    card_file: CardFile, evaluations: Sequence[CardEvaluation], loss: ModelDifferences | None
) -> str:
    """Markdown of file, figures, bands and commands.

    Args:
        card_file: What the card is about.
        evaluations: Of it, and of the checkpoint before compression.
        loss: What compression changed; None: nothing is said of it.

    Returns:
        Lines, the last one with its end.
    """
    lines = list(_file_lines(card_file))
    if evaluations:
        lines += [
            "",
            "## Figures",
            "",
            "Rotation error: geodesic, over found faces. Landmark error: mean distance of the 68"
            " points over the distance of the outer eye corners, over found faces. True poses are"
            " fitted to annotated landmarks, in the camera that is named.",
            "",
            _table(
                ("data", "weights", "truth's camera"),
                _COLUMNS,
                [
                    (
                        (
                            one.title,
                            "before compression" if one.is_source else "this file",
                            one.truth_camera,
                        ),
                        one.figures,
                    )
                    for one in evaluations
                ],
            ),
        ]
    if loss is not None:
        lines += ["", *_loss_lines(loss)]
    for one in evaluations:
        if one.is_source:
            continue
        for key, name in (("by_face_size", "face size"), ("by_yaw", "yaw")):
            rows = [((band["band"],), band) for band in one.figures[key]]
            title = f"### {one.title}, by {name} (truth's camera: {one.truth_camera})"
            lines += ["", title, "", _table((name,), _BAND_COLUMNS, rows)]
    if evaluations:
        lines += ["", "Measured by:", "", *(f"    {one.command}" for one in evaluations)]
    return "\n".join(lines) + "\n"


def filled_card(card: str, figures: str, path: str) -> str:
    """A card with new figures between its two marks.

    Args:
        card: Markdown with `FIGURES_BEGIN` and `FIGURES_END` on lines of their own, once each.
        figures: Of `figures_text`.
        path: Names the card in errors.

    Raises:
        InputError: The marks are not there.
    """
    before, begin, rest = card.partition(f"{FIGURES_BEGIN}\n")
    _, end, after = rest.partition(f"{FIGURES_END}\n")
    if not begin or not end:
        raise InputError(
            f"{path}: has no place for figures; write the lines {FIGURES_BEGIN!r} and"
            f" {FIGURES_END!r} there"
        )
    return f"{before}{begin}\n{figures}\n{end}{after}"
