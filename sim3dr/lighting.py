"""Normals and simple lamps. Frame and winding are those of `sim3dr.rasterizer`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr.rasterizer import checked_mesh


def vertex_normals(vertices: ArrayLike, triangles: ArrayLike) -> NDArray[np.float64]:
    """Mean direction in which the surface around each vertex faces.

    Args:
        vertices: (V, 3), any unit; x right, y down, z away from the camera.
        triangles: (T, 3) vertex indices, corners clockwise seen from outside.

    Returns:
        (V, 3) unit vectors that point outward, the mean of the triangles around weighted by their
        area; zero at vertices without a triangle that has an area.

    Raises:
        ValueError: A shape is wrong or an index lies outside the vertices.
    """
    points, corners = checked_mesh(vertices, triangles)
    a, b, c = points[corners].transpose(1, 0, 2)
    # Clockwise from outside in a right-handed frame: this order of the sides points outward.
    facing = np.cross(c - a, b - a)
    normals = np.zeros_like(points)
    for corner in corners.T:
        np.add.at(normals, corner, facing)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(
        normals, length, out=np.zeros_like(normals), where=length > 0
    )
    return unit


def shade(
    colours: ArrayLike,
    normals: ArrayLike,
    *,
    ambient: float = 0.35,
    directional: float = 0.65,
    light_direction: ArrayLike = (0.0, 0.0, 1.0),
) -> NDArray[np.float64]:
    """Lights matt surfaces by one far lamp and an even glow.

    Args:
        colours: (V, 3) or (3,), the surface's own colour.
        normals: (V, 3) outward unit vectors.
        ambient: Share of the colour seen in full shadow.
        directional: Share added where the lamp shines straight onto the surface.
        light_direction: (3,) from the lamp into the scene; (0, 0, 1) is a lamp at the camera.

    Returns:
        (V, 3) float64 colours, in the unit of `colours`; above its range if the two shares are.

    Raises:
        ValueError: A shape is wrong or the direction has no length.
    """
    outward = np.asarray(normals, dtype=np.float64)
    if outward.ndim != 2 or outward.shape[1] != 3:
        raise ValueError(f"normals must have shape (V, 3), not {outward.shape}")
    own = np.asarray(colours, dtype=np.float64)
    if own.shape not in ((3,), outward.shape):
        raise ValueError(f"colours must have shape (3,) or {outward.shape}, not {own.shape}")
    direction = np.asarray(light_direction, dtype=np.float64)
    if direction.shape != (3,) or not np.linalg.norm(direction) > 0:
        raise ValueError(f"light_direction must be three numbers, not all 0: {direction.tolist()}")
    facing_lamp = np.maximum(-outward @ (direction / np.linalg.norm(direction)), 0.0)
    lit: NDArray[np.float64] = own * (ambient + directional * facing_lamp[:, None])
    return lit
