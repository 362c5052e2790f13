"""Surfaces of a scene: triangles with what the shading wants to know at each vertex."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from img2pose.data.synthetic.materials import PARAMETERS, Kind
from sim3dr import vertex_normals


@dataclass(frozen=True, eq=False)
class Part:
    """A surface in the frame of a head (reference units; x right, y down, z away when frontal).

    Attributes:
        kind: How it is painted.
        vertices: (V, 3) float64.
        triangles: (T, 3) int32.
        colours: (V, 3) float32, linear albedo.
        pattern: (V, 3) float32, where the paint's pattern is looked up: the mean head's position
            for skin and eyes, across and along the strands for hair, the weave for cloth.
        openness: (V,) float32 share of the surroundings' light that comes to the vertex.
        gloss: (V,) float32 strength of highlights.
        extra: (V,) float32; density of short hair (head), bare skin where positive (cloth).
        parameters: (PARAMETERS,) float32.
        is_face: (T,) bool: triangles of the face, whose hidden share is counted; None: none are.
        normals: (V, 3) float64 unit; made from the triangles if not given.
    """

    kind: Kind
    vertices: np.ndarray
    triangles: np.ndarray
    colours: np.ndarray
    pattern: np.ndarray
    openness: np.ndarray
    gloss: np.ndarray
    extra: np.ndarray
    parameters: np.ndarray = field(default_factory=lambda: np.zeros(PARAMETERS, np.float32))
    is_face: np.ndarray | None = None
    normals: np.ndarray | None = None

    def moved(self, rotation: np.ndarray, translation: np.ndarray) -> Part:
        """The part after X -> R X + t; its normals turn along."""
        normals = None if self.normals is None else self.normals @ rotation.T
        return replace(self, vertices=self.vertices @ rotation.T + translation, normals=normals)


def plain_part(
    kind: Kind,
    vertices: np.ndarray,
    triangles: np.ndarray,
    colour: np.ndarray,
    *,
    pattern: np.ndarray | None = None,
    openness: float | np.ndarray = 1.0,
    gloss: float = 0.1,
    extra: float | np.ndarray = 0.0,
    parameters: np.ndarray | None = None,
    is_face: bool = False,
) -> Part:
    """A part that is the same all over, but for what is given a vertex."""
    count = len(vertices)
    return Part(
        kind,
        vertices,
        np.ascontiguousarray(triangles, dtype=np.int32),
        np.broadcast_to(np.asarray(colour, dtype=np.float32), (count, 3)),
        np.asarray(vertices if pattern is None else pattern, dtype=np.float32),
        np.broadcast_to(np.asarray(openness, dtype=np.float32), (count,)),
        np.full(count, gloss, dtype=np.float32),
        np.broadcast_to(np.asarray(extra, dtype=np.float32), (count,)),
        np.zeros(PARAMETERS, np.float32) if parameters is None else parameters,
        np.ones(len(triangles), dtype=bool) if is_face else None,
    )


@dataclass(frozen=True, eq=False)
class Figure:
    """All surfaces that belong to one head, in its frame.

    Attributes:
        parts: Opaque surfaces; the first one is the head itself where it has a face.
        lenses: Clear or tinted ones, drawn over the others.
    """

    parts: tuple[Part, ...]
    lenses: tuple[Part, ...] = ()


NORMAL, OPENNESS, GLOSS, EXTRA = 6, 9, 10, 11
ATTRIBUTES = 12
"""Columns of `Assembly.attributes`: colour, pattern, normal, openness, gloss, extra."""


@dataclass(frozen=True, eq=False)
class Assembly:
    """Parts of many figures as one mesh in the camera's frame.

    Attributes:
        vertices: (V, 3) float64.
        triangles: (T, 3) int32.
        attributes: (V, ATTRIBUTES) float32.
        part_of_triangle: (T,) int32.
        kinds: (P,) int32.
        parameters: (P, PARAMETERS) float32.
        figure_of_part: (P,) int32.
        is_face: (T,) bool.
        first_vertex: (P,) where each part's vertices begin.
        first_triangle: (P + 1,) where each part's triangles begin, and their number.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    attributes: np.ndarray
    part_of_triangle: np.ndarray
    kinds: np.ndarray
    parameters: np.ndarray
    figure_of_part: np.ndarray
    is_face: np.ndarray
    first_vertex: np.ndarray
    first_triangle: np.ndarray


def assemble(placed: list[tuple[int, Part]]) -> Assembly:
    """Joins parts, each with the number of its figure; there must be at least one."""
    counts = [len(part.vertices) for _, part in placed]
    sizes = [len(part.triangles) for _, part in placed]
    first_vertex = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    first_triangle = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    vertices = np.empty((first_vertex[-1], 3))
    triangles = np.empty((first_triangle[-1], 3), dtype=np.int32)
    attributes = np.empty((first_vertex[-1], ATTRIBUTES), dtype=np.float32)
    is_face = np.zeros(first_triangle[-1], dtype=bool)
    for number, (_, part) in enumerate(placed):
        here = slice(first_vertex[number], first_vertex[number + 1])
        mine = slice(first_triangle[number], first_triangle[number + 1])
        vertices[here] = part.vertices
        triangles[mine] = part.triangles
        triangles[mine] += np.int32(first_vertex[number])
        rows = attributes[here]
        rows[:, :3], rows[:, 3:6] = part.colours, part.pattern
        rows[:, NORMAL:OPENNESS] = (
            vertex_normals(part.vertices, part.triangles) if part.normals is None else part.normals
        )
        rows[:, OPENNESS], rows[:, GLOSS], rows[:, EXTRA] = part.openness, part.gloss, part.extra
        if part.is_face is not None:
            is_face[mine] = part.is_face
    return Assembly(
        vertices,
        triangles,
        attributes,
        np.repeat(np.arange(len(placed), dtype=np.int32), sizes),
        np.array([part.kind for _, part in placed], dtype=np.int32),
        np.stack([part.parameters for _, part in placed]).astype(np.float32),
        np.array([figure for figure, _ in placed], dtype=np.int32),
        is_face,
        first_vertex[:-1],
        first_triangle,
    )
