"""BIWI's layout and pose files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.data.biwi import BiwiPose, find_frames, listed_frames, pose_text, read_pose
from img2pose.errors import InputError

POSE = "1 0 0 \n0 1 0 \n0 0 1 \n\n10.5 -20 900 \n"


def write_frames(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}_rgb.png").write_bytes(b"")
        (folder / f"{name}_pose.txt").write_text(POSE)


def test_a_pose_file_as_the_set_has_it(tmp_path: Path) -> None:
    path = tmp_path / "frame_00003_pose.txt"
    path.write_text(
        "0.988235 -0.0257431 0.150696 \n0.0572903 0.976282 -0.208925 \n-0.141743 0.2151 0.966252"
        " \n\n88.3164 71.1683 904.508 \n"
    )
    pose = read_pose(path)
    assert pose.translation_mm.tolist() == [88.3164, 71.1683, 904.508]
    np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(pose.rotation[0], [0.988235, -0.0257431, 0.150696], atol=2e-3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not rows of nothing"),
        ("1 0 0\n0 1 0\n0 0 1\n", "not rows of 3, 3, 3;"),
        ("1 0 0\n0 1 0\n0 0 1 0\n\n0 0 900\n", "not rows of 3, 3, 4, 3;"),
        ("1 0 0\n0 1 0\n0 0 1\n\n0 0 900\n0 0 0\n", "not rows of 3, 3, 3, 3, 3;"),
        ("1 0 0\n0 1 0\n0 0 one\n\n0 0 900\n", "something else than numbers"),
        ("1 0 0\n0 nan 0\n0 0 1\n\n0 0 900\n", "NaN or infinity"),
        ("1 0 0\n0 1 0\n0 0 1\n\n0 0 inf\n", "NaN or infinity"),
        ("1 0 0\n0 1 0\n0 0 -1\n\n0 0 900\n", "no rotation"),
        ("2 0 0\n0 2 0\n0 0 2\n\n0 0 900\n", "no rotation"),
        ("0 0 0\n0 0 0\n0 0 0\n\n0 0 900\n", "no rotation"),
        ("1e200 0 0\n0 1e-200 0\n0 0 1\n\n0 0 900\n", "no rotation"),
    ],
)
def test_other_pose_files_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "frame_00003_pose.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=r"frame_00003_pose\.txt: ") as caught:
        read_pose(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=80) | st.text(alphabet="0123456789.-e \nnaif", max_size=80))
def test_no_content_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed_pose.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        pose = read_pose(path)
    except InputError:
        return
    np.testing.assert_allclose(np.linalg.det(pose.rotation), 1)


def test_all_frames_are_found_in_order(tmp_path: Path) -> None:
    write_frames(tmp_path, "02/frame_00001", "01/frame_00010", "01/frame_00002")
    (tmp_path / "01/frame_00011_rgb.png").write_bytes(b"")
    (tmp_path / "01/frame_00012_pose.txt").write_text(POSE)
    (tmp_path / "01/frame_00002_depth.bin").write_bytes(b"")
    (tmp_path / "01/rgb.cal").write_text("")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/frame_00002_rgb.png").write_bytes(b"")
    frames = find_frames(tmp_path)
    assert frames.names == ("01/frame_00002", "01/frame_00010", "02/frame_00001")
    assert frames.without_pose == ("01/frame_00011",)
    assert frames.without_picture == ("01/frame_00012",)


def test_listed_frames(tmp_path: Path) -> None:
    write_frames(tmp_path, "01/frame_00002", "01/frame_00003", "02/frame_00001")
    frame_list = tmp_path / "list.txt"
    frame_list.write_text("02/frame_00001\r\n\n01/frame_00003_rgb.png\n")
    assert listed_frames(tmp_path, frame_list).names == ("02/frame_00001", "01/frame_00003")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no frame"),
        ("01/frame_00002\n01/frame_00009\n", "line 2: .*frame_00009_rgb.png is not there"),
        ("01/frame_00007\n", "line 1: .*frame_00007_pose.txt is not there"),
        ("01/frame_00002\n01/frame_00002\n", "line 2: 01/frame_00002 stands in line 1 too"),
        ("../01/frame_00002\n", "line 1: NN/frame_XXXXX expected"),
        ("/etc/passwd\n", "line 1: NN/frame_XXXXX expected"),
    ],
)
def test_bad_lists(tmp_path: Path, text: str, told: str) -> None:
    write_frames(tmp_path, "01/frame_00002")
    (tmp_path / "01/frame_00007_rgb.png").write_bytes(b"")
    frame_list = tmp_path / "list.txt"
    frame_list.write_text(text)
    with pytest.raises(InputError, match=told):
        listed_frames(tmp_path, frame_list)


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        find_frames(tmp_path / "gone")
    with pytest.raises(InputError, match=r"holds no NN/frame_XXXXX_rgb\.png"):
        find_frames(tmp_path)
    with pytest.raises(InputError, match=r"list\.txt: is not there"):
        listed_frames(tmp_path, tmp_path / "list.txt")


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path / "inside", "01/frame_00002")
    (tmp_path / "secret.png").write_bytes(b"")
    image = tmp_path / "inside/01/frame_00002_rgb.png"
    image.unlink()
    image.symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match="lies outside"):
        find_frames(tmp_path / "inside")
    assert find_frames(tmp_path / "inside", allow_outside=True).names == ("01/frame_00002",)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    path = tmp_path / "frame_00003_pose.txt"
    path.write_text(pose_text(BiwiPose(quarter, np.array([12.5, -3, 1020.25]))))
    assert path.read_text() == "0.0 -1.0 0.0 \n1.0 0.0 0.0 \n0.0 0.0 1.0 \n\n12.5 -3.0 1020.25 \n"
    pose = read_pose(path)
    np.testing.assert_allclose(pose.rotation, quarter, atol=1e-12)
    assert pose.translation_mm.tolist() == [12.5, -3, 1020.25]
