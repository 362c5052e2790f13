"""The faces' meshes as files, each whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from img2pose.files import replace_when_complete
from sim3dr import Mesh, write_mtl, write_obj, write_ply


def write_ply_file(path: str | os.PathLike[str], meshes: Sequence[Mesh]) -> None:
    """Writes a PLY file of all meshes with their colours.

    Args:
        path: Its folder is made if it is missing.
        meshes: Of `camera_meshes`; without any the file holds no vertices.
    """
    with replace_when_complete(path) as part, open(part, "wb") as stream:
        write_ply(stream, meshes)


@contextmanager
def _text_file(path: Path) -> Iterator[TextIO]:
    # Names of files need not be valid text; in the file they stay the bytes that they are.
    with (
        replace_when_complete(path) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        yield stream


def write_obj_file(
    path: str | os.PathLike[str], meshes: Sequence[Mesh], texture_file: str | None = None
) -> None:
    """Writes an OBJ file with an object `face_00`, `face_01`, ... for each mesh.

    Args:
        path: Its folder is made if it is missing. With a texture an MTL file of the same name is
            written beside it, first.
        meshes: Of `camera_meshes`, or of `textured_meshes` with a texture; without any the file
            holds no vertices.
        texture_file: Name of the texture's picture in the same folder; None writes the colours of
            the vertices.
    """
    target = Path(path)
    material = target.with_suffix(".mtl")
    if texture_file is not None:
        with _text_file(material) as stream:
            write_mtl(stream, texture_file)
    names = [f"face_{number:02d}" for number in range(len(meshes))]
    with _text_file(target) as stream:
        write_obj(stream, meshes, names, None if texture_file is None else material.name)
