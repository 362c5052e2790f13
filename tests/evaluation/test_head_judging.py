"""Predictions against benchmarks from end to end, and what reports show of them."""

from __future__ import annotations

import html
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from img2pose.data.biwi import find_frames
from img2pose.detections import FaceDetections
from img2pose.evaluation.head_cases import case_caption, draw_case
from img2pose.evaluation.head_judging import judge_heads
from img2pose.evaluation.head_pose import AngleFigures, HeadPoses, head_errors, summarise
from img2pose.evaluation.head_report import (
    PublishedFigures,
    angle_table,
    draw_plots,
    landmark_table,
    left_out_table,
    report_sections,
    translation_table,
    worst_cases,
    yaw_band_table,
)
from img2pose.evaluation.head_sets import HeadSet, fit_truths, read_aflw2000, read_biwi
from img2pose.evaluation.predictions import Prediction, PredictionCache
from img2pose.evaluation.report import Report, render_html
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.images import read_image
from img2pose.references import PoseReferences
from tests import aflw2000_faces, biwi_frames

PUBLISHED = PublishedFigures(13219, AngleFigures(4.567, 3.546, 3.244, 3.786))


def detections_of(
    poses: np.ndarray, scores: list[float], size_hw: tuple[int, int], references: PoseReferences
) -> FaceDetections:
    camera = image_intrinsics(*size_hw)
    poses = np.reshape(poses, (-1, 6))
    boxes = boxes_from_points(project_points(references.points_68, poses, camera), poses, size_hw)
    return FaceDetections(poses, boxes, np.array(scores), camera, size_hw)


def decoy(pose: np.ndarray) -> np.ndarray:
    """Another face, in the picture's left top corner."""
    return np.array([0.5, 0.5, 0.5, -0.25 * pose[5], -0.2 * pose[5], pose[5]])


@pytest.fixture(scope="module")
def biwi(tmp_path_factory: pytest.TempPathFactory) -> tuple[HeadSet, np.ndarray]:
    folder = tmp_path_factory.mktemp("biwi")
    poses = biwi_frames.biwi_poses(4)
    biwi_frames.write_biwi(folder, poses)
    return read_biwi(find_frames(folder)), poses


@pytest.fixture(scope="module")
def aflw2000(tmp_path_factory: pytest.TempPathFactory) -> tuple[HeadSet, np.ndarray]:
    folder = tmp_path_factory.mktemp("aflw2000")
    poses = biwi_frames.biwi_poses(3, seed=6)
    aflw2000_faces.write_aflw2000(folder, poses, PoseReferences.default())
    return read_aflw2000(folder), poses


def test_perfect_predictions_have_no_error_on_biwi(
    biwi: tuple[HeadSet, np.ndarray], tmp_path: Path, references: PoseReferences
) -> None:
    heads, poses = biwi
    cache = PredictionCache.open(tmp_path / "cache", {"model": "perfect"})
    for name, pose in zip(heads.images, poses, strict=True):
        # The decoy is as sure, and first.
        found = detections_of([decoy(pose), pose], [0.99, 0.95], biwi_frames.SIZE_HW, references)
        cache.add(name, Prediction.from_detections(found), 0.01)
    cache.close()
    again = PredictionCache.open(tmp_path / "cache", {"model": "perfect"})
    truths, left_out = fit_truths(heads, references)
    judged = judge_heads(truths, {n: again[n].as_detections() for n in heads.images}, references)
    assert left_out == []
    assert judged.errors.euler_deg.max() < 1e-6
    assert judged.errors.rotation_deg.max() < 1e-5
    assert np.abs(judged.euler_deg[:, 1]).max() > 30
    assert judged.summary.missed == 0
    assert judged.found_at_iou_50 is None
    assert judged.summary.found_only.translation is None


def test_perfect_predictions_have_no_error_on_aflw2000(
    aflw2000: tuple[HeadSet, np.ndarray], references: PoseReferences
) -> None:
    heads, poses = aflw2000
    found = {
        # The face itself has the lower score.
        name: detections_of([decoy(p), p], [0.9, 0.1], aflw2000_faces.SIZE_HW, references)
        for name, p in zip(heads.images, poses, strict=True)
    }
    truths, _ = fit_truths(heads, references)
    judged = judge_heads(truths, found, references)
    assert judged.errors.euler_deg.max() < 1e-6
    assert judged.errors.rotation_deg.max() < 1e-5
    assert judged.errors.translations.max() < 1e-3
    assert judged.errors.landmarks_by_box.max() < 1e-9
    assert judged.scores.tolist() == [0.1] * 3
    # Box and points agree but for the inclusive sides.
    assert judged.ious.min() > 0.99
    assert judged.found_at_iou_50 == 3
    assert judged.summary.found_only.landmarks_by_box.area_under_curve == pytest.approx(1)


def test_a_face_that_nothing_touches_and_a_picture_without_faces_are_missed(
    aflw2000: tuple[HeadSet, np.ndarray], references: PoseReferences
) -> None:
    heads, poses = aflw2000
    size_hw = aflw2000_faces.SIZE_HW
    names = list(heads.images)
    # Small and far off in the corner.
    corner = np.array([0, 0, 0, -12, -12, 30.0])
    found = {
        names[0]: detections_of([corner], [0.99], size_hw, references),
        names[1]: detections_of([], [], size_hw, references),
        names[2]: detections_of([poses[2]], [0.5], size_hw, references),
    }
    truths, _ = fit_truths(heads, references)
    judged = judge_heads(truths, found, references)
    assert judged.errors.found.tolist() == [False, False, True]
    assert (judged.summary.missed, judged.summary.found_only.faces) == (2, 1)
    assert judged.summary.found_only.rotation_deg_mean < 1e-5
    assert judged.summary.missed_counted.rotation_deg_mean == pytest.approx(60)
    assert judged.summary.missed_counted.landmarks_by_box.mean == pytest.approx(2 / 3)
    assert judged.found_at_iou_50 == 1
    rows = judged.rows()
    assert [row["found"] for row in rows] == [0, 0, 1]
    assert rows[0]["yaw_deg"] is rows[0]["score"] is rows[0]["landmark_error_by_box"] is None
    assert rows[2]["true_yaw_deg"] == pytest.approx(rows[2]["yaw_deg"], abs=1e-6)
    assert judged.worst(2) == [0, 1]
    assert case_caption(judged, 0).startswith("not found; true yaw ")
    assert case_caption(judged, 2).startswith("rotation 0.0 deg off; true yaw ")


def test_two_faces_of_a_picture_are_judged_each(
    aflw2000: tuple[HeadSet, np.ndarray], references: PoseReferences
) -> None:
    heads, poses = aflw2000
    truth = fit_truths(heads, references)[0][0]
    twin = [truth, truth]
    found = {truth.image: detections_of([poses[0]], [0.5], aflw2000_faces.SIZE_HW, references)}
    judged = judge_heads(twin, found, references)
    # One detection may serve both: the protocol knows no false positives.
    assert judged.errors.found.tolist() == [True, True]


def test_a_pose_in_the_camera_has_finite_errors(
    aflw2000: tuple[HeadSet, np.ndarray], references: PoseReferences
) -> None:
    heads, _ = aflw2000
    truth = fit_truths(heads, references)[0][0]
    size_hw = aflw2000_faces.SIZE_HW
    poses = np.zeros((1, 6))
    box = truth.box_xyxy[None]
    found = FaceDetections(poses, box, np.ones(1), image_intrinsics(*size_hw), size_hw)
    judged = judge_heads([truth], {truth.image: found}, references)
    assert np.isfinite(judged.errors.landmarks_by_box).all()
    assert judged.summary.missed_counted.landmarks_by_box.mean == 1


@pytest.mark.parametrize("which", ["aflw2000", "biwi"])
@pytest.mark.parametrize("is_found", [True, False])
def test_cases_show_truth_and_prediction(
    which: str, is_found: bool, references: PoseReferences, request: pytest.FixtureRequest
) -> None:
    heads, poses = request.getfixturevalue(which)
    size_hw = {"aflw2000": aflw2000_faces, "biwi": biwi_frames}[which].SIZE_HW
    name = next(iter(heads.images))
    truth = fit_truths(heads, references)[0][0]
    found = detections_of(
        poses[:1] if is_found else [], [0.9][: int(is_found)], size_hw, references
    )
    judged = judge_heads([truth], {name: found}, references)
    picture = read_image(heads.images[name])
    before = picture.copy()
    case = draw_case(picture, judged, 0, references, cell=100)
    assert case.shape == (200, 100, 3)
    np.testing.assert_array_equal(picture, before)
    plain = draw_case(np.zeros_like(picture), judged, 0, references, cell=100)
    # Below the captions, over black. BIWI says where a head is turned, not where it is: its truth
    # is drawn at the place of the prediction, or nowhere.
    truth_is_drawn, prediction_is_drawn = (plain[y : y + 60].max() > 200 for y in (40, 140))
    assert truth_is_drawn == (which == "aflw2000" or is_found)
    assert prediction_is_drawn == is_found


@pytest.mark.parametrize("which", ["aflw2000", "biwi"])
@pytest.mark.parametrize("found_count", [0, 2])
def test_tables_plots_and_sections(
    which: str, found_count: int, references: PoseReferences, request: pytest.FixtureRequest
) -> None:
    heads, poses = request.getfixturevalue(which)
    size_hw = {"aflw2000": aflw2000_faces, "biwi": biwi_frames}[which].SIZE_HW
    found = {
        name: detections_of(
            poses[number : number + 1] if number < found_count else [],
            [0.9] if number < found_count else [],
            size_hw,
            references,
        )
        for number, name in enumerate(heads.images)
    }
    truths, left_out = fit_truths(heads, references)
    judged = judge_heads(truths, found, references)
    summary = judged.summary
    angles = angle_table(summary, PUBLISHED)
    assert [row[1] for row in angles.rows] == [found_count, len(truths), 13219]
    assert angles.rows[-1][2:6] == [4.567, 3.546, 3.244, 3.786]
    has_points = which == "aflw2000"
    assert (translation_table(summary, PUBLISHED) is not None) == has_points
    assert (landmark_table(summary) is not None) == has_points
    assert ("landmarks" in yaw_band_table(summary).columns) == has_points
    bands = yaw_band_table(summary).rows
    assert sum(row[2] for row in bands) == found_count + len(truths)
    plots = draw_plots(judged)
    assert set(plots) == {"rotation_error_curve", "errors_by_yaw", "angles"} | (
        {"landmark_error_curve"} if has_points else set()
    )
    assert all(plot.png.startswith(b"\x89PNG") for plot in plots.values())
    cases = worst_cases(judged, lambda name: read_image(heads.images[name]), references)
    assert len(cases) == len(truths)
    assert cases[0].caption.startswith("not found")
    table = left_out_table(left_out, {"pictures without labels": 2, "others": 0})
    assert table.rows == [["pictures without labels", 2]]
    sections = report_sections(
        judged, PUBLISHED, table, list(plots.values()), cases, heads.protocol
    )
    page = render_html(Report("Heads", sections=sections))
    assert "img2pose, published" in page
    assert heads.protocol["selection"] in html.unescape(page)


def test_wrapped_angles_are_shown_where_they_differ() -> None:
    truth = HeadPoses(np.array([[0.0, 0, 179]]), np.eye(3)[None])
    errors = head_errors(truth, np.zeros((1, 6)))
    assert len(angle_table(summarise(errors, None), PUBLISHED).rows) == 3
    beyond = replace(
        errors, euler_deg=np.array([[0.0, 0, 358]]), euler_wrapped_deg=np.full((1, 3), 2.0)
    )
    table = angle_table(summarise(beyond, None), PUBLISHED)
    assert [row[0] for row in table.rows[2:4]] == [f"{row[0]}, wrapped" for row in table.rows[:2]]
    assert (table.rows[0][4], table.rows[2][4]) == (358, 2)
