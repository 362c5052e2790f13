"""The command that cuts faces out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.cli import predict
from img2pose.cli.run_face_alignment import ALIGNMENTS_FILE, crop_stems, main
from img2pose.detections import FaceDetections
from img2pose.geometry import image_intrinsics
from img2pose.images import read_image
from img2pose.inference.alignment import CROP_PRESETS, align_faces, crop_faces
from img2pose.inference.detector import Detector
from img2pose.inference.predictions_file import read_predictions
from img2pose.models.img2pose import build_model
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences
from tests.hostile_pictures import UNREADABLE, write_hostile_pictures
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

MODEL = ["--pretrained_path", "model.pth", "--device", "cpu", "--det_threshold", "0.1"]


def write_picture(path: Path, size_hw: tuple[int, int] = (60, 80), seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, references: PoseReferences) -> Path:
    torch.manual_seed(0)
    model = build_model(pose_stats=PUBLISHED_STATS, references=references, **SMALL_MODEL)
    path = tmp_path_factory.mktemp("model") / "model.pth"
    torch.save(pack_model(model), path)
    return path


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `model.pth`."""
    monkeypatch.chdir(tmp_path)
    Path("model.pth").symlink_to(checkpoint)
    return tmp_path


def align(*arguments: str) -> int:
    return main([*MODEL, "--output_path", "out", *arguments])


def entries(output: str = "out") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((Path(output) / ALIGNMENTS_FILE).read_text())
    return listed


def files(output: str = "out") -> set[str]:
    return {p.relative_to(output).as_posix() for p in Path(output).rglob("*") if p.is_file()}


def test_each_face_is_cut_out_and_listed_with_its_matrices(folder: Path) -> None:
    write_picture(folder / "in/a.jpg")
    write_picture(folder / "in/b.c.d.png", (90, 50), seed=1)
    assert align("--images_path", "in", "--face_size", "56", "--batch_size", "2") == 0
    first, second = entries()
    assert [first["image"], second["image"]] == ["in/a.jpg", "in/b.c.d.png"]
    detector = Detector.from_checkpoint("model.pth", device="cpu", score_threshold=0.1)
    names = set()
    for entry, stem in ((first, "a"), (second, "b.c.d")):
        found = detector.predict(entry["image"])
        assert len(entry["faces"]) == len(found) > 1
        crops = align_faces(read_image(entry["image"]), found.poses, 56)
        for index, (face, crop) in enumerate(zip(entry["faces"], crops, strict=True)):
            assert face["index"] == index
            assert face["crop"] == f"{stem}_face_{index}.png"
            assert face["template"] == crop.template
            np.testing.assert_allclose(face["pose"], found.poses[index], atol=1e-4)
            np.testing.assert_allclose(face["image_to_crop"], crop.image_to_crop, rtol=1e-3)
            np.testing.assert_allclose(
                np.matmul(face["image_to_crop"], face["crop_to_image"]), np.eye(3), atol=1e-6
            )
            written = np.asarray(Image.open(f"out/{face['crop']}"))
            assert written.shape == (56, 56, 3)
            assert np.abs(written.astype(int) - crop.image).mean() < 1
            names.add(face["crop"])
    assert files() == {*names, ALIGNMENTS_FILE}
    # Other commands read the same file.
    assert [len(faces.detections) for faces in read_predictions(f"out/{ALIGNMENTS_FILE}")] == [
        len(first["faces"]),
        len(second["faces"]),
    ]


def test_names_of_any_kind_overwrite_nothing_and_folders_are_mirrored(folder: Path) -> None:
    names = ["a.jpg", "a.png", "A.bmp", "one/a.jpg", "two/a.jpg", "two/three/x.y.z.jpg"]
    for seed, name in enumerate([*names, "a_face_0.jpg"]):
        write_picture(folder / "in" / name, seed=seed)
    assert align("--images_path", "in", "--max_faces", "2", "--face_size", "16") == 0
    crops = [face["crop"] for entry in entries() for face in entry["faces"]]
    assert len(crops) == len({crop.casefold() for crop in crops}) == 2 * 7
    assert files() == {*crops, ALIGNMENTS_FILE}
    by_image = {entry["image"]: entry["faces"][0]["crop"] for entry in entries()}
    assert by_image["in/two/three/x.y.z.jpg"] == "two/three/x.y.z_face_0.png"
    assert by_image["in/one/a.jpg"] == "one/a_face_0.png"
    # A second time, into the folder of the pictures: they stay, and crops are no new pictures.
    before = {path: path.read_bytes() for path in Path("in").rglob("*.*") if path.is_file()}
    for _ in range(2):
        flags = ["--images_path", "in", "--max_faces", "1", "--face_size", "16"]
        assert main([*MODEL, *flags, "--output_path", "in/out"]) == 0
        assert len(entries("in/out")) == 7
    assert main([*MODEL, "--images_path", "in/a_face_0.jpg", "--output_path", "in"]) == 0
    for path, content in before.items():
        assert path.read_bytes() == content


def test_a_picture_called_as_a_crop_is_not_overwritten(tmp_path: Path) -> None:
    images = [tmp_path / "a.png", tmp_path / "A_face_12.png", tmp_path / "b/a.png"]
    assert [path.as_posix() for path in crop_stems(images, None, tmp_path)] == [
        "a_2",
        "A_face_12",
        "a_3",
    ]
    assert [path.as_posix() for path in crop_stems(images, tmp_path, tmp_path / "out")] == [
        "a",
        "A_face_12",
        "b/a",
    ]


def test_a_list_and_no_faces(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(folder / "in/a.jpg")
    write_picture(folder / "in/sub/b.jpg", seed=1)
    elsewhere = write_picture(folder / "elsewhere/b.jpg", seed=2)
    Path("list.txt").write_text(f"sub/b.jpg\n\n{elsewhere}\nsub/b.jpg\n")
    flags = ["--image_list", "list.txt", "--images_path", "in", "--face_size", "16"]
    assert align(*flags, "--max_faces", "1") == 0
    assert [entry["faces"][0]["crop"] for entry in entries()] == [
        "sub/b_face_0.png",
        "b_face_0.png",
    ]
    assert align(*flags, "--score_threshold", "1", "--output_path", "none") == 0
    assert [entry["faces"] for entry in entries("none")] == [[], []]
    assert files("none") == {ALIGNMENTS_FILE}
    assert "faces: 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "order"), [("confidence", "score"), ("position", "position"), ("size", "size")]
)
def test_orders(folder: Path, method: str, order: str) -> None:
    write_picture(folder / "a.jpg")
    flags = ["--images_path", "a.jpg", "--face_size", "8", "--order_method", method]
    assert align(*flags, "--max_faces", "3") == 0
    found = Detector.from_checkpoint("model.pth", "cpu", 0.1).predict("a.jpg")
    expected = found.sorted_by(order)[:3]
    scores = [face["score"] for face in entries()[0]["faces"]]
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)


def test_styles_of_crops(folder: Path) -> None:
    write_picture(folder / "a.png")
    own = {"mine": [[30, 40], [80, 40], [56, 60], [40, 90], [70, 90]]}
    Path("own.json").write_text(json.dumps(own))
    found = Detector.from_checkpoint("model.pth", "cpu", 0.1).predict("a.png")
    picture = read_image("a.png")
    cases = {
        ("--preset", "mica"): align_faces(picture, found.poses, 112, templates="arcface"),
        ("--preset", "deca"): crop_faces(picture, found.poses, 224, scale=1.375),
        ("--preset", "deca", "--face_size", "64"): crop_faces(picture, found.poses, 64),
        ("--box_scale", "2", "--face_size", "50"): crop_faces(picture, found.poses, 50, scale=2),
        ("--templates", "own.json"): align_faces(
            picture, found.poses, 224, templates={"mine": np.array(own["mine"])}
        ),
        ("--templates", "five", "--face_size", "112"): align_faces(picture, found.poses, 112),
    }
    assert CROP_PRESETS.keys() == {"deca", "mica"}
    for flags, expected in cases.items():
        assert align("--images_path", "a.png", "--max_faces", "1", *flags) == 0
        (face,) = entries()[0]["faces"]
        assert face["template"] == expected[0].template
        written = np.asarray(Image.open("out/a_face_0.png"))
        assert written.shape == expected[0].image.shape
        np.testing.assert_allclose(
            face["image_to_crop"], expected[0].image_to_crop, rtol=2e-3, atol=1e-2
        )


def test_crops_of_the_reference_implementations_poses_are_its_crops(
    folder: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the model: the poses are those that the golden crops were made of."""
    golden = np.load(shared / "golden" / "alignment.npz")
    images = [shared / "data" / str(golden[f"{k}_image"]) for k in range(3)]

    def golden_faces(self: Detector, paths: list[Path], *_: object) -> Iterator[FaceDetections]:
        for k, path in enumerate(paths):
            assert path == images[k]
            size_hw = read_image(path).shape[:2]
            yield FaceDetections(
                golden[f"{k}_pose"][None],
                np.zeros((1, 4)),
                np.ones(1),
                image_intrinsics(*size_hw),
                size_hw,
            )

    monkeypatch.setattr(Detector, "predict_stream", golden_faces)
    Path("list.txt").write_text("".join(f"{image}\n" for image in images))
    points = shared / "data" / "original_references"
    flags = ["--image_list", "list.txt"]
    flags += ["--threed_5_points", str(points / "reference_3d_5_points_trans.npy")]
    flags += ["--threed_68_points", str(points / "reference_3d_68_points_trans.npy")]
    for size in (112, 224):
        assert align(*flags, "--face_size", str(size)) == 0
        for k, entry in enumerate(entries()):
            written = np.asarray(Image.open(f"out/{entry['faces'][0]['crop']}"), dtype=float)
            assert np.abs(written - golden[f"{k}_{size}"]).mean() < 0.01


def test_a_face_behind_the_camera_is_listed_without_a_crop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(folder / "a.png")
    poses = np.array([[0, 0, 0, 0, 0, 7.0], [0, 0, 0, 0, 0, 0.2], [0, 0, 0, 1, 0, 9.0]])

    def faces(self: Detector, paths: list[Path], *_: object) -> Iterator[FaceDetections]:
        yield FaceDetections(
            poses, np.zeros((3, 4)), np.array([0.9, 0.8, 0.7]), image_intrinsics(60, 80), (60, 80)
        )

    monkeypatch.setattr(Detector, "predict_stream", faces)
    assert align("--images_path", "a.png", "--face_size", "20") == 0
    listed = entries()[0]["faces"]
    assert [face["crop"] for face in listed] == ["a_face_0.png", None, "a_face_2.png"]
    assert listed[1]["image_to_crop"] is None
    assert listed[2]["template"] is not None


@pytest.mark.parametrize("command", ["predict", "align"])
def test_bad_pictures_end_it_before_anything_is_written_or_are_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    sizes = write_hostile_pictures(folder / "in")
    flags = [*MODEL, "--output_path", "out", "--batch_size", "3"]
    if command == "align":
        main_of, images, results = main, ["--images_path", "in"], ALIGNMENTS_FILE
        flags += ["--face_size", "8", "--max_faces", "1"]
    else:
        main_of, images, results = predict.main, ["in"], predict.PREDICTIONS_FILE
    before = files(".")
    assert main_of([*flags, *images]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "text.jpg" in error
    assert files(".") == before
    assert main_of([*flags, *images, "--skip_unreadable"]) == 0
    printed = capsys.readouterr()
    assert "unreadable: 3" in printed.out
    lines = Path("out/unreadable.txt").read_text().splitlines()
    assert len(lines) == 3
    for name, line in zip(sorted(UNREADABLE), lines, strict=True):
        assert name in line
    listed = {Path(e["image"]).name: e for e in json.loads(Path("out", results).read_text())}
    # Animations in GIF are no pictures of a folder, but may be named.
    assert listed.keys() == {name for name in sizes if sizes[name] and name != "animated.gif"}
    for name, entry in listed.items():
        assert tuple(entry["size_hw"]) == sizes[name]
    # Nothing is left if the only picture is left out.
    alone = ["in/zero.jpg"] if command == "predict" else ["--images_path", "in/zero.jpg"]
    assert main_of([*flags, *alone, "--skip_unreadable", "--output_path", "other"]) == 2
    assert "zero.jpg" in capsys.readouterr().err.splitlines()[-1]
    assert not Path("other").exists()
    gif = ["in/animated.gif"] if command == "predict" else ["--images_path", "in/animated.gif"]
    assert main_of([*flags, *gif]) == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--images_path"),
        (["--images_path", "gone"], "gone"),
        (["--images_path", "empty"], "empty"),
        (["--images_path", "a.jpg", "--image_list", "list.txt"], "a.jpg"),
        (["--image_list", "gone.txt"], "gone.txt"),
        (["--image_list", "list.txt"], "line 2: gone.jpg"),
        (["--image_list", "blank.txt"], "blank.txt"),
        (["--image_list", "a.jpg"], "a.jpg"),
        (["--images_path", "a.jpg", "--face_size", "0"], "--face_size 0"),
        (["--images_path", "a.jpg", "--max_faces", "0"], "--max_faces 0"),
        (["--images_path", "a.jpg", "--box_scale", "-1"], "--box_scale -1"),
        (["--images_path", "a.jpg", "--box_scale", "nan"], "--box_scale nan"),
        (["--images_path", "a.jpg", "--preset", "deca", "--templates", "five"], "--preset"),
        (["--images_path", "a.jpg", "--templates", "six"], "--templates six"),
        (["--images_path", "a.jpg", "--templates", "a.jpg"], "--templates a.jpg"),
        (["--images_path", "a.jpg", "--templates", "four.json"], "four.json: template 'mine'"),
        (["--images_path", "a.jpg", "--templates", "words.json"], "words.json"),
        (["--images_path", "a.jpg", "--output_path", "list.txt"], "list.txt"),
        (["--images_path", "a.jpg", "--det_threshold", "2"], "--score_threshold 2"),
        (["--images_path", "a.jpg", "--batch_size", "0"], "--batch_size 0"),
        (["--images_path", "a.jpg", "--nms_threshold", "2"], "nms_threshold"),
        (["--images_path", "a.jpg", "--bbox_x_factor", "-1"], "box_x_factor"),
        (["--images_path", "a.jpg", "--intrinsics", "1,2"], "--intrinsics 1,2"),
        (["--images_path", "a.jpg", "--depth", "50"], "model.pth"),
        (["--images_path", "a.jpg", "--pretrained_path", "none.pth"], "none.pth"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    write_picture(folder / "a.jpg")
    (folder / "empty").mkdir()
    Path("list.txt").write_text("a.jpg\ngone.jpg\n")
    Path("blank.txt").write_text("\n\n")
    Path("four.json").write_text(json.dumps({"mine": [[1, 2]] * 4}))
    Path("words.json").write_text('{"mine": "words"}')
    before = sorted(folder.rglob("*"))
    assert align(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert sorted(folder.rglob("*")) == before


def test_pictures_are_enough_and_crops_of_before_are_none(
    folder: Path, shipped_stand_in: Path
) -> None:
    write_picture(folder / "a.png")
    for out in ("img2pose_out", "img2pose_out_2"):
        assert main(["--images_path", ".", "--max_faces", "2"]) == 0
        (entry,) = entries(out)
        assert entry["image"] == "a.png" and entry["faces"]
    # What lies there can be asked for.
    assert main(["--images_path", "img2pose_out", "--max_faces", "1"]) == 0
    assert len(entries("img2pose_out_3")) == 2
