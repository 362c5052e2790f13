from __future__ import annotations

import json
import tempfile
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from img2pose.detections import FaceDetections
from img2pose.distributed import Processes
from img2pose.errors import InputError, OutputError
from img2pose.evaluation.pictures import PictureFiles, fingerprint
from img2pose.evaluation.predicting import (
    READ_AHEAD,
    Predictor,
    batches_read_ahead,
    predict_missing,
)
from img2pose.evaluation.predictions import ModelNotes, Prediction, PredictionCache
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.references import PoseReferences

PROVENANCE = {"checkpoint_sha256": "a" * 64, "detection": {"sizes": [200, 300], "voting": True}}
NOTHING_FOUND = (
    b'{"name": "a", "size_hw": [9, 9], "seconds": 0.5, "intrinsics": null, "boxes": [],'
    b' "scores": [], "poses": null}'
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


class OneOfSeveral(Processes):
    """One of several processes whose others have the same to say."""

    def gather(self, value: Any) -> list[Any]:
        return [value] * self.count


def rank(number: int, count: int = 2) -> Processes:
    return OneOfSeveral(rank=number, count=count)


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    count = draw(st.integers(0, 3))
    poses = intrinsics = None
    if draw(st.booleans()):
        poses = draw(arrays(np.float64, (count, 6), elements=FLOATS))
        intrinsics = draw(arrays(np.float64, (3, 3), elements=FLOATS))
    return Prediction(
        draw(arrays(np.float64, (count, 4), elements=FLOATS)),
        draw(arrays(np.float64, count, elements=FLOATS)),
        (draw(st.integers(1, 9999)), draw(st.integers(1, 9999))),
        poses,
        intrinsics,
    )


def simple(score: float = 0.5) -> Prediction:
    return Prediction(np.array([[1.0, 2, 3, 4]]), np.array([score]), (60, 80))


def assert_same(one: Prediction, other: Prediction) -> None:
    for name in ("boxes", "scores", "poses", "intrinsics"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None)
        if first is not None:
            assert first.shape == second.shape
            # Bit for bit: the sign of zero counts too.
            assert first.tobytes() == second.tobytes()
    assert one.size_hw == other.size_hw


def folder_with(folder: Path, *names: str) -> Path:
    cache = PredictionCache.open(folder, PROVENANCE)
    for name in names:
        cache.add(name, simple(), 0.25)
    cache.close()
    return folder


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=[])), predictions(), max_size=3))
def test_what_is_added_comes_back_to_the_bit(content: dict[str, Prediction]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = PredictionCache.open(folder, PROVENANCE)
        for name, prediction in content.items():
            cache.add(name, prediction, 0.1)
        cache.close()
        again = PredictionCache.open(folder, PROVENANCE)
    assert again.done == set(content)
    for name, prediction in content.items():
        assert_same(again[name], prediction)
        assert again[name].seconds == 0.1


def test_predictions_with_poses_are_detections() -> None:
    found = FaceDetections(
        np.full((2, 6), 1 / 3), np.full((2, 4), 0.1), np.array([0.9, 0.2]), np.eye(3), (60, 80)
    )
    assert Prediction.from_detections(found).as_detections().to_dict() == found.to_dict()
    with pytest.raises(ValueError, match="without poses"):
        simple().as_detections()
    with pytest.raises(ValueError, match="belong together"):
        Prediction(found.boxes, found.scores, (60, 80), poses=found.poses)
    with pytest.raises(ValueError, match=r"boxes must have shape \(2, 4\)"):
        Prediction(found.poses, found.scores, (60, 80))


def test_a_line_cut_short_anywhere_is_predicted_again(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "cache", "a", "b")
    part = folder / "part_0.jsonl"
    whole = part.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        part.write_bytes(whole[:length])
        cache = PredictionCache.open(folder, PROVENANCE)
        assert cache.done == {"a"}
        assert cache.missing(["b", "a", "c", "b"]) == ["b", "c"]
        # Looking alone changes nothing.
        assert part.read_bytes() == whole[:length]
        cache.add("b", simple(), 0.25)
        cache.close()
        assert part.read_bytes() == whole


def test_any_other_damage_is_told_with_file_and_line(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "cache", "a", "b")
    part = folder / "part_0.jsonl"
    whole = part.read_bytes()
    first = whole.index(b"\n") + 1
    for place in range(first - 1):
        for byte in (whole[place] ^ 1, 0):
            damaged = whole[:place] + bytes([byte]) + whole[place + 1 :]
            if byte == ord("\n"):
                continue
            part.write_bytes(damaged)
            with pytest.raises(
                InputError, match=r"part_0\.jsonl: line 1 is damaged.*--output_path"
            ):
                PredictionCache.open(folder, PROVENANCE)
    # A line that is gone from the middle is one that was not predicted.
    part.write_bytes(whole[first:])
    assert PredictionCache.open(folder, PROVENANCE).done == {"b"}


@pytest.mark.parametrize(
    "content",
    [
        b'{"name": 3}',
        b"[]",
        b"words",
        b"",
        b'{"name": "a", "boxes": [[1]]}',
        NOTHING_FOUND.replace(b"9, 9", b"1e999, 9"),
        NOTHING_FOUND.replace(b"0.5", b"NaN"),
        NOTHING_FOUND.replace(b"0.5", b"Infinity"),
    ],
)
def test_lines_with_a_checksum_but_no_prediction_are_damaged(
    tmp_path: Path, content: bytes
) -> None:
    folder = folder_with(tmp_path / "cache", "a")
    body = content[:-1]
    line = body + b', "crc32": %d}\n' % zlib.crc32(body)
    (folder / "part_0.jsonl").write_bytes(line)
    with pytest.raises(InputError, match="line 1 is damaged"):
        PredictionCache.open(folder, PROVENANCE)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"checkpoint_sha256": "b" * 64}, r"another checkpoint_sha256 \(aaaaa.*now bbbbb"),
        ({"detection": {"sizes": [200], "voting": True}}, r"another detection.sizes \(\[200, 300"),
        ({"detection": {"sizes": [200, 300]}}, r"another detection.voting \(true, now not there"),
        ({"images_sha256": "c"}, r"another images_sha256 \(not there, now c\)"),
    ],
)
def test_other_provenance_is_refused_with_what_differs(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    folder = folder_with(tmp_path / "cache", "a")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match=message) as caught:
        PredictionCache.open(folder, {**PROVENANCE, **changed})
    assert "--overwrite_predictions" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    cache = PredictionCache.open(folder, {**PROVENANCE, **changed}, overwrite=True)
    assert len(cache) == 0
    cache.add("x", simple(), 0)
    cache.close()
    assert PredictionCache.open(folder, {**PROVENANCE, **changed}).done == {"x"}


def test_overwriting_removes_predictions_only(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "cache", "a")
    (folder / "notes.txt").write_text("mine")
    PredictionCache.open(folder, {}, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_folder_appears_with_its_first_prediction(tmp_path: Path) -> None:
    PredictionCache.open(tmp_path / "cache", PROVENANCE)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"format": "img2pose-predictions"}', "wor"])
def test_a_damaged_description_is_refused(tmp_path: Path, content: str) -> None:
    folder = folder_with(tmp_path / "cache", "a")
    (folder / "provenance.json").write_text(content)
    with pytest.raises(InputError, match=r"provenance\.json"):
        PredictionCache.open(folder, PROVENANCE)
    (folder / "provenance.json").unlink()
    with pytest.raises(InputError, match=r"provenance\.json: missing"):
        PredictionCache.open(folder, PROVENANCE)


def test_a_folder_in_place_of_a_part_is_told(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "cache", "a")
    (folder / "part_1.jsonl").mkdir()
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"part_1\.jsonl: cannot be read"):
            PredictionCache.open(folder, PROVENANCE, overwrite=overwrite)
    assert (folder / "part_0.jsonl").is_file()


def test_a_damaged_note_on_the_model_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "cache", "a")
    (folder / "model.json").write_text("{}")
    with pytest.raises(InputError, match=r"model\.json"):
        PredictionCache.open(folder, PROVENANCE)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    cache = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    with pytest.raises(InputError, match="a: the model predicts"):
        cache.add("a", simple(np.nan), 0)
    assert "a" not in cache


def test_a_second_command_may_read_but_not_write(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    cache = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    cache.add("a", simple(), 0)
    other = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    assert other.done == {"a"}
    with pytest.raises(InputError, match="another process is predicting"):
        other.add("b", simple(), 0)
    with pytest.raises(InputError, match="another process is predicting"):
        PredictionCache.open(tmp_path / "cache", {}, overwrite=True)
    cache.add("c", simple(), 0)
    cache.close()
    other.reload()
    other.add("b", simple(), 0)
    other.close()
    assert PredictionCache.open(tmp_path / "cache", PROVENANCE).done == {"a", "b", "c"}


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    cache.add("a", simple(), 0)
    whole = (tmp_path / "cache/part_0.jsonl").read_bytes()
    file = cache._own_file
    assert file is not None

    class Full:
        """Takes ten bytes and then no more."""

        room = 10

        def write(self, content: memoryview) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            written, self.room = file.write(content[: self.room]), 0
            return written

        truncate = file.truncate

    monkeypatch.setattr(cache, "_own_file", Full())
    with pytest.raises(OutputError, match="No space left"):
        cache.add("b", simple(), 0)
    assert (tmp_path / "cache/part_0.jsonl").read_bytes() == whole
    assert cache.done == {"a"}


@pytest.fixture
def pictures(tmp_path: Path) -> PictureFiles:
    """Five pictures of random pixels, of two sizes."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    paths = {}
    for index in range(5):
        size_hw = (20, 30) if index % 2 else (24, 24)
        path = tmp_path / "images" / f"p{index}.png"
        Image.fromarray(rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)).save(path)
        paths[f"p{index}"] = path
    return PictureFiles(paths)


def predictor(seen: list[int] | None = None) -> Predictor:
    """Finds one face, whose score tells which pixels were given."""

    def detect(given: Sequence[np.ndarray]) -> list[Prediction]:
        if seen is not None:
            seen.append(len(given))
        return [
            Prediction(
                np.array([[0.0, 0, 1, 1]]), np.array([picture.mean() / 255]), picture.shape[:2]
            )
            for picture in given
        ]

    notes = ModelNotes(PoseReferences.default(), {"min_size": [96]}, 0.05, "cpu", {"torch": "2"})
    return Predictor(detect, notes)


def refuse() -> Predictor:
    raise AssertionError("loads a model although nothing is missing")


@pytest.mark.parametrize(("batch_size", "batches"), [(1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_everything_is_predicted_once_in_batches(
    tmp_path: Path, pictures: PictureFiles, batch_size: int, batches: list[int]
) -> None:
    seen: list[int] = []
    cache = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    notes = predict_missing(lambda: predictor(seen), pictures, cache, batch_size=batch_size)
    cache.close()
    assert seen == batches
    again = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    assert predict_missing(refuse, pictures, again).to_dict() == notes.to_dict()
    for index, name in enumerate(pictures.names):
        assert again[name].scores[0] == pictures.picture(index).mean() / 255
        assert again[name].seconds > 0
    times = again.inference_seconds()
    assert times["inference_total"] == sum(again[name].seconds for name in again)


class CountedPictures(PictureFiles):
    """Counts what is read."""

    read = 0

    def picture(self, index: int) -> np.ndarray:
        self.read += 1
        return super().picture(index)


def test_pictures_are_read_ahead_and_not_too_far(pictures: PictureFiles) -> None:
    counted = CountedPictures({str(n): pictures.path(n % 5) for n in range(40)})
    batches = [[n, n + 1] for n in range(0, 40, 2)]
    with closing(batches_read_ahead(counted, iter(batches))) as ahead:
        for number, (batch, seen) in enumerate(ahead):
            assert batch == batches[number]
            for index, picture in zip(batch, seen, strict=True):
                np.testing.assert_array_equal(picture, pictures.picture(index % 5))
            # While the model is busy, the next batches come in, and no more than these.
            expected = min(40, 2 * (number + 1 + READ_AHEAD))
            deadline = time.monotonic() + 20
            while counted.read < expected and time.monotonic() < deadline:
                time.sleep(0.001)
            assert counted.read == expected
            if number == 15:
                break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


def test_a_damaged_picture_stops_after_what_came_before_it(
    tmp_path: Path, pictures: PictureFiles
) -> None:
    pictures.path(3).write_bytes(b"words")
    cache = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    with pytest.raises(InputError, match=r"p3\.png"):
        predict_missing(predictor, pictures, cache)
    cache.close()
    assert PredictionCache.open(tmp_path / "cache", PROVENANCE).done == {"p0", "p1", "p2"}


def test_processes_share_what_is_missing_and_their_number_may_change(
    tmp_path: Path, pictures: PictureFiles
) -> None:
    folder = tmp_path / "cache"
    first = PredictionCache.open(folder, PROVENANCE, processes=rank(0, 3))
    first.add("p4", simple(), 0)
    first.close()
    caches = [PredictionCache.open(folder, PROVENANCE, processes=rank(n)) for n in range(2)]
    counts: list[list[int]] = [[], []]
    for number, cache in enumerate(caches):
        predict_missing(
            lambda seen=counts[number]: predictor(seen),  # type: ignore[misc]
            pictures,
            cache,
            processes=rank(number),
        )
        cache.close()
    assert counts == [[1, 1], [1, 1]]
    assert {path.name for path in folder.glob("part_*")} == {"part_0.jsonl", "part_1.jsonl"}
    alone = PredictionCache.open(folder, PROVENANCE)
    assert alone.done == set(pictures.names)
    predict_missing(refuse, pictures, alone)


def test_notes_on_the_model_come_back(
    tmp_path: Path, small_model: Img2Pose, pictures: PictureFiles
) -> None:
    detector = Detector(small_model, 0.1)
    pictures = PictureFiles({"p0": pictures.path(0), "p1": pictures.path(1)})
    cache = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    predict_missing(lambda: Predictor.of(detector), pictures, cache, batch_size=2)
    cache.close()
    again = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    assert again.model is not None
    assert again.model.references.sha256 == detector.references.sha256
    assert again.model.config["min_size"] == [96]
    assert again.model.score_threshold == 0.1
    found = detector.predict(pictures.picture(1))
    np.testing.assert_allclose(again["p1"].as_detections().scores, found.scores, atol=1e-5)
    # Deleted notes are made anew, at the price of loading the model.
    (tmp_path / "cache/model.json").unlink()
    again = PredictionCache.open(tmp_path / "cache", PROVENANCE)
    predict_missing(lambda: Predictor.of(detector), pictures, again)
    assert json.loads((tmp_path / "cache/model.json").read_text())["score_threshold"] == 0.1


def test_the_fingerprint_is_of_names_and_bytes_alone(
    tmp_path: Path, pictures: PictureFiles
) -> None:
    paths = {name: pictures.path(index) for index, name in enumerate(pictures.names)}
    before = fingerprint(pictures)
    assert fingerprint(PictureFiles(dict(reversed(paths.items())))) == before
    renamed = {name.replace("p4", "q4"): path for name, path in paths.items()}
    assert fingerprint(PictureFiles(renamed)) != before
    swapped = {**paths, "p0": paths["p1"], "p1": paths["p0"]}
    assert fingerprint(PictureFiles(swapped)) != before
    content = bytearray(paths["p2"].read_bytes())
    content[-1] ^= 1
    paths["p2"].write_bytes(content)
    assert fingerprint(pictures) != before
    with pytest.raises(InputError, match=r"gone\.png: no such image"):
        PictureFiles({"a": tmp_path / "gone.png"})
