"""Drawing of triangle meshes without a compiler at hand; knows nothing of img2pose."""

from sim3dr.depth_maps import depth_picture, pncc_colours
from sim3dr.lighting import Lighting, light_meshes, phong, vertex_normals
from sim3dr.mesh import Mesh
from sim3dr.mesh_files import write_mtl, write_obj, write_ply
from sim3dr.pipeline import RenderPipeline
from sim3dr.point_clouds import dot_coverage
from sim3dr.rasterizer import Rasterized, rasterize
from sim3dr.subdivision import subdivide
from sim3dr.texture_maps import (
    Texels,
    TextureMap,
    cylindrical_map,
    extract_texture,
    filled_texels,
)
from sim3dr.thinning import apart, thin
from sim3dr.wireframes import line_coverage

__all__ = [
    "Lighting",
    "Mesh",
    "Rasterized",
    "RenderPipeline",
    "Texels",
    "TextureMap",
    "apart",
    "cylindrical_map",
    "depth_picture",
    "dot_coverage",
    "extract_texture",
    "filled_texels",
    "light_meshes",
    "line_coverage",
    "phong",
    "pncc_colours",
    "rasterize",
    "subdivide",
    "thin",
    "vertex_normals",
    "write_mtl",
    "write_obj",
    "write_ply",
]
