"""Lit faces over a photograph, in the calling convention of Sim3DR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim3dr.lighting import Lighting, phong, vertex_normals
from sim3dr.mesh import Mesh
from sim3dr.rasterizer import Engine, rasterize

# Sim3DR's names of what `Lighting` has, and its own values.
_NAMES = {
    "intensity_ambient": "ambient",
    "color_ambient": "ambient_colour",
    "intensity_directional": "directional",
    "color_directional": "lamp_colour",
    "intensity_specular": "specular",
    "specular_exp": "specular_exponent",
    "light_pos": "light_position",
    "view_pos": "view_position",
}
_AS_SIM3DR = Lighting(
    ambient=0.3,
    directional=0.6,
    specular=0.1,
    specular_exponent=5.0,
    light_position=(0.0, 0.0, 5.0),
    view_position=(0.0, 0.0, 5.0),
)


class RenderPipeline:
    """Draws lit meshes over pictures, called as users of Sim3DR call its pipeline.

    The frame is Sim3DR's, not that of the rest of this package: x to the right and y down, in
    pixels, and z *towards* the viewer: of two surfaces the one with the greater z is seen. Corners
    of triangles run clockwise on the screen where the surface faces the viewer; sides seen from
    behind are drawn too, as Sim3DR does.

    Lamp and viewer (`light_pos`, `view_pos`) stand in the mesh's own box: vertices are moved and
    scaled for the lighting so that the box's middle is 0, 0, 0 and its longest side reaches from
    -1 to 1.

    Source:
        The public interface of Sim3DR (cleardusk/3DDFA_V2): names, defaults and units of settings.

    Differs:
        The highlight is Phong's; the pictures are alike, not the same in every pixel.

    Args:
        settings: intensity_ambient (0.3), color_ambient (1, 1, 1), intensity_directional (0.6),
            color_directional (1, 1, 1), intensity_specular (0.1), specular_exp (5), light_pos and
            view_pos (0, 0, 5). Intensities are shares of 1; so are colours, in the order of the
            picture's channels.
        threads: See `rasterize`.
        engine: "numba" or "numpy".

    Raises:
        TypeError: A setting is not known.
        ValueError: A setting is not allowed.
    """

    def __init__(
        self, *, threads: int | None = None, engine: Engine = "numba", **settings: Any
    ) -> None:
        unknown = sorted(set(settings) - set(_NAMES))
        if unknown:
            raise TypeError(f"no setting {unknown[0]}; there are {', '.join(_NAMES)}")
        self.lighting = replace(
            _AS_SIM3DR, **{_NAMES[name]: value for name, value in settings.items()}
        )
        self._threads = threads
        self._engine = engine

    def __call__(
        self,
        vertices: ArrayLike,
        triangles: ArrayLike,
        background: ArrayLike,
        texture: ArrayLike | None = None,
    ) -> NDArray[np.uint8]:
        """Draws a mesh over a picture.

        Args:
            vertices: (V, 3) on the screen, in pixels; greater z is nearer.
            triangles: (T, 3) vertex indices.
            background: (H, W, 3) uint8 picture; not changed. RGB or BGR, as the colours.
            texture: (V, 3) colours of the vertices, 0..1; white if not given.

        Returns:
            (H, W, 3) uint8 picture.

        Raises:
            TypeError: An argument holds no numbers of the right kind.
            ValueError: A shape is wrong, a vertex is not finite or an index lies outside.
        """
        picture = np.asarray(background)
        if picture.dtype != np.uint8:
            raise TypeError(f"background must be uint8, not {picture.dtype}")
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"background must have shape (H, W, 3), not {picture.shape}")
        # Turned over in depth: from here on z grows away, as everywhere else in the package.
        mesh = Mesh(np.asarray(vertices), np.asarray(triangles))
        points = mesh.vertices * (1.0, 1.0, -1.0)
        outward = vertex_normals(points, mesh.triangles, engine=self._engine)
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        half = max(float((high - low).max()) / 2.0, np.finfo(float).tiny)
        in_box = (mesh.vertices - (low + high) / 2.0) / half
        lit = phong(
            (255.0, 255.0, 255.0),
            outward * (1.0, 1.0, -1.0),
            self.lighting,
            in_box,
            engine=self._engine,
        )
        colours = np.minimum(lit, 255.0)
        if texture is not None:
            own = np.asarray(texture, dtype=np.float64)
            if own.shape != colours.shape:
                raise ValueError(f"texture must have shape {colours.shape}, not {own.shape}")
            colours *= own
        result = picture.copy()
        # Only the mesh's own box of the picture is drawn.
        size = np.array([picture.shape[1], picture.shape[0]])
        start = np.clip(np.floor(low[:2]), 0, size).astype(int)
        stop = np.clip(np.ceil(high[:2]) + 1, 0, size).astype(int)
        if (stop <= start).any():
            return result
        part = (slice(start[1], stop[1]), slice(start[0], stop[0]))
        points[:, :2] -= start
        drawn = rasterize(
            Mesh(points, mesh.triangles, colours),
            int(stop[1] - start[1]),
            int(stop[0] - start[0]),
            picture[part],
            cull_back=False,
            threads=self._threads,
            engine=self._engine,
        )
        result[part] = np.clip(np.rint(drawn.image), 0, 255).astype(np.uint8)
        return result
