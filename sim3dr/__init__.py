"""Drawing of triangle meshes on the CPU; knows nothing of img2pose."""

from sim3dr.canvas import Rasterized
from sim3dr.lighting import PhongLight, phong, shade, vertex_normals
from sim3dr.mesh import Mesh
from sim3dr.pipeline import RenderPipeline
from sim3dr.rasterizer import rasterize
from sim3dr.subdivision import subdivide

__all__ = [
    "Mesh",
    "PhongLight",
    "Rasterized",
    "RenderPipeline",
    "phong",
    "rasterize",
    "shade",
    "subdivide",
    "vertex_normals",
]
