"""Synthetic photographs of faces with exactly known poses, from `pose_references/` alone.

`pictures.make_picture` draws one of them, `writer.make_dataset` a folder full. A picture is decided
by (seed, number, settings); the same machine gives the same bytes in any process.

A picture's way: `layout` says where heads are and where they look, `lighting` where light comes
from, `backgrounds` what is behind. `figures` makes each person: `identities` (shape, expression,
colours), `head_model` (the committed model), `paint`, `hair`, `accessories`, `body`, `occluders`,
all of them `parts` of some kind of `materials`; `clutter` adds what is no face. `rendering` draws
all into one depth buffer with `sim3dr` and paints what is seen with `shading`; `camera` makes a
photograph of it, `labels` an annotation.

Frames and units: heads are in the reference frame (x right, y down, z away, units of the reference
face); scenes are in the camera's frame in the same units, with pixel centres at whole coordinates.
Colours are linear light until `camera`.

What a label means: the pose is that of the rigid reference head, of which a person's shape and
expression are displacements; the 68 landmarks are the person's own vertices, as they were drawn,
whether they are seen or not. So projecting the reference points with the exact pose does not give
the landmarks: the two lie as far apart as people differ from the mean. A pose fitted to the
landmarks describes them better and differs by some degrees; the converter takes either
(`--pose_labels`).
"""
