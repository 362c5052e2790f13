"""The report on faces against annotated landmarks: bands, curves and the worst cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, sqrt
from typing import Any

import numpy as np

from img2pose.evaluation.landmarks import (
    LANDMARK_LIMIT,
    FaceResult,
    JudgedPicture,
    LandmarkEvaluation,
    LandmarkSummary,
    known_values,
)
from img2pose.evaluation.metrics import band_numbers, cumulative_errors, precision_and_recall
from img2pose.evaluation.pictures import PictureSource
from img2pose.evaluation.plots import Curve, draw_bars, draw_curves, png_bytes
from img2pose.evaluation.predictions import PredictionCache
from img2pose.evaluation.report import Case, Cell, Plot, Report, Section, Summary, Table
from img2pose.evaluation.sheets import face_cell
from img2pose.geometry import pose_to_euler
from img2pose.references import PoseReferences

YAW_EDGES_DEG = (0.0, 15.0, 30.0, 60.0, 90.0)
SIZE_EDGES_PX = (0.0, 16.0, 32.0, 64.0, 128.0, 256.0, inf)

WORST_FACES = 10
WRONG_DETECTIONS = 5
# Of the worst faces; the others were found and are those with the greatest errors.
_MOST_MISSED = 5
_ROTATION_SHOWN_DEG = 45.0
_LANDMARKS_SHOWN = 0.25
# What names of figures mean by these.
_WORDS = {
    "_at_50": " at IoU 0.5",
    "_at_75": " at IoU 0.75",
    "_deg_mean_missed_as_90": ", mean with missed as 90 (degrees)",
    "_deg_mean": ", mean (degrees)",
    "_deg_median": ", median (degrees)",
    "_mean": ", mean",
    "_median": ", median",
}


def yaw_deg(face: FaceResult) -> float:
    """How far a face is turned to the side in truth, 0 to 90 degrees."""
    angles = np.asarray(pose_to_euler(np.array([face.truth_pose])))[0]
    return abs(float(angles[1]))


def size_px(face: FaceResult) -> float:
    """Side of the square that is as large as the face's true box, in pixels of the picture."""
    left, top, right, bottom = face.truth_box
    return sqrt((right - left) * (bottom - top))


@dataclass(frozen=True)
class FaceBand:
    """Figures of the faces of one band; see `LandmarkSummary`.

    Attributes:
        band: Its limits in words.
        faces: How many.
        recall_at_50: Share of them.
        rotation_error_deg_mean: Of those found, None if there are none.
        rotation_error_deg_median: The same.
        landmark_error_mean: The same.
    """

    band: str
    faces: int
    recall_at_50: float
    rotation_error_deg_mean: float | None
    rotation_error_deg_median: float | None
    landmark_error_mean: float | None


def _band_name(low: float, high: float, unit: str) -> str:
    return f"{low:g} {unit} and more" if high == inf else f"{low:g} to {high:g} {unit}"


def faces_by_band(
    faces: Sequence[FaceResult], values: Sequence[float], edges: Sequence[float], unit: str
) -> list[FaceBand]:
    """Figures by band.

    Args:
        faces: Judged.
        values: What puts each into its band.
        edges: See `metrics.band_numbers`.
        unit: Of the values.

    Returns:
        The bands that hold faces, rising.
    """
    numbers = band_numbers(np.array(values, dtype=np.float64), edges)
    bands = []
    for number in sorted(set(numbers.tolist()) - {-1}):
        inside = [faces[face] for face in np.flatnonzero(numbers == number).tolist()]
        rotations = known_values(face.rotation_error_deg for face in inside)
        landmarks = known_values(face.landmark_error for face in inside)
        bands.append(
            FaceBand(
                _band_name(edges[number], edges[number + 1], unit),
                len(inside),
                sum(face.found_at_50 for face in inside) / len(inside),
                float(np.mean(rotations)) if rotations else None,
                float(np.median(rotations)) if rotations else None,
                float(np.mean(landmarks)) if landmarks else None,
            )
        )
    return bands


def figures_by_band(faces: Sequence[FaceResult]) -> dict[str, list[dict[str, Any]]]:
    """`by_yaw` and `by_face_size`, ready for JSON."""
    yaws, sizes = [yaw_deg(face) for face in faces], [size_px(face) for face in faces]
    return {
        "by_yaw": [asdict(b) for b in faces_by_band(faces, yaws, YAW_EDGES_DEG, "deg")],
        "by_face_size": [asdict(b) for b in faces_by_band(faces, sizes, SIZE_EDGES_PX, "px")],
    }


def _shown(value: Any, digits: int, unit: str = "") -> str:
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}{unit}"


def _bands_section(figures: dict[str, Any]) -> Section:
    names = {"by_yaw": "Yaw", "by_face_size": "Face size"}
    columns = ("faces", "recall", "rotation, mean", "rotation, median", "landmarks, mean")
    tables, plots = [], []
    for key, name in names.items():
        bands = figures[key]
        rows = [list(band.values()) for band in bands]
        tables.append(Table("", (name, *columns), rows, (None, None, 3, 2, 2, 4)))
        drawing = draw_bars(
            [band["band"].replace(" and more", " +") for band in bands],
            {
                "mean": [band["rotation_error_deg_mean"] for band in bands],
                "median": [band["rotation_error_deg_median"] for band in bands],
            },
            x_label=name.lower(),
            y_label="rotation error (degrees)",
            counts=[band["faces"] for band in bands],
        )
        plots.append(Plot(f"Rotation error by {name.lower()}", png_bytes(drawing)))
    note = (
        "Yaw is the true one without its sign. The size is the side of a square as large as the"
        " true box, in pixels of the picture as it is stored. Errors are of the faces found at"
        " IoU 0.5, rotation in degrees, landmarks over the outer eye distance."
    )
    return Section("By yaw and face size", [note], tables, plots)


def _curves_section(
    faces: Sequence[FaceResult], judged: Sequence[JudgedPicture], score_threshold: float
) -> Section:
    plots = [
        *_detection_plots(len(faces), judged, score_threshold),
        *_error_plots(faces),
    ]
    return Section("Curves", ["Faces that were not found count in all of them."], plots=plots)


def _detection_plots(
    faces: int, judged: Sequence[JudgedPicture], score_threshold: float
) -> Iterator[Plot]:
    scores = np.concatenate([np.empty(0), *(picture.scores for picture in judged)])
    correct = np.concatenate([np.empty(0, bool), *(picture.correct for picture in judged)])
    if not faces or not len(scores):
        return
    thresholds, precision, recall = precision_and_recall(scores, correct, faces)
    given = len(scores) - np.searchsorted(np.sort(scores), thresholds)
    wrong = given - recall * faces
    above = thresholds > score_threshold

    def split(x: np.ndarray, y: np.ndarray) -> list[Curve]:
        return [
            Curve(f"score above {score_threshold:g}", x[above], y[above]),
            Curve("below", x[~above], y[~above], dashed=True),
        ]

    drawing = draw_curves(
        split(recall, precision),
        x_label="recall",
        y_label="precision",
        x_range=(0, 1),
        y_range=(0, 1.02),
    )
    yield Plot("Precision over recall at IoU 0.5", png_bytes(drawing))
    drawing = draw_curves(
        split(wrong / len(judged), recall),
        x_label="false positives a picture",
        y_label="recall",
        y_range=(0, 1.02),
    )
    yield Plot("Recall over false positives at IoU 0.5", png_bytes(drawing))


def _error_plots(faces: Sequence[FaceResult]) -> Iterator[Plot]:
    errors = np.array(known_values(face.rotation_error_deg for face in faces))
    drawing = draw_curves(
        [Curve("", *cumulative_errors(errors, len(faces)), steps=True)],
        x_label="rotation error (degrees)",
        y_label="share of all faces",
        x_range=(0, _ROTATION_SHOWN_DEG),
        y_range=(0, 1.02),
    )
    yield Plot("Cumulative rotation error", png_bytes(drawing))
    of_truth = np.array(known_values(face.landmark_error_of_truth for face in faces))
    if len(of_truth):
        errors = np.array(known_values(face.landmark_error for face in faces))
        drawing = draw_curves(
            [
                Curve("predicted pose", *cumulative_errors(errors, len(of_truth)), steps=True),
                Curve(
                    "true pose",
                    *cumulative_errors(of_truth, len(of_truth)),
                    steps=True,
                    dashed=True,
                ),
            ],
            x_label="landmark error (share of the outer eye distance)",
            y_label="share of all faces with 68 points",
            x_range=(0, _LANDMARKS_SHOWN),
            y_range=(0, 1.02),
            marks={f"{LANDMARK_LIMIT:g}": LANDMARK_LIMIT},
        )
        note = "The true pose shows what a rigid face, fitted to the annotated points, leaves."
        yield Plot("Cumulative landmark error", png_bytes(drawing), note)


def worst_faces(judged: Sequence[JudgedPicture]) -> list[tuple[int, FaceResult]]:
    """The ten worst faces with their picture's number.

    First those not found, largest first, and at most five of them while there are others; then
    those with the greatest rotation errors.
    """
    everyone = [(number, face) for number, picture in enumerate(judged) for face in picture.faces]
    missed = sorted((f for f in everyone if not f[1].found_at_50), key=lambda f: -size_px(f[1]))
    found = sorted(
        (f for f in everyone if f[1].found_at_50), key=lambda f: -(f[1].rotation_error_deg or 0.0)
    )
    places = max(_MOST_MISSED, WORST_FACES - len(found))
    missed = missed[:places]
    return missed + found[: WORST_FACES - len(missed)]


def wrong_detections(
    judged: Sequence[JudgedPicture], score_threshold: float
) -> list[tuple[int, int, float]]:
    """The false positives with the highest scores: picture, detection and score of each.

    Args:
        judged: Pictures.
        score_threshold: They were judged with.
    """
    wrong = [
        (number, int(detection), float(score))
        for number, picture in enumerate(judged)
        for detection, score, correct in zip(
            picture.detections, picture.scores, picture.correct, strict=True
        )
        if not correct and score > score_threshold
    ]
    return sorted(wrong, key=lambda entry: -entry[2])[:WRONG_DETECTIONS]


def _face_caption(face: FaceResult) -> str:
    about = f"yaw {yaw_deg(face):.0f} deg, {size_px(face):.0f} px"
    if not face.found_at_50:
        return f"not found, best overlap {face.best_iou:.2f}; {about}"
    landmarks = "" if face.landmark_error is None else f", landmarks {face.landmark_error:.3f}"
    return (
        f"rotation {_shown(face.rotation_error_deg, 1, ' deg')}{landmarks},"
        f" score {_shown(face.score, 2)}; {about}"
    )


def _cases_sections(
    judged: Sequence[JudgedPicture],
    pictures: PictureSource,
    cache: PredictionCache,
    references: PoseReferences,
    score_threshold: float,
) -> Iterator[Section]:
    def draw(number: int, box: Sequence[float], *, box_is_truth: bool) -> np.ndarray:
        annotation, picture = pictures[number]
        found = cache[pictures.names[number]].as_detections().above(score_threshold)
        return face_cell(
            picture, annotation, found, references, np.array(box), box_is_truth=box_is_truth
        )

    yield Section(
        "The worst faces",
        [
            "The truth is green. Faces that were not found come first, the largest at the head,"
            " then the greatest rotation errors."
        ],
        cases=[
            Case(
                f"{face.image}, face {face.face}",
                draw(number, face.truth_box, box_is_truth=True),
                _face_caption(face),
            )
            for number, face in worst_faces(judged)
        ],
    )
    wrong = wrong_detections(judged, score_threshold)
    if wrong:
        names = pictures.names
        boxes = [cache[names[number]].boxes[detection] for number, detection, _ in wrong]
        yield Section(
            "False positives with the highest scores",
            ["In the middle of each picture: a detection that belongs to no annotated face."],
            cases=[
                Case(
                    pictures.annotation(number).image_path,
                    draw(number, box.tolist(), box_is_truth=False),
                    f"score {score:.2f}",
                )
                for (number, _, score), box in zip(wrong, boxes, strict=True)
            ],
        )


def _in_words(name: str) -> str:
    for abbreviation, words in _WORDS.items():
        name = name.replace(abbreviation, words)
    return name.replace("_", " ")


def _protocol_text(figures: LandmarkSummary, meanings: Mapping[str, Any]) -> list[str]:
    """What the protocol says of other things than single figures."""
    names = tuple(figures.to_dict())
    return [
        f"{_in_words(term).capitalize()}: {text}."
        for term, text in meanings.items()
        if not any(name.startswith(term) for name in names)
    ]


def _figure_rows(figures: LandmarkSummary, meanings: Mapping[str, Any]) -> list[list[Cell]]:
    """Every figure with its meaning, which is not said again of those alike below it."""
    rows: list[list[Cell]] = []
    said: set[str] = set()
    for name, value in figures.to_dict().items():
        terms = [term for term in meanings if name.startswith(term)]
        term = max(terms, key=len, default="")
        rows.append([_in_words(name), value, "" if term in said else meanings.get(term, "")])
        said.add(term)
    return rows


def landmark_report(
    title: str,
    subtitle: str,
    evaluation: LandmarkEvaluation,
    judged: Sequence[JudgedPicture],
    pictures: PictureSource,
    cache: PredictionCache,
    references: PoseReferences,
    summary: Summary,
) -> Report:
    """The report of an evaluation.

    Args:
        title: Its head.
        subtitle: Which model on which data.
        evaluation: All figures.
        judged: One for each of the pictures, in their order.
        pictures: What was judged; the worst cases are read again.
        cache: What was found in them.
        references: The reference face of the poses.
        summary: With the figures of `LandmarkSummary` and `figures_by_band`.

    Raises:
        InputError: A picture is damaged or missing.
    """
    figures, faces = evaluation.summary, evaluation.faces
    median_ms = summary.seconds["inference_median"]
    table = Table("", ("figure", "value", "meaning"), _figure_rows(figures, summary.protocol))
    return Report(
        title,
        subtitle,
        [
            ("recall at IoU 0.5", _shown(figures.recall_at_50, 3)),
            ("average precision", _shown(figures.average_precision_at_50, 3)),
            ("false positives a picture", _shown(figures.false_positives_per_picture, 2)),
            ("rotation error, mean", _shown(figures.rotation_error_deg_mean, 2, "\N{DEGREE SIGN}")),
            ("landmark error, mean", _shown(figures.landmark_error_mean, 4)),
            (
                "time a picture, median",
                _shown(None if median_ms is None else 1e3 * median_ms, 0, " ms"),
            ),
        ],
        [
            Section("Figures", _protocol_text(figures, summary.protocol), [table]),
            _curves_section(faces, judged, figures.score_threshold),
            *([_bands_section(dict(summary.figures))] if faces else []),
            *(
                _cases_sections(judged, pictures, cache, references, figures.score_threshold)
                if faces or figures.false_positives
                else []
            ),
        ],
        summary.facts(),
    )
