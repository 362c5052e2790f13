"""Mutated label files of every format: an import, one line that names the fault, or a skip."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from img2pose.cli import convert_json_list_to_lmdb
from img2pose.cli.import_annotations import main
from img2pose.data.annotations import read_annotation, read_annotation_list

MUTATIONS = 45
IMAGES = ("a.png", "b.png", "c.png")
POINTS_5 = np.array([[10, 12], [20, 12], [15, 18], [11.5, 22], [19, 22.25]])
HOSTILE = [
    *(b"nan", b"-1", b"1e999", b"inf", b"9" * 400, b"-" * 3, b"", b"null", b"true", b"{}", b"[]"),
    *(b"\0", b"\xff\xfe", b"\n", b'"', b"../../etc/passwd", b"/dev/zero", b"\xf0\x9f\x98\x80"),
    *(b"[" * 2000, b"\\ud800", b"%s", b"1 2 3 4", b"# b.png", b"}", b",", b"0x10"),
]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One or two random changes: digits, bytes, runs, words, hostile words, a cut."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 3)):
        if not changed:
            break
        start = int(rng.integers(len(changed)))
        end = min(len(changed), start + int(rng.integers(1, 30)))
        kind = rng.integers(9)
        if kind == 0:
            changed[start] = rng.integers(256)
        elif kind == 1:
            del changed[start:end]
        elif kind == 2:
            changed[start:start] = changed[start:end] * int(rng.integers(1, 4))
        elif kind == 3:
            del changed[start:]
        elif kind == 4:
            changed[start:start] = HOSTILE[rng.integers(len(HOSTILE))]
        elif kind == 5:
            changed[start:end] = rng.bytes(end - start)
        elif kind == 6:
            words = bytes(changed).split(b" ")
            words[rng.integers(len(words))] = HOSTILE[rng.integers(len(HOSTILE))]
            changed = bytearray(b" ".join(words))
        else:
            digits = [place for place, byte in enumerate(changed) if chr(byte).isdigit()]
            if digits:
                changed[digits[rng.integers(len(digits))]] = ord("0") + rng.integers(10)
    return bytes(changed)


def pts_bytes() -> bytes:
    rows = "\n".join(f"{x} {y}" for x, y in POINTS_5)
    return f"version: 1\nn_points: 5\n{{\n{rows}\n}}\n".encode()


def mat_bytes(folder: Path, *, compressed: bool) -> bytes:
    points = np.random.default_rng(0).uniform(5, 25, (3, 68))
    content = {"pt2d": points[:2], "pt3d_68": points, "Pose_Para": np.full((1, 7), 0.1)}
    scipy.io.savemat(folder / "valid", content, do_compression=compressed, appendmat=False)
    return (folder / "valid").read_bytes()


def retinaface_bytes() -> bytes:
    points = " ".join(f"{x} {y} 0.0" for x, y in POINTS_5)
    lines = [f"# {name}\n5 6 20 21 {points} 0.9\n1 1 3 3 {'-1.0 ' * 15}0.1" for name in IMAGES]
    return "\n".join(lines).encode()


def wider_bytes() -> bytes:
    rows = "5 6 20 21 0 0 0 0 0 0 \n1 1 3 3 2 0 0 1 2 0 "
    return "\n".join(f"{name}\n2\n{rows}" for name in IMAGES).encode()


def coco_bytes() -> bytes:
    keypoints = np.column_stack([POINTS_5, np.full(5, 2)]).ravel().tolist()
    face = {"category_id": 1, "bbox": [5, 6, 20, 21], "keypoints": keypoints, "iscrowd": 0}
    content = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate(IMAGES)],
        "annotations": [{**face, "id": k, "image_id": k} for k in range(3)],
        "categories": [{"id": 1, "name": "face", "keypoints": ["l", "r", "nose", "m", "n"]}],
    }
    return json.dumps(content).encode()


def csv_bytes() -> bytes:
    header = ",".join(f"{axis}{k}" for k in range(5) for axis in "xy")
    points = ",".join(map(str, POINTS_5.ravel()))
    rows = "\n".join(f"{name},5,6,25,27,0.5,{points},1,2,3" for name in IMAGES)
    return f"image_path,left,top,right,bottom,score,{header},pitch,yaw,roll\n{rows}\n".encode()


def json_bytes() -> bytes:
    content = {
        "image_path": "a.png",
        "bboxes": [[5, 6, 25, 27, 0.5]],
        "landmarks": [POINTS_5.tolist()],
        "pose_para": [[0.1, 0.2, 0.3]],
        "label_source": "someone",
    }
    return json.dumps(content).encode()


FORMATS: dict[str, tuple[str, str, Callable[[Path], bytes]]] = {
    "pts": ("pts", "a.pts", lambda folder: pts_bytes()),
    "300w_lp": ("300w_lp", "a.mat", lambda folder: mat_bytes(folder, compressed=True)),
    "300w_lp plain": ("300w_lp", "a.mat", lambda folder: mat_bytes(folder, compressed=False)),
    "aflw2000": ("aflw2000", "a.mat", lambda folder: mat_bytes(folder, compressed=False)),
    "retinaface": ("retinaface", "labels", lambda folder: retinaface_bytes()),
    "wider": ("wider", "labels", lambda folder: wider_bytes()),
    "coco": ("coco", "labels", lambda folder: coco_bytes()),
    "csv": ("csv", "labels", lambda folder: csv_bytes()),
}


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    for name in IMAGES:
        Image.new("RGB", (40, 30)).save(folder / name)
    return folder


def check_lists(name: str) -> None:
    for path in read_annotation_list(f"out{name}/train.txt"):
        assert read_annotation(path).image_path in IMAGES


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_label_files(
    images: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    record_property: Callable[..., None],
) -> None:
    kind, file_name, make = FORMATS[name]
    content = make(images.parent)
    label_file = images / file_name
    flags = ["--label_file", str(label_file)] if file_name == "labels" else []
    if not flags:
        # The other images keep sound labels, so that one can be skipped.
        for image in IMAGES[1:]:
            (images / image).with_suffix(label_file.suffix).write_bytes(content)
    rng = np.random.default_rng([len(name), *name.encode()])
    outcomes: Counter[str] = Counter()
    for number in range(MUTATIONS + 1):
        label_file.write_bytes(mutated(content, rng) if number else content)
        skip = ["--skip-bad"] if number % 2 else []
        arguments = [kind, "--images_path", "images", "--output_path", f"out{number}"]
        code = main([*arguments, *flags, *skip])
        printed = capsys.readouterr()
        if code == 0:
            check_lists(str(number))
            skipped = int(printed.out.rsplit("images skipped: ", 1)[1])
            outcomes["skip" if skipped else "import"] += 1
        else:
            assert code == 2
            assert printed.err.startswith("error: ")
            assert printed.err.count("\n") == 1
            assert not Path(f"out{number}").exists()
            outcomes["error"] += 1
        assert number or outcomes["import"] == 1, printed.err
    print(name, dict(outcomes))
    assert outcomes.total() == MUTATIONS + 1
    assert outcomes["error"] > 0
    assert outcomes["skip"] > 0 or flags


def test_mutated_annotations_convert_or_are_skipped_and_counted(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    names = [f"{number}.json" for number in range(MUTATIONS)]
    for number, name in enumerate(names):
        Path(name).write_bytes(mutated(json_bytes(), rng) if number else json_bytes())
    Path("list.txt").write_text("\n".join(names))
    arguments = ["--json_list", "list.txt", "--dataset_path", "images", "--dest", "lmdb"]
    assert convert_json_list_to_lmdb.main([*arguments, "--skip-bad", "--num_workers", "0"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines()[1:])
    counts = [
        int(lines["images"]),
        int(lines["images without a posed face, dropped"].split()[0]),
        int(lines["images skipped"]),
    ]
    print("annotations", counts)
    assert sum(counts) == MUTATIONS
    assert min(counts[0], counts[2]) > 0
