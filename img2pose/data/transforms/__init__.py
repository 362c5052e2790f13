"""Changes of training pictures that carry their poses along: nothing is ever fitted again.

Geometry. A picture that is cropped, turned, scaled or put on a canvas is seen by a new camera,
which the model assumes from its size alone: focal length w + h, principal point
(w // 2, h // 2). The new pose follows in closed form (`img2pose.geometry.transform_poses`). Let f
and f' be the old and new focal lengths, s the scale of the pixels, m = s f / f' the zoom that the
assumed camera does not know of, u and u' the directions (x / z, y / z) of the face in the two
cameras and T the turn. A rigid face can look exactly like the warped one only where m = 1 and
u' = T u; otherwise the picture is not what a camera that turned or came nearer would have taken.

- Exact but for rounding: mirroring (the mirrored camera stands for an odd width's principal
  point), turning about the principal point, resizing the whole picture.
- Within a quarter of a pixel (0.10 seen): turning and mirroring pictures of odd sizes, whose middle
  is not the principal point.
- Approximate: crop, scale, zoom-out and mosaic. The projection of the face's origin is exact. A
  projected point of a face that is kept is off by at most
  0.4 (|u' - T u| + |m - 1| max(F / f, F' / f')) F', F and F' being the longer side of the
  projected points before and after (0.37 at most in 45,000 draws; the factor is about half the
  head's depth over its size). The first part is eccentricity: rotations follow the nearest
  rotation to the shear between the cameras, as poses in boxes are defined, which turns half as far
  as the viewing ray does; so the pose in a box about the face's origin, which is what the network
  sees and regresses, does not change. The second part is perspective, and small for small faces.
  Of F', faces of 0.03 to 0.5 of the shorter side, median and 95 %: crop 1.0 % and 2.9 %, scale 0.5
  to 2 1.2 % and 3.3 %, zoom-out 1 to 4 2.7 % and 7.4 %, mosaics of 1 to 9 5.6 % and 10 %.

Pixels. Colour, blur, resolution, noise, compression and occluders leave size and poses as they are.

Everything is drawn from one `numpy.random.Generator`; what is off draws nothing, except for what
was there first, so that a setting that is added does not move the draws of runs without it.
"""

from img2pose.data.transforms.augmentation import Augmentation, Mosaic
from img2pose.data.transforms.compositing import Composer, Tile, warp_pixels
from img2pose.data.transforms.occlusion import Occlusion
from img2pose.data.transforms.pictures import Picture, face_boxes, paint_out, projected_points
from img2pose.data.transforms.pixel_changes import PixelChanges

__all__ = [
    "Augmentation",
    "Composer",
    "Mosaic",
    "Occlusion",
    "Picture",
    "PixelChanges",
    "Tile",
    "face_boxes",
    "paint_out",
    "projected_points",
    "warp_pixels",
]
