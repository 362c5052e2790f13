"""Draws what the poses of faces say: masks, wireframes, landmarks, depth, textures, mesh files."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import get_args

import numpy as np
from tqdm import tqdm

from img2pose.cli.detection_arguments import add_intrinsics_argument, parse_intrinsics
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import (
    add_model_arguments,
    check_score_threshold,
    load_detector,
    refuse_model_arguments,
)
from img2pose.cli.output_folders import add_output_argument, output_folder
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.result_names import picture_suffix, unique_stems
from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.files import (
    check_output_folder,
    told_when_unwritable,
    write_npy,
)
from img2pose.images import find_images, read_image, write_picture
from img2pose.inference.given_pictures import poses_for_camera
from img2pose.inference.predictions_file import ImageFaces, read_predictions
from img2pose.references import FaceMesh, MeshPart, PoseReferences, default_mesh
from img2pose.visualization import (
    FaceTextures,
    Hidden,
    camera_meshes,
    contact_sheet,
    depth_map,
    draw_caption,
    draw_dense_points,
    draw_depth,
    draw_faces,
    draw_landmarks,
    draw_overlay,
    draw_pncc,
    draw_pose_boxes,
    draw_wireframe,
    face_textures,
    fit_into,
    texture_atlas,
    textured_meshes,
    write_obj_file,
    write_ply_file,
)
from img2pose.visualization.scene import FaceScene

log = logging.getLogger(__name__)

_SHEET_CELL = 480
_SHEET_COLUMNS = 3


@dataclass(frozen=True)
class RenderSettings:
    """How products look.

    Attributes:
        mesh: The surface that is drawn.
        opacity: Of the overlay, 0 to 1.
        supersampling: Of the overlay, samples a pixel along each axis.
        hidden: What becomes of landmarks behind a face.
        texture_size: Side of each face's texture in pixels.
    """

    mesh: FaceMesh
    opacity: float
    supersampling: int
    hidden: Hidden
    texture_size: int


@dataclass(frozen=True)
class Rendering:
    """One picture, its faces and what is drawn of them.

    Attributes:
        picture: (H, W, 3) uint8 RGB.
        detections: Its faces.
        references: The reference face of their poses.
        settings: How products look.
    """

    picture: np.ndarray
    detections: FaceDetections
    references: PoseReferences
    settings: RenderSettings

    @cached_property
    def textures(self) -> FaceTextures:
        """Of its faces."""
        return face_textures(
            self.picture,
            self.detections,
            self.settings.mesh,
            size=self.settings.texture_size,
        )


_DRAWN_ON_PICTURE: Mapping[str, Callable[[Rendering], np.ndarray]] = {
    "overlay": lambda r: draw_overlay(
        r.picture,
        r.detections,
        r.settings.mesh,
        opacity=r.settings.opacity,
        supersampling=r.settings.supersampling,
    ),
    "wireframe": lambda r: draw_wireframe(r.picture, r.detections, r.settings.mesh),
    "landmarks": lambda r: draw_landmarks(
        r.picture,
        r.detections,
        r.references,
        r.settings.mesh,
        hidden=r.settings.hidden,
    ),
    "dense": lambda r: draw_dense_points(r.picture, r.detections, r.settings.mesh),
    "axes": lambda r: draw_faces(r.picture, r.detections, r.references, boxes=False, scores=False),
    "box": lambda r: draw_pose_boxes(r.picture, r.detections, r.references),
}
_MAPS: Mapping[str, Callable[[Rendering], np.ndarray]] = {
    "depth": lambda r: draw_depth(r.detections, r.settings.mesh),
    "pncc": lambda r: draw_pncc(r.detections, r.settings.mesh),
    "uv": lambda r: texture_atlas(r.textures),
}
_PICTURES = {**_DRAWN_ON_PICTURE, **_MAPS}
PRODUCTS = (*_PICTURES, "obj", "ply", "sheet")


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/render.py",
        "Draw the faces of pictures by their poses, which a model finds or which"
        " scripts/predict.py has found. Each product of a picture NAME is a file"
        " NAME_PRODUCT.jpg (or .png); depth is NAME_depth.npy too (float32, z of the camera in"
        " reference units, infinite where no face is), uv a PNG of all faces' textures,"
        " transparent where the photograph does not show them, obj and ply are NAME_faces.obj and"
        " NAME_faces.ply of all faces in the camera's frame (x right, y down, z away, reference"
        " units), without a mesh where a picture has no faces. Faces without a sensible pose in"
        " front of the camera are counted as not drawn.",
        "photo.jpg",
        "photo.jpg --checkpoint best.pth --products overlay,depth,obj --output_path out",
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="picture, or folder of some; with --predictions, those of the file if none is given",
    )
    add_output_argument(parser)
    parser.add_argument(
        "--products",
        default="overlay",
        metavar="LIST",
        help=f"what to make, separated by commas: {', '.join(PRODUCTS)}, or all; obj has colours"
        " at its vertices, or with uv the texture; sheet shows the others side by side, or all"
        " pictures if alone (default %(default)s)",
    )
    parser.add_argument("--predictions", help="predictions.json of scripts/predict.py")
    add_intrinsics_argument(
        parser,
        "(default: focal length width + height, principal point in the middle; with --predictions,"
        " what they say)",
    )
    parser.add_argument(
        "--score_threshold",
        type=float,
        help="faces with a greater score are drawn, 0 to 1 (default: the checkpoint's, 0.5 for"
        " those that name none; with --predictions all)",
    )
    look = parser.add_argument_group("look")
    look.add_argument(
        "--part",
        choices=get_args(MeshPart),
        default="face",
        help="surface that is drawn (default %(default)s)",
    )
    look.add_argument(
        "--opacity", type=float, default=1.0, help="of the overlay, 0 to 1 (default %(default)s)"
    )
    look.add_argument(
        "--supersampling",
        type=int,
        choices=(1, 2),
        default=2,
        help="2 smooths the overlay's edges (default %(default)s)",
    )
    look.add_argument(
        "--hidden",
        choices=get_args(Hidden),
        default="dim",
        help="what becomes of landmarks behind a face (default %(default)s)",
    )
    look.add_argument(
        "--texture_size",
        type=int,
        default=512,
        metavar="PIXELS",
        help="side of each face's texture (default %(default)s); smaller where a picture has so"
        " many faces that together they would be wider than 8192",
    )
    add_model_arguments(parser)
    return parser


def parse_products(text: str) -> tuple[str, ...]:
    """Names of products, in the order of `PRODUCTS`, each once.

    Raises:
        InputError: There are none, or one is unknown.
    """
    asked = {name.strip() for name in text.split(",")} - {""}
    unknown = asked - {*PRODUCTS, "all"}
    if unknown or not asked:
        named = ", ".join(sorted(unknown)) or "none"
        raise InputError(f"--products {named}: must be among {', '.join(PRODUCTS)}, all")
    return tuple(name for name in PRODUCTS if name in asked or "all" in asked)


def _endings(products: Sequence[str], image: Path) -> list[str]:
    endings = []
    for product in products:
        if product in _DRAWN_ON_PICTURE or product == "sheet":
            endings.append(f"_{product}{picture_suffix(image)}")
        elif product in _MAPS:
            endings.append(f"_{product}.png")
            endings += ["_depth.npy"] if product == "depth" else []
        else:
            endings.append(f"_faces.{product}")
            endings += ["_faces.mtl"] if product == "obj" and "uv" in products else []
    return endings


def write_products(
    rendering: Rendering, products: Sequence[str], image: Path, folder: Path, stem: str
) -> None:
    """Writes the products of one picture, each file whole or not at all.

    Args:
        rendering: The picture and its faces.
        products: Names of `PRODUCTS`.
        image: The picture's path, whose suffix the drawings take.
        folder: Where they go.
        stem: What their names begin with.

    Raises:
        OutputError: The disk is full, for example.
    """
    suffix = picture_suffix(image)
    shown = [name for name in _PICTURES if name in products]
    if products == ("sheet",):
        shown = list(_PICTURES)
    drawn = {name: _PICTURES[name](rendering) for name in shown}

    def write(name: str, writer: Callable[[Path], None]) -> None:
        path = folder / name
        with told_when_unwritable(path):
            writer(path)

    for name, picture in drawn.items():
        if name in products:
            ending = suffix if name in _DRAWN_ON_PICTURE else ".png"
            write(f"{stem}_{name}{ending}", partial(write_picture, picture=picture))
    if "depth" in products:
        depth = depth_map(rendering.detections, rendering.settings.mesh)
        write(f"{stem}_depth.npy", partial(write_npy, array=depth))
    for product in ("obj", "ply"):
        if product in products:
            _write_mesh_file(rendering, product, products, stem, write)
    if "sheet" in products:
        cells = [_cell("photograph", rendering.picture), *(_cell(*item) for item in drawn.items())]
        sheet = contact_sheet(cells, _SHEET_COLUMNS, _SHEET_CELL)
        write(f"{stem}_sheet{suffix}", partial(write_picture, picture=sheet))


def _cell(name: str, picture: np.ndarray) -> np.ndarray:
    return draw_caption(fit_into(np.ascontiguousarray(picture[..., :3]), _SHEET_CELL), name)


def _write_mesh_file(
    rendering: Rendering,
    product: str,
    products: Sequence[str],
    stem: str,
    write: Callable[[str, Callable[[Path], None]], None],
) -> None:
    mesh = rendering.settings.mesh
    textured = product == "obj" and "uv" in products
    if textured:
        meshes = textured_meshes(rendering.detections, rendering.textures, mesh)
    else:
        meshes = camera_meshes(rendering.detections, mesh, rendering.picture)
    name = f"{stem}_faces.{product}"
    if product == "ply":
        write(name, partial(write_ply_file, meshes=meshes))
    else:
        texture = f"{stem}_uv.png" if textured else None
        write(name, partial(write_obj_file, meshes=meshes, texture_file=texture))


def _check_looks(args: argparse.Namespace) -> None:
    if not 0 <= args.opacity <= 1:
        raise InputError(f"--opacity {args.opacity}: must be between 0 and 1")
    if not 1 <= args.texture_size <= 4096:
        raise InputError(f"--texture_size {args.texture_size}: must be between 1 and 4096")
    check_score_threshold(args.score_threshold)
    if args.predictions is not None:
        refuse_model_arguments(args, "--predictions")
    elif not args.images:
        raise InputError("IMAGE: give pictures, or folders of some, to find faces in")


Source = Callable[[Path, np.ndarray], ImageFaces]


def _faces_of_predictions(
    args: argparse.Namespace, camera: np.ndarray | None
) -> tuple[list[Path], Source]:
    """Pictures and what gives their faces."""
    by_path: dict[Path, ImageFaces] = {}
    listed = read_predictions(args.predictions)
    for entry in listed:
        if entry.image.resolve() in by_path:
            raise InputError(f"{args.predictions}: names {entry.image} twice; remove one entry")
        by_path[entry.image.resolve()] = entry
    images = find_images(args.images or [entry.image for entry in listed])
    for image in images:
        if image.resolve() not in by_path:
            raise InputError(f"{image}: not in {args.predictions}; predict it first")

    def find(image: Path, picture: np.ndarray) -> ImageFaces:
        entry = by_path[image.resolve()]
        found = entry.detections
        if found.size_hw != picture.shape[:2]:
            raise InputError(
                f"{image}: is {picture.shape[1]} x {picture.shape[0]} pixels, not"
                f" {found.size_hw[1]} x {found.size_hw[0]} as in {args.predictions}; predict it"
                " again"
            )
        if args.score_threshold is not None:
            found = found.above(args.score_threshold)
        if camera is not None:
            poses = poses_for_camera(found.poses, found.boxes, found.intrinsics, camera)
            found = replace(found, poses=poses, intrinsics=camera)
        return replace(entry, detections=found)

    return images, find


def _faces_of_model(
    args: argparse.Namespace, camera: np.ndarray | None
) -> tuple[list[Path], Source]:
    images = find_images(args.images)
    detector = load_detector(args, score_threshold=args.score_threshold)

    def find(image: Path, picture: np.ndarray) -> ImageFaces:
        return ImageFaces(image, detector.predict(picture, camera), detector.references)

    return images, find


def _check_targets(folder: Path, image: Path, stem: str, products: Sequence[str]) -> None:
    for ending in _endings(products, image):
        if (folder / f"{stem}{ending}").is_dir():
            raise InputError(
                f"{folder / f'{stem}{ending}'}: is a folder, where a result of {image} goes; give"
                " another --output_path"
            )


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    products = parse_products(args.products)
    camera = None if args.intrinsics is None else parse_intrinsics(args.intrinsics)
    _check_looks(args)
    output = output_folder(args)
    check_output_folder(output)
    if args.predictions is not None:
        images, find = _faces_of_predictions(args, camera)
    else:
        images, find = _faces_of_model(args, camera)
    stems = unique_stems(images, output, lambda image: _endings(products, image))
    # Decoding is quick, and a picture that is damaged or changed is better known before the rest.
    for image, stem in zip(images, stems, strict=True):
        _check_targets(output, image, stem, products)
        picture = read_image(image)
        if args.predictions is not None:
            find(image, picture)
    settings = RenderSettings(
        default_mesh(args.part), args.opacity, args.supersampling, args.hidden, args.texture_size
    )
    faces, not_drawn, mesh_fits = 0, 0, True
    progress = tqdm(images, desc="rendering", unit="image", disable=None, file=sys.stderr)
    for image, stem in zip(progress, stems, strict=True):
        picture = read_image(image)
        found = find(image, picture)
        if mesh_fits and found.references.sha256 != PoseReferences.default().sha256:
            mesh_fits = False
            log.warning(
                "%s: its poses refer to other points than those of the mesh, which will not fit",
                image,
            )
        rendering = Rendering(picture, found.detections, found.references, settings)
        write_products(rendering, products, image, output, stem)
        faces += len(found.detections)
        not_drawn += len(found.detections) - len(FaceScene.of(found.detections))
    results = {"images": len(images), "faces": faces, "not_drawn": not_drawn}
    print_results(args, {**results, "results": str(output)})
    return 0
