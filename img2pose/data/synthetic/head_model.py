"""The committed identity and expression model, and what is derived from its mesh once a process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from img2pose.references import MESH_FILE, references_folder
from sim3dr import Mesh, rasterize, vertex_normals
from sim3dr.compilation import compiled, f4, f8, i4, i8, read, written

MODEL_FILE = "identity_expression_model.npz"

SKULL_CENTER = np.array([0.0, -0.45, 0.45])
"""Middle of the skull in the mean head's frame, from which hair and hats are laid out."""

AZIMUTHS = 64
ELEVATIONS = 48
LOWEST_ELEVATION_DEG = -70.0
# At the crown itself all azimuths would meet in one point; a little beside it they do not.
HIGHEST_ELEVATION_DEG = 89.5
_OPENNESS_VIEWS = 96
_OPENNESS_PICTURE = 200
# Reference units; a vertex nearer than this behind what a view shows is seen by it.
_OPENNESS_SLACK = 0.02
_COARSE_CELL = 0.16
# Openness of vertices that may be seen, and reference units.
_SEEN_FROM_OUTSIDE = 0.10
_TUCK = 0.09


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """A head's mesh at one level of detail.

    Attributes:
        mean: (V, 3) float32.
        fine_indices: (V,) vertices of the fine mesh that these are.
        triangles: (T, 3) int32 of skin and tongue, front sides clockwise.
        is_face: (T,) bool: between hairline, ears and chin.
        eye_indices: (E,) vertices of the eyes.
        eye_triangles: (S, 3) int32 into those.
        masks: by name (V,) float32 in 0..1: lips, eyelids, ears, inside-mouth.
        openness: (V,) float32 share of directions in which a vertex sees the sky.
        is_tongue: (V,) bool.
        flush: (V,) where blood shows: cheeks, nose, chin, ears.
        socket: (V,) the thin skin around the eyes.
        shiny: (V,) factor on the skin's highlights.
        azimuth_deg: (V,) around `SKULL_CENTER`, 0 at the front.
        elevation_deg: (V,) likewise, 90 at the crown.
    """

    mean: np.ndarray
    fine_indices: np.ndarray
    triangles: np.ndarray
    is_face: np.ndarray
    eye_indices: np.ndarray
    eye_triangles: np.ndarray
    masks: dict[str, np.ndarray]
    openness: np.ndarray
    is_tongue: np.ndarray
    flush: np.ndarray
    socket: np.ndarray
    shiny: np.ndarray
    azimuth_deg: np.ndarray
    elevation_deg: np.ndarray


@dataclass(frozen=True, eq=False)
class HeadModel:
    """Heads, fine and coarse.

    Attributes:
        fine: All vertices.
        coarse: Some of them, for heads of few pixels.
        identities: (50, V * 3) float32 components over the fine vertices.
        expressions: (52, V * 3) float32.
        expression_names: (52,) names in order.
        landmark_indices: (68,) vertices of `fine`.
        tuck: (V,) how far the walls of mouth and nostrils are drawn back, so that no shape makes
            them come through the skin before them; 0 on all that is seen.
        eye_center: (3,) of the eye with x > 0.
        skull_corners: (AZIMUTHS, ELEVATIONS, 3) vertices of `fine` around each place of the skull
            seen from `SKULL_CENTER`; azimuth from the front to the picture's right and on around,
            elevation from `LOWEST_ELEVATION_DEG` to `HIGHEST_ELEVATION_DEG`, the crown.
        skull_weights: The same shape; their weights.
    """

    fine: HeadMesh
    coarse: HeadMesh
    identities: np.ndarray
    expressions: np.ndarray
    expression_names: tuple[str, ...]
    landmark_indices: np.ndarray
    tuck: np.ndarray
    eye_center: np.ndarray
    skull_corners: np.ndarray
    skull_weights: np.ndarray

    def shape(self, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Vertices of a head.

        Args:
            identity: (50,) coefficients; those of adults have a standard deviation of 1.
            expression: (52,) in 0..1.

        Returns:
            (V, 3) float64 fine vertices in the reference frame.
        """
        flat = self.fine.mean.reshape(-1).copy()
        _add_components(identity.astype(np.float32), self.identities, flat)
        _add_components(expression.astype(np.float32), self.expressions, flat)
        vertices: np.ndarray = flat.reshape(-1, 3).astype(np.float64)
        vertices[:, 2] += self.tuck
        return vertices

    def skull(self, vertices: np.ndarray) -> np.ndarray:
        """(AZIMUTHS, ELEVATIONS, 3) points of a person's skull, from the fine vertices."""
        corners = vertices[self.skull_corners]
        points: np.ndarray = np.einsum("aecx,aec->aex", corners, self.skull_weights)
        return points


def _views(count: int) -> np.ndarray:
    """(N, 3) directions evenly spread over the sphere."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    turn = math.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), height, radius * np.sin(turn)], axis=1)


def view_frame(direction: np.ndarray) -> np.ndarray:
    """(3, 3) rotation whose last row is the direction that one looks in."""
    forward = direction / np.linalg.norm(direction)
    side = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.9 else [1.0, 0.0, 0.0], forward)
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(forward, side), forward])


def _openness(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V,) share of the half space above each vertex that nothing hides, weighted by cosine."""
    normals = vertex_normals(vertices, triangles)
    seen, possible = np.zeros(len(vertices)), np.zeros(len(vertices))
    size = _OPENNESS_PICTURE
    for direction in _views(_OPENNESS_VIEWS):
        turned = vertices @ view_frame(direction).T
        low, high = turned.min(0), turned.max(0)
        scale = (size - 1) / (high - low)[:2].max()
        screen = np.column_stack([(turned[:, :2] - low[:2]) * scale, turned[:, 2]])
        drawn = rasterize(Mesh(screen, triangles), size, size, cull_back=False, threads=1)
        column, row = np.rint(screen[:, :2]).astype(int).T
        visible = drawn.depth[row, column] > screen[:, 2] - _OPENNESS_SLACK
        weight = np.maximum(-(normals @ direction), 0)
        seen += weight * visible
        possible += weight
    result: np.ndarray = (seen / np.maximum(possible, 1e-9)).astype(np.float32)
    return result


@compiled(read(f4, 1), read(f4, 2), written(f4, 1))
def _add_components(coefficients: Any, components: Any, flat: Any) -> None:
    """Adds components (K, N) that have a coefficient (K,) to (N,).

    A matrix product would let BLAS start threads of its own in every worker process.
    """
    for number in range(len(coefficients)):
        factor = coefficients[number]
        if factor != 0.0:
            for place in range(len(flat)):
                flat[place] += factor * components[number, place]


@compiled(read(f8, 2), read(i4, 2), read(f8, 1), read(f8, 2), written(i8, 1), written(f8, 2))
def _farthest_hits(
    vertices: Any, triangles: Any, origin: Any, directions: Any, hit: Any, weights: Any
) -> None:
    """The last triangle that each ray (R, 3) pierces, -1 if none, and weights of its corners."""
    for ray in range(len(directions)):
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        hit[ray] = -1
        farthest = 0.0
        for triangle in range(len(triangles)):
            i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
            ux, uy, uz = vertices[j, 0] - ax, vertices[j, 1] - ay, vertices[j, 2] - az
            vx, vy, vz = vertices[k, 0] - ax, vertices[k, 1] - ay, vertices[k, 2] - az
            cx, cy, cz = dy * vz - dz * vy, dz * vx - dx * vz, dx * vy - dy * vx
            volume = ux * cx + uy * cy + uz * cz
            if abs(volume) < 1e-12:
                continue
            ox, oy, oz = origin[0] - ax, origin[1] - ay, origin[2] - az
            second = (ox * cx + oy * cy + oz * cz) / volume
            if second < -1e-9 or second > 1.0:
                continue
            qx, qy, qz = oy * uz - oz * uy, oz * ux - ox * uz, ox * uy - oy * ux
            third = (dx * qx + dy * qy + dz * qz) / volume
            if third < -1e-9 or second + third > 1.0 + 1e-9:
                continue
            distance = (vx * qx + vy * qy + vz * qz) / volume
            if distance > farthest:
                farthest = distance
                hit[ray] = triangle
                weights[ray, 0] = 1.0 - second - third
                weights[ray, 1] = second
                weights[ray, 2] = third


def _skull_table(vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    azimuth = np.linspace(0, 2 * math.pi, AZIMUTHS, endpoint=False)
    elevation = np.radians(np.linspace(LOWEST_ELEVATION_DEG, HIGHEST_ELEVATION_DEG, ELEVATIONS))
    a, e = np.meshgrid(azimuth, elevation, indexing="ij")
    directions = np.stack([np.sin(a) * np.cos(e), -np.sin(e), -np.cos(a) * np.cos(e)], axis=-1)
    hit = np.empty(a.shape, dtype=np.int64)
    weights = np.zeros((*a.shape, 3))
    _farthest_hits(
        vertices,
        triangles,
        SKULL_CENTER,
        directions.reshape(-1, 3),
        hit.reshape(-1),
        weights.reshape(-1, 3),
    )
    # Downwards a ray may leave through the cut of the neck: the nearest column's lowest hit.
    for column in range(len(hit)):
        found = np.flatnonzero(hit[column] >= 0)
        nearest = found[np.abs(np.arange(ELEVATIONS)[:, None] - found).argmin(axis=1)]
        hit[column], weights[column] = hit[column, nearest], weights[column, nearest]
    return triangles[hit].astype(np.int64), weights


def _face_region(mean: np.ndarray) -> np.ndarray:
    """(V,) bool: forehead to chin, ear to ear."""
    x, y, z = mean.T
    above = np.minimum(y + 0.30, 0.0) / 0.80
    return (z < 0.30) & (y < 0.70) & ((x / 0.95) ** 2 + above**2 < 1) & ~((y > 0.45) & (z > 0.1))


def _split(
    mean: np.ndarray,
    fine_indices: np.ndarray,
    triangles: np.ndarray,
    face: np.ndarray,
    is_eye: np.ndarray,
    is_tongue: np.ndarray,
    masks: dict[str, np.ndarray],
    openness: np.ndarray,
) -> HeadMesh:
    """Parts the eyes from the rest; `face` is (T,)."""
    of_eyes = is_eye[triangles].all(axis=1)
    eye_indices = np.flatnonzero(is_eye)
    places = mean.astype(np.float64)
    flush = (
        _mound(places, (0.42, 0.05, -0.25), (0.22, 0.2, 0.4))
        + 0.9 * _mound(places, (0.0, -0.05, -0.68), (0.13, 0.12, 0.2))
        + 0.6 * _mound(places, (0.0, 0.60, -0.40), (0.2, 0.12, 0.3))
        + 0.9 * masks["ears"]
    )
    nose = _mound(places, (0.0, -0.2, -0.65), (0.15, 0.3, 0.3))
    offset = places - SKULL_CENTER
    level = np.hypot(offset[:, 0], offset[:, 2])
    return HeadMesh(
        mean,
        fine_indices,
        np.ascontiguousarray(triangles[~of_eyes], dtype=np.int32),
        face[~of_eyes],
        eye_indices,
        np.searchsorted(eye_indices, triangles[of_eyes]).astype(np.int32),
        masks,
        openness,
        is_tongue,
        flush,
        _mound(places, (0.24, -0.38, -0.36), (0.16, 0.11, 0.2)),
        1 + nose + 0.6 * (places[:, 1] < -0.65),
        np.degrees(np.arctan2(offset[:, 0], -offset[:, 2])),
        np.degrees(np.arctan2(-offset[:, 1], level)),
    )


def _mound(
    places: np.ndarray, center: tuple[float, float, float], radii: tuple[float, float, float]
) -> np.ndarray:
    """(V,) 1 at a place and its mirror image, falling to 0 around them."""
    offset = (places - np.array(center)) / np.array(radii)
    other = (places * [-1, 1, 1] - np.array(center)) / np.array(radii)
    mound: np.ndarray = np.maximum(np.exp(-(offset**2).sum(1)), np.exp(-(other**2).sum(1)))
    return mound


def _tuck(fine: HeadMesh, is_eye: np.ndarray) -> np.ndarray:
    """(V,) see `HeadModel`."""
    outside = np.maximum(fine.masks["lips"], fine.masks["eyelids"])
    hidden = np.clip(1 - fine.openness / _SEEN_FROM_OUTSIDE, 0, 1) * np.clip(1 - 4 * outside, 0, 1)
    at_front = fine.mean[:, 2] < -0.30
    tuck: np.ndarray = _TUCK * hidden * (at_front & ~is_eye & ~fine.is_tongue)
    return tuck.astype(np.float64)


def _coarse_vertices(
    mean: np.ndarray, is_eye: np.ndarray, is_tongue: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One vertex for each cell of a grid, whose cells are smaller where the features are.

    Returns:
        The vertices chosen, and the place among them of each vertex's stand-in.
    """
    cell = np.where(mean[:, 2] < -0.1, 0.45, 1.0) * _COARSE_CELL
    key = np.floor(mean / cell[:, None]).astype(int)
    key = np.column_stack([key, cell > 0.1, is_eye, is_tongue])
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.ravel()
    count = int(group.max()) + 1
    sums = np.zeros((count, 3))
    np.add.at(sums, group, mean)
    middle = sums / np.bincount(group, minlength=count)[:, None]
    distance = np.linalg.norm(mean - middle[group], axis=1)
    order = np.lexsort((distance, group))
    return order[np.searchsorted(group[order], np.arange(count))], group


@cache
def default_head_model() -> HeadModel:
    """The model in `pose_references/`; made ready once a process, in about a second."""
    folder = references_folder()
    with np.load(folder / MESH_FILE, allow_pickle=False) as mesh:
        triangles = np.ascontiguousarray(mesh["triangles"], dtype=np.int32)
        parts, part_names = mesh["vertex_parts"], mesh["part_names"].tolist()
        shares = mesh["vertex_masks"].astype(np.float32) / 255
        masks = dict(zip(mesh["mask_names"].tolist(), shares, strict=True))
        landmark_indices = mesh["landmark_indices_68"].astype(np.int64)
    with np.load(folder / MODEL_FILE, allow_pickle=False) as model:
        mean = model["mean"].astype(np.float32)
        identities = model["identity_components"].astype(np.float32)
        expressions = model["expression_components"].astype(np.float32)
        names = tuple(model["expression_names"].tolist())
    is_eye = np.asarray(parts == part_names.index("eyes"))
    is_tongue = np.asarray(parts == part_names.index("tongue"))
    face = np.asarray(_face_region(mean)[triangles].all(axis=1))
    openness = _openness(mean.astype(np.float64), triangles)
    fine = _split(mean, np.arange(len(mean)), triangles, face, is_eye, is_tongue, masks, openness)
    chosen, stand_in = _coarse_vertices(mean.astype(np.float64), is_eye, is_tongue)
    corners = stand_in[triangles]
    a, b, c = corners.T
    whole = (a != b) & (b != c) & (c != a)
    coarse = _split(
        mean[chosen],
        chosen,
        corners[whole],
        face[whole],
        is_eye[chosen],
        is_tongue[chosen],
        {name: mask[chosen] for name, mask in masks.items()},
        openness[chosen],
    )
    eye = mean[is_eye & (mean[:, 0] > 0)].astype(np.float64)
    eye_center = (eye.min(axis=0) + eye.max(axis=0)) / 2
    skin = ~(is_eye | (masks["ears"] > 0.5))
    skull = _skull_table(
        mean.astype(np.float64), np.ascontiguousarray(triangles[skin[triangles].all(axis=1)])
    )
    return HeadModel(
        fine,
        coarse,
        identities.reshape(len(identities), -1),
        expressions.reshape(len(expressions), -1),
        names,
        landmark_indices,
        _tuck(fine, is_eye),
        eye_center,
        *skull,
    )
