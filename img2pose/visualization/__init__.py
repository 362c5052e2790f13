"""Drawing on pictures: boxes, scores, pose axes, landmarks, meshes, maps, contact sheets.

Pictures are uint8 RGB arrays (H, W, 3). Nothing is drawn in place. Lines and letters grow with the
picture, so that a drawing is legible at any resolution once it is scaled to a screen.
"""

from img2pose.visualization.faces import draw_boxes, draw_faces, draw_points
from img2pose.visualization.head_boxes import draw_pose_boxes, head_box
from img2pose.visualization.landmarks import IBUG_STROKES, Hidden, draw_landmarks
from img2pose.visualization.mesh_files import write_obj_file, write_ply_file
from img2pose.visualization.primitives import (
    BLUE,
    BOX_COLOR,
    GREEN,
    LANDMARK_COLOR,
    OUTLINE_COLOR,
    RED,
    TRUTH_COLOR,
    Color,
)
from img2pose.visualization.rendering import (
    camera_meshes,
    depth_map,
    draw_dense_points,
    draw_depth,
    draw_overlay,
    draw_pncc,
    draw_wireframe,
)
from img2pose.visualization.sheets import SHEET_COLOR, contact_sheet, draw_caption, fit_into
from img2pose.visualization.textures import (
    FaceTextures,
    face_textures,
    texture_atlas,
    textured_meshes,
)

__all__ = [
    "BLUE",
    "BOX_COLOR",
    "GREEN",
    "IBUG_STROKES",
    "LANDMARK_COLOR",
    "OUTLINE_COLOR",
    "RED",
    "SHEET_COLOR",
    "TRUTH_COLOR",
    "Color",
    "FaceTextures",
    "Hidden",
    "camera_meshes",
    "contact_sheet",
    "depth_map",
    "draw_boxes",
    "draw_caption",
    "draw_dense_points",
    "draw_depth",
    "draw_faces",
    "draw_landmarks",
    "draw_overlay",
    "draw_pncc",
    "draw_points",
    "draw_pose_boxes",
    "draw_wireframe",
    "face_textures",
    "fit_into",
    "head_box",
    "texture_atlas",
    "textured_meshes",
    "write_obj_file",
    "write_ply_file",
]
