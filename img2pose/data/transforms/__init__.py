"""Changes of training pictures that carry their poses along: nothing is ever fitted again.

Geometry. A picture that is cropped, turned, scaled or put on a canvas is seen by a new camera,
which the model assumes from its size alone: focal length w + h, principal point
(w // 2, h // 2). The new pose follows in closed form (`img2pose.geometry.transform_poses`). With f
and f' the old and new focal lengths, s the scale of the pixels, m = s f / f' the zoom that the
camera model does not know of, u and u' the directions (x / z, y / z) of the face in the two cameras
and R2 the turn, a rigid face can be seen exactly so only where m = 1 and u' = R2 u: elsewhere a
crop is not what a camera that turned or came nearer would have seen.

- Exact, but for rounding: mirroring (a camera of its own stands for the odd width's principal
  point), turning about the principal point, resizing the whole picture.
- Within half a pixel's change of direction: turning or mirroring odd sizes, whose middle is not
  the principal point.
- Approximate: crop, scale, zoom-out and mosaic. The face's middle is kept exactly, and its
  appearance in its own box. A projected point is off by at most
  0.4 (|u' - R2 u| + |m - 1| F / f') F, F being the longer side of the projected points (measured
  at most 0.36; the depth of the head over its size is what sets the factor). The first part is
  the rotation: it follows the nearest rotation to the shear of the cameras, as poses in boxes are
  defined, which is half the turn of the viewing ray. The second is perspective: it is small for
  small faces.

A head whose label says a rotation keeps it relative to its box, which is what the network
regresses.

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
