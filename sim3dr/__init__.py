"""Drawing of triangle meshes without a compiler at hand; knows nothing of img2pose."""

from sim3dr.lighting import Lighting, light_meshes, phong, vertex_normals
from sim3dr.mesh import Mesh
from sim3dr.pipeline import RenderPipeline
from sim3dr.rasterizer import Rasterized, rasterize
from sim3dr.subdivision import subdivide

__all__ = [
    "Lighting",
    "Mesh",
    "Rasterized",
    "RenderPipeline",
    "light_meshes",
    "phong",
    "rasterize",
    "subdivide",
    "vertex_normals",
]
