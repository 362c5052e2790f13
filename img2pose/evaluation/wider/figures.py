"""A score in words: the table that commands print and the figures that files hold."""

from __future__ import annotations

from typing import Any

from img2pose.evaluation.wider.ground_truth import BENCHMARK_EVENTS, BENCHMARK_IMAGES
from img2pose.evaluation.wider.scoring import WiderScore


def coverage(score: WiderScore) -> str:
    """What the score is of, and whether it is the benchmark's."""
    text = f"{len(score.names)} images of {score.events} events"
    if score.is_benchmark:
        return text
    reasons = []
    if len(score.names) != BENCHMARK_IMAGES:
        reasons.append(f"a part of its {BENCHMARK_IMAGES} images of {BENCHMARK_EVENTS} events")
    if score.images_without_file:
        reasons.append(
            f"{len(score.images_without_file)} images without predictions, counted as found nothing"
        )
    return f"{text}; not the benchmark's figure: {'; '.join(reasons)}"


def figures(score: WiderScore) -> dict[str, Any]:
    """Plain numbers and text, ready for JSON."""
    return {
        "images": len(score.names),
        "events": score.events,
        "images_without_predictions": len(score.images_without_file),
        "predictions": score.predictions,
        "is_benchmark": score.is_benchmark,
        "coverage": coverage(score),
        **{
            f"average_precision_{subset}": found.average_precision
            for subset, found in score.subsets.items()
        },
        **{f"faces_{subset}": found.faces for subset, found in score.subsets.items()},
    }


def table(score: WiderScore) -> str:
    """Average precisions as fractions to five decimals, a line each."""
    lines = [f"WIDER FACE validation: {coverage(score)}"]
    for subset, found in score.subsets.items():
        value = found.average_precision
        text = "-" if value is None else f"{value:.5f}"
        lines.append(f"{subset:<8}AP {text:>7}  {found.faces:>6} faces")
    return "\n".join(lines)
