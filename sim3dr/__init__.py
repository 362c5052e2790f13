"""Drawing of triangle meshes in NumPy; knows nothing of img2pose."""

from sim3dr.lighting import shade, vertex_normals
from sim3dr.rasterizer import Rasterized, rasterize

__all__ = ["Rasterized", "rasterize", "shade", "vertex_normals"]
