"""Gathers what was found in single pictures, adds what shows only in all of them, and tells it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from img2pose.data.checks.faces import HIGH_ERROR, OUTLIER_ERROR
from img2pose.data.checks.findings import CHECKS, Problem, Severity
from img2pose.data.checks.sources import PictureReport, StoreSource
from img2pose.data.store import StoreMeta
from img2pose.errors import InputError
from img2pose.geometry import pose_to_euler
from img2pose.types import PoseStats

_POSE_PARTS = ("rx", "ry", "rz", "tx", "ty", "tz")
_ANGLES = ("pitch", "yaw", "roll")
_ANGLE_EDGES_DEG = np.arange(-180, 181, 15)
_ERROR_EDGES = np.append(np.arange(0, 0.41, 0.02), np.inf)
_SIZE_EDGES = np.array([0, 8, 16, 32, 64, 128, 256, 512, np.inf])
_FACES_EDGES = np.array([0, 1, 2, 3, 5, 10, 20, 50, 100, np.inf])
_MOST_EXAMPLES = 100
_BAR_LENGTH = 40
_PERCENTILES = {"median": 50, "p95": 95, "p99": 99, "max": 100}
# Relative to the standard deviation: what another order of summation may move.
_STATISTICS_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Example:
    """Where something was found.

    Attributes:
        place: Annotation file or record.
        face: Index of the face; None for the whole picture.
        detail: Figures.
    """

    place: str
    face: int | None
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"place": self.place, "face": self.face, "detail": self.detail}

    def __str__(self) -> str:
        face = "" if self.face is None else f" face {self.face}"
        return f"{self.place}{face}: {self.detail}"


@dataclass
class _Found:
    """The findings of one check; further examples are only counted."""

    count: int = 0
    pictures: int = 0
    last_place: str | None = None
    examples: list[Example] = field(default_factory=list)

    def add(self, place: str, problem: Problem) -> None:
        self.count += 1
        if place != self.last_place:
            self.pictures += 1
            self.last_place = place
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(Example(place, problem.face, problem.detail))


@dataclass(frozen=True, order=True)
class WorstFace:
    """A face by its reprojection error.

    Attributes:
        error: RMS distance over the extent of the landmarks.
        index: The picture's, in the source.
        face: Index in the picture.
    """

    error: float
    index: int
    face: int


def _histogram(values: np.ndarray, edges: np.ndarray) -> dict[str, list[Any]]:
    counts = np.histogram(values, edges)[0].tolist()
    return {"edges": [None if np.isinf(edge) else float(edge) for edge in edges], "counts": counts}


def _percentiles(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"count": 0}
    summary = {name: float(np.percentile(values, at)) for name, at in _PERCENTILES.items()}
    return {"count": len(values), "mean": float(values.mean()), **summary}


class DatasetReport:
    """Everything that was found; pictures are added in order.

    Args:
        worst_count: How many of the faces with the greatest error are remembered.

    Attributes:
        pictures: How many were added.
        decoded: How many of them could be read.
    """

    def __init__(self, worst_count: int = 24) -> None:
        self.pictures = 0
        self.decoded = 0
        self._worst_count = worst_count
        self._worst: list[WorstFace] = []
        self._found = {name: _Found() for name in CHECKS}
        self._first_places: dict[tuple[str, str | bytes], str] = {}
        self._faces_a_picture: list[int] = []
        self._posed_a_picture: list[int] = []
        self._faces: dict[str, list[np.ndarray]] = {}

    def note(self, check: str, place: str, detail: str, face: int | None = None) -> None:
        """Adds a finding that belongs to no single picture's report."""
        self._found[check].add(place, Problem(check, face, detail))

    def add(self, report: PictureReport) -> None:
        """Adds the next picture."""
        for problem in report.problems:
            self._found[problem.check].add(report.place, problem)
        self._check_repeated(report)
        index = self.pictures
        self.pictures += 1
        self.decoded += report.decoded
        posed = np.isfinite(report.poses_in_image).all(1)
        self._faces_a_picture.append(len(report.boxes_xyxy))
        self._posed_a_picture.append(int(posed.sum()))
        with np.errstate(all="ignore"):
            extent = report.boxes_xyxy[:, 2:] - report.boxes_xyxy[:, :2]
            sizes = np.sqrt(extent.clip(0).prod(1))
        for name, values in (
            ("sizes", sizes),
            ("posed", posed),
            ("counts", report.landmark_counts),
            ("in_image", report.poses_in_image),
            ("in_box", report.poses_in_box),
            ("errors", report.errors),
            ("differences", report.differences_deg),
        ):
            self._faces.setdefault(name, []).append(values)
        for face in np.flatnonzero(np.isfinite(report.errors)).tolist():
            worst = WorstFace(float(report.errors[face]), index, face)
            if len(self._worst) < self._worst_count:
                heapq.heappush(self._worst, worst)
            elif self._worst_count:
                heapq.heappushpop(self._worst, worst)

    def _check_repeated(self, report: PictureReport) -> None:
        """The most specific of: same annotation, same picture file, same bytes."""
        finding = None
        for check, identity in (
            ("annotation_repeated", report.annotation_path),
            ("image_repeated", report.image_path),
            ("image_copied", report.digest),
        ):
            if not identity:
                continue
            first = self._first_places.get((check, identity))
            if first is None:
                self._first_places[check, identity] = report.place
            elif finding is None:
                finding = Problem(check, None, f"first: {first}")
        if finding is not None:
            self._found[finding.check].add(report.place, finding)

    def _values(self, name: str, width: int | None = None) -> np.ndarray:
        empty = np.empty(0) if width is None else np.empty((0, width))
        return np.concatenate([empty, *self._faces.get(name, [])])

    @property
    def worst(self) -> list[WorstFace]:
        """The faces with the greatest reprojection error, worst first."""
        return sorted(self._worst, reverse=True)

    @property
    def errors(self) -> int:
        """Findings that are errors."""
        return self._count("error")

    @property
    def warnings(self) -> int:
        """Findings that are warnings."""
        return self._count("warning")

    def _count(self, severity: Severity) -> int:
        return sum(f.count for name, f in self._found.items() if CHECKS[name].severity == severity)

    def reprojection_errors(self) -> np.ndarray:
        """(M,) of all faces that have one."""
        errors = self._values("errors")
        finite: np.ndarray = errors[np.isfinite(errors)]
        return finite

    def landmark_counts(self) -> np.ndarray:
        """(M,) 5 or 68, of the faces of `reprojection_errors`."""
        counts: np.ndarray = self._values("counts")[np.isfinite(self._values("errors"))]
        return counts.astype(int)

    def poses_in_box(self) -> np.ndarray:
        """(M, 6) of all posed faces."""
        poses = self._values("in_box", 6)
        posed: np.ndarray = poses[np.isfinite(poses).all(1)]
        return posed

    def counts(self) -> dict[str, int]:
        """How much there is of everything."""
        faces, posed = np.array(self._faces_a_picture), np.array(self._posed_a_picture)
        landmarks = self._values("counts")
        return {
            "pictures": self.pictures,
            "pictures_decoded": self.decoded,
            "pictures_without_faces": int((faces == 0).sum()),
            "pictures_without_posed_face": int((posed == 0).sum()),
            "faces": int(faces.sum()),
            "faces_with_pose": int(posed.sum()),
            "faces_without_pose": int(faces.sum() - posed.sum()),
            "faces_with_68_points": int((landmarks == 68).sum()),
            "faces_with_5_points": int((landmarks == 5).sum()),
        }

    def check_store(self, source: StoreSource) -> None:
        """Adds what concerns a store as a whole, once all its records were added."""
        store = source.store
        seen: set[str] = set()
        for index in range(len(store)):
            key = store.key(index)
            if key in seen:
                self.note("key_repeated", source.place(index), f"position {index} of the list")
            seen.add(key)
        if store.meta is not None:
            self._check_note(store.meta, source)
        self._check_statistics(source.path)

    def _check_note(self, meta: StoreMeta, source: StoreSource) -> None:
        counts = self.counts()
        for name, noted, held in (
            ("images", meta.images, counts["pictures"]),
            ("faces", meta.faces, counts["faces"]),
            ("posed faces", meta.posed_faces, counts["faces_with_pose"]),
        ):
            if noted != held:
                detail = f"{name}: the note says {noted}, the records hold {held}"
                self.note("note_miscounts", str(source.path), detail)
        if not source.references_agree:
            detail = (
                f"labels: {meta.references_name} ({meta.references_sha256[:12]}), given:"
                f" {source.references.sha256[:12]}; give --threed_68_points and --threed_5_points"
            )
            self.note("references_differ", str(source.path), detail)

    def _check_statistics(self, path: Path) -> None:
        files = [path.with_name(f"{path.stem}_pose_{part}.npy") for part in ("mean", "stddev")]
        if not any(file.exists() for file in files):
            return
        try:
            stats = PoseStats.from_files(*files)
        except InputError as error:
            self.note("statistics_unreadable", str(path), str(error))
            return
        poses = self.poses_in_box()
        if not len(poses):
            self.note("statistics_differ", str(path), "the store holds no poses")
            return
        mean, stddev = poses.mean(0), poses.std(0)
        for file, stated, found in zip(
            files, (stats.mean, stats.stddev), (mean, stddev), strict=True
        ):
            tolerance = _STATISTICS_TOLERANCE * stddev + 1e-9
            for part in np.flatnonzero(np.abs(stated - found) > tolerance):
                detail = f"{_POSE_PARTS[part]}: file {stated[part]:.6g}, poses {found[part]:.6g}"
                self.note("statistics_differ", str(file), detail)

    def _poses(self) -> dict[str, Any]:
        poses = self.poses_in_box()
        in_image = self._values("in_image", 6)
        in_image = in_image[np.isfinite(in_image).all(1)]
        if not len(poses):
            return {"mean_in_box": None, "stddev_in_box": None, "angles_deg": {}}
        angles = np.asarray(pose_to_euler(in_image))
        return {
            "mean_in_box": poses.mean(0).tolist(),
            "stddev_in_box": poses.std(0).tolist(),
            "angles_deg": {
                name: {
                    "mean": float(values.mean()),
                    "stddev": float(values.std()),
                    "min": float(values.min()),
                    "max": float(values.max()),
                    "histogram": _histogram(values, _ANGLE_EDGES_DEG),
                }
                for name, values in zip(_ANGLES, angles.T, strict=True)
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; every check is there, with 0 where nothing was found."""
        errors, landmarks = self.reprojection_errors(), self.landmark_counts()
        differences = self._values("differences")
        return {
            "errors": self.errors,
            "warnings": self.warnings,
            "counts": self.counts(),
            "checks": {
                name: {
                    "severity": CHECKS[name].severity,
                    "meaning": CHECKS[name].meaning,
                    "count": found.count,
                    "pictures": found.pictures,
                    "examples": [example.to_dict() for example in found.examples],
                }
                for name, found in self._found.items()
            },
            "poses": self._poses(),
            "reprojection_error": {
                str(count): {
                    **_percentiles(errors[landmarks == count]),
                    "high_above": HIGH_ERROR[count],
                    "outlier_above": OUTLIER_ERROR[count],
                    "histogram": _histogram(errors[landmarks == count], _ERROR_EDGES),
                }
                for count in HIGH_ERROR
            },
            "rotation_against_refit_deg": _percentiles(differences[np.isfinite(differences)]),
            "faces_a_picture": _histogram(np.array(self._faces_a_picture), _FACES_EDGES),
            "face_size_px": _histogram(self._values("sizes"), _SIZE_EDGES),
        }

    def to_text(self, examples: int = 5) -> str:
        """For readers.

        Args:
            examples: Of each check, at most 100.
        """
        content = self.to_dict()
        parts = [
            _findings_text("error", self._found, examples),
            _findings_text("warning", self._found, examples),
            _counts_text(content["counts"]),
            _bars("faces a picture", content["faces_a_picture"], whole=True),
            _bars("face size, sqrt(width x height) of the box, px", content["face_size_px"]),
            *_poses_text(content["poses"]),
            *_errors_text(content),
        ]
        return "\n\n".join(part for part in parts if part)


def _findings_text(severity: Severity, found: dict[str, _Found], examples: int) -> str:
    checks = [(name, f) for name, f in found.items() if CHECKS[name].severity == severity]
    total = sum(f.count for _, f in checks)
    lines = [f"{severity}s: {total}"]
    for name, f in checks:
        if not f.count:
            continue
        pictures = f" in {f.pictures} pictures" if f.pictures != f.count else ""
        lines.append(f"  {f.count} {name}{pictures}: {CHECKS[name].meaning}")
        lines += [f"    {example}" for example in f.examples[:examples]]
        if f.count > examples:
            lines.append(f"    ... and {f.count - min(examples, len(f.examples))} more")
    return "\n".join(lines)


def _counts_text(counts: dict[str, int]) -> str:
    return "\n".join(f"{name.replace('_', ' '):<28}{count:>9}" for name, count in counts.items())


def _bars(title: str, histogram: dict[str, list[Any]], *, whole: bool = False) -> str:
    """A histogram in letters, without the empty bins at its ends."""
    counts, edges = histogram["counts"], histogram["edges"]
    filled = [index for index, count in enumerate(counts) if count]
    if not filled:
        return ""
    longest = max(counts)
    lines = [f"{title}:"]
    for index in range(filled[0], filled[-1] + 1):
        low, high = edges[index], edges[index + 1]
        if high is None:
            label = f"{low:g} or more"
        elif whole:
            label = f"{low:g}" if high == low + 1 else f"{low:g} to {high - 1:g}"
        else:
            label = f"{low:g} to {high:g}"
        bar = "#" * -(-_BAR_LENGTH * counts[index] // longest)
        lines.append(f"  {label:>14} {counts[index]:>8} {bar}".rstrip())
    return "\n".join(lines)


def _poses_text(poses: dict[str, Any]) -> Iterable[str]:
    if poses["mean_in_box"] is None:
        return
    lines = [f"poses in their boxes {''.join(f'{part:>10}' for part in _POSE_PARTS)}"]
    for name in ("mean", "stddev"):
        lines.append(f"  {name:<19}{_numbers(poses[f'{name}_in_box'])}")
    yield "\n".join(lines)
    for name, angle in poses["angles_deg"].items():
        title = (
            f"{name}, degrees (mean {angle['mean']:.1f}, standard deviation {angle['stddev']:.1f},"
            f" {angle['min']:.1f} to {angle['max']:.1f})"
        )
        yield _bars(title, angle["histogram"])


def _numbers(values: Sequence[float]) -> str:
    return "".join(f"{value:>10.4f}" for value in values)


def _errors_text(content: dict[str, Any]) -> Iterable[str]:
    for count, errors in content["reprojection_error"].items():
        if not errors["count"]:
            continue
        title = (
            f"reprojection error, RMS over the extent of the {count} points (mean"
            f" {errors['mean']:.4f}, median {errors['median']:.4f}, 99 % {errors['p99']:.4f}, max"
            f" {errors['max']:.4f}; high above {errors['high_above']}, outlier above"
            f" {errors['outlier_above']})"
        )
        yield _bars(title, errors["histogram"])
    refit = content["rotation_against_refit_deg"]
    if refit["count"]:
        yield (
            f"labels' rotation against a fit to the landmarks, degrees: mean {refit['mean']:.2f},"
            f" median {refit['median']:.2f}, 99 % {refit['p99']:.2f}, max {refit['max']:.2f}"
            f" ({refit['count']} faces)"
        )
