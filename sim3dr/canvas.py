"""What a rasterizer is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Rasterized:
    """What each pixel of a picture shows.

    Floats of image, weights and coverage are float32 from the engine `numba`, float64 from `numpy`.
    With supersampling, depth, indices and barycentric weights are those of the nearest of a
    pixel's samples: a mean of depths or weights over an edge would belong to no surface.

    Attributes:
        image: (H, W, 3) floats in the unit of the colours; (H, W, 4) if transparent, where the
            colour is that of the mesh alone (straight, not multiplied by alpha; 0 where nothing is
            seen) and the fourth channel is 255 times the coverage.
        depth: (H, W) float64, infinite where nothing is seen.
        mesh_index: (H, W) int32 place in the sequence of meshes, -1 where nothing is seen.
        triangle_index: (H, W) int32 row of the mesh's triangles, -1 where nothing is seen.
        barycentric: (H, W, 3) floats, weights of the triangle's three corners; they sum to 1, or
            are 0 where nothing is seen.
        coverage: (H, W) floats, the share of a pixel's samples that show a mesh, 0..1.
    """

    image: NDArray[np.floating]
    depth: NDArray[np.float64]
    mesh_index: NDArray[np.int32]
    triangle_index: NDArray[np.int32]
    barycentric: NDArray[np.floating]
    coverage: NDArray[np.floating]

    @classmethod
    def empty(cls, height: int, width: int, channels: int, dtype: type[np.floating]) -> Rasterized:
        """A picture of (height, width) that shows nothing; black."""
        return cls(
            np.zeros((height, width, channels), dtype=dtype),
            np.full((height, width), np.inf),
            np.full((height, width), -1, dtype=np.int32),
            np.full((height, width), -1, dtype=np.int32),
            np.zeros((height, width, 3), dtype=dtype),
            np.zeros((height, width), dtype=dtype),
        )


@dataclass(frozen=True, eq=False)
class Canvas:
    """How meshes are drawn, and onto what.

    Attributes:
        height: In pixels.
        width: In pixels.
        background: (3,) or (height, width, 3); None draws onto nothing, with alpha.
        supersampling: Samples along a pixel's side.
        cull_back: Leaves out triangles seen from behind.
        perspective_correct: Interpolates linearly on the surface rather than on the screen.
    """

    height: int
    width: int
    background: NDArray[np.generic] | None
    supersampling: int
    cull_back: bool
    perspective_correct: bool

    def blank(self, dtype: type[np.floating]) -> Rasterized:
        """The picture before anything is drawn."""
        drawn = Rasterized.empty(
            self.height, self.width, 4 if self.background is None else 3, dtype
        )
        if self.background is not None:
            drawn.image[...] = self.background
        return drawn
