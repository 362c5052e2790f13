"""Drawing of triangle meshes without a compiler at hand; knows nothing of img2pose."""

from sim3dr.lighting import Lighting, light_meshes, phong, vertex_normals
from sim3dr.mesh import Mesh
from sim3dr.rasterizer import Rasterized, rasterize

__all__ = [
    "Lighting",
    "Mesh",
    "Rasterized",
    "light_meshes",
    "phong",
    "rasterize",
    "vertex_normals",
]
