"""Depth maps as pictures, and the colours that name places on a surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr.mesh import checked_vertices

# The farthest surface stays apart from where there is none.
_FARTHEST_GRAY = 48.0


def depth_picture(
    depth: ArrayLike,
    mesh_index: ArrayLike | None = None,
    *,
    near: float | None = None,
    far: float | None = None,
) -> NDArray[np.uint8]:
    """A depth map in gray: the nearest surface is white, the farthest dark, none black.

    Args:
        depth: (H, W), infinite where nothing is seen.
        mesh_index: (H, W) whole numbers; each mesh's own depths then span the grays, which shows
            the relief of each and not which is nearer.
        near: Depth of white; by default the least. What is nearer is white too. Not with
            `mesh_index`.
        far: Depth of the darkest gray, not less than `near`; by default the greatest. What is
            farther is as dark. Not with `mesh_index`.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: A shape is wrong, a limit is not finite or `far` less than `near`, or limits are
            given for meshes that have their own.
    """
    for name, limit in (("near", near), ("far", far)):
        if limit is not None and not np.isfinite(limit):
            raise ValueError(f"{name} must be finite, not {limit}")
    if near is not None and far is not None and far < near:
        raise ValueError(f"far must not be less than near: {far} and {near}")
    distances = np.asarray(depth, dtype=np.float64)
    if distances.ndim != 2:
        raise ValueError(f"depth must have shape (H, W), not {distances.shape}")
    seen = np.isfinite(distances)
    picture = np.zeros(distances.shape, dtype=np.uint8)
    if not seen.any():
        return picture
    values = distances[seen]
    nearest: NDArray[np.float64] | float
    farthest: NDArray[np.float64] | float
    if mesh_index is None:
        nearest = values.min() if near is None else near
        farthest = values.max() if far is None else far
    else:
        if near is not None or far is not None:
            raise ValueError("near and far have no meaning where each mesh has its own range")
        meshes = np.asarray(mesh_index)
        if meshes.shape != distances.shape:
            raise ValueError(f"mesh_index must have shape {distances.shape}, not {meshes.shape}")
        _, owner = np.unique(meshes[seen], return_inverse=True)
        lows, highs = np.full(owner.max() + 1, np.inf), np.full(owner.max() + 1, -np.inf)
        np.minimum.at(lows, owner, values)
        np.maximum.at(highs, owner, values)
        nearest, farthest = lows[owner], highs[owner]
    span = np.maximum(np.asarray(farthest) - nearest, np.finfo(np.float64).tiny)
    share = ((values - nearest) / span).clip(0, 1)
    picture[seen] = (255 - share * (255 - _FARTHEST_GRAY)).round().astype(np.uint8)
    return picture


def pncc_colours(reference_vertices: ArrayLike) -> NDArray[np.float64]:
    """Projected Normalised Coordinate Code: each vertex's place on the reference shape as colour.

    Drawn in any pose, a colour says which place of the face is seen there.

    Args:
        reference_vertices: (V, 3) of the shape at rest.

    Returns:
        (V, 3) in 0..255: x, y and z as red, green and blue, each from its least value on the
        shape to its greatest.

    Raises:
        TypeError: These are no real numbers.
        ValueError: The shape is wrong or a vertex is not finite.

    Source: Zhu et al., Face Alignment Across Large Poses, CVPR 2016.
    """
    vertices = checked_vertices(reference_vertices)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    code: NDArray[np.float64] = 255 * (vertices - low) / np.where(high > low, high - low, 1.0)
    return code
