"""The command that downloads published weights, with the real gdown and servers on loopback."""

from __future__ import annotations

import hashlib
import io
import signal
import stat
import subprocess
import sys
import threading
import time
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from img2pose.cli import download_weights
from img2pose.cli.download_weights import DRIVE_IDS, main
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model
from img2pose.types import PoseStats
from tests.settings import PUBLISHED_STATS, SMALL_MODEL

ROOT = Path(__file__).parents[2]
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class Server(ThreadingHTTPServer):
    """Answers GET with what `pages` holds, refuses to be a proxy, and notes what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def serve(
        self,
        body: bytes,
        *,
        announced: int | None = None,
        kind: str = "application/octet-stream",
        then: Callable[[], None] = lambda: None,
    ) -> str:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Type", kind)
            handler.send_header(
                "Content-Length", str(len(body) if announced is None else announced)
            )
            handler.end_headers()
            handler.wfile.write(body)
            handler.wfile.flush()
            then()

        self.pages["/file"] = answer
        return self.url("/file")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.pages.get(self.path)
        if answer is None:
            self.send_error(404)
        else:
            answer(self)

    def do_CONNECT(self) -> None:
        self.server.asked.append(f"CONNECT {self.path}")
        self.send_error(503)

    def log_message(self, *args: object) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def checkpoint(value: float = 1.0, **settings: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"fpn_model": {"module.weight": torch.full((2000,), value)}}, buffer, **settings)
    return buffer.getvalue()


def npy(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def archive(members: Mapping[str, bytes], links: Sequence[str] = ()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if name in links:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            packed.writestr(info, content)
    return buffer.getvalue()


def published_archive(value: float = 1.0) -> bytes:
    return archive(
        {
            "img2pose_v1/": b"",
            "img2pose_v1/img2pose_v1.pth": checkpoint(value),
            "img2pose_v1/WIDER_train_pose_mean_v1.npy": npy(PUBLISHED_STATS.mean),
            "img2pose_v1/WIDER_train_pose_stddev_v1.npy": npy(PUBLISHED_STATS.stddev),
            "img2pose_v1/readme.txt": b"weights",
            "img2pose_v1/.hidden.pth": b"not a checkpoint",
            "__MACOSX/img2pose_v1/img2pose_v1.pth": b"not a checkpoint",
        }
    )


def left() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bare_checkpoint_is_stored_under_its_name(
    server: Server, capsys: pytest.CaptureFixture[str], zipped: bool
) -> None:
    content = checkpoint(_use_new_zipfile_serialization=zipped)
    assert main(["wider", "--url", server.serve(content)]) == 0
    captured = capsys.readouterr()
    path = Path("weights/wider/wider.pth")
    assert path.read_bytes() == content
    assert left() == ["weights", "weights/wider", str(path)]
    assert f"{path}: sha256 {hashlib.sha256(content).hexdigest()}\n" in captured.out
    assert f"--checkpoint {path} --pose_mean MEAN.npy --pose_stddev STDDEV.npy" in captured.out
    assert "not in this download" in captured.out


def test_the_licence_is_said_before_the_download(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    url = server.serve(checkpoint(), then=lambda: said.append(capsys.readouterr().err))
    assert main(["300w_lp", "--url", url]) == 0
    assert len(said) == 1
    assert said[0].startswith("warning: ")
    assert "CC BY-NC 4.0" in said[0]
    assert "non-commercial" in said[0]
    assert "MIT" in said[0]


def test_an_archive_is_unpacked(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    url = server.serve(published_archive())
    assert main(["wider", "--url", url, "--dest", "my weights"]) == 0
    folder = Path("my weights/wider")
    names = ["WIDER_train_pose_mean_v1.npy", "WIDER_train_pose_stddev_v1.npy", "img2pose_v1.pth"]
    assert left() == ["my weights", str(folder), *(str(folder / name) for name in names)]
    assert (folder / names[2]).read_bytes() == checkpoint()
    stats = PoseStats.from_files(folder / names[0], folder / names[1])
    np.testing.assert_array_equal(stats.mean, PUBLISHED_STATS.mean)
    *hashes, command = capsys.readouterr().out.splitlines()
    for line, name in zip(hashes, names, strict=True):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert line == f"{folder / name}: sha256 {digest}"
    assert command == (
        f"next: python scripts/predict.py IMAGE --checkpoint '{folder / names[2]}'"
        f" --pose_mean '{folder / names[0]}' --pose_stddev '{folder / names[1]}' --output_path out"
    )
    mode = stat.S_IMODE((folder / names[2]).stat().st_mode)
    (folder / "new").touch()
    assert mode == stat.S_IMODE((folder / "new").stat().st_mode)


def test_what_is_there_is_kept(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wider", "--url", server.serve(published_archive(1.0))]) == 0
    report = capsys.readouterr().out
    url = server.serve(published_archive(2.0))
    assert main(["wider", "--url", url]) == 0
    captured = capsys.readouterr()
    first, _, rest = captured.out.partition("\n")
    assert first == "weights/wider: already there; give --overwrite to download it again"
    assert rest == report
    assert captured.err == ""
    assert len(server.asked) == 1
    assert Path("weights/wider/img2pose_v1.pth").read_bytes() == checkpoint(1.0)


def test_overwrite_replaces_the_files_of_the_download_only(server: Server) -> None:
    assert main(["wider", "--url", server.serve(published_archive(1.0))]) == 0
    Path("weights/wider/notes.txt").write_text("mine")
    assert main(["wider", "--url", server.serve(published_archive(2.0)), "--overwrite"]) == 0
    assert Path("weights/wider/img2pose_v1.pth").read_bytes() == checkpoint(2.0)
    assert Path("weights/wider/notes.txt").read_text() == "mine"
    assert len(left()) == 6


def test_a_failed_overwrite_keeps_what_is_there(server: Server) -> None:
    assert main(["wider", "--url", server.serve(published_archive())]) == 0
    before = left()
    assert main(["wider", "--url", server.serve(checkpoint()[:-100]), "--overwrite"]) == 2
    assert main(["wider", "--url", server.url("/none"), "--overwrite"]) == 2
    assert left() == before
    assert Path("weights/wider/img2pose_v1.pth").read_bytes() == checkpoint()


def with_wrong_sum() -> bytes:
    content = bytearray(published_archive())
    content[content.index(b"img2pose_v1.pth") + 200] ^= 0xFF
    return bytes(content)


def with_stats(mean: object) -> bytes:
    members = {"m.pth": checkpoint(), "pose_mean.npy": npy(mean), "pose_stddev.npy": npy([1.0] * 6)}
    return archive(members)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><body>Quota exceeded</body></html>", "sent a web page"),
        (b"\xef\xbb\xbf\n<HTML><body>Log in</body></HTML>", "sent a web page"),
        (b"", "wider.pth, which is no checkpoint or is damaged"),
        (b"no weights", "wider.pth, which is no checkpoint or is damaged"),
        (checkpoint()[:-100], "wider.pth, which is no checkpoint or is damaged"),
        (published_archive()[:-100], "wider.pth, which is no checkpoint or is damaged"),
        (with_wrong_sum(), "the archive cannot be unpacked"),
        (archive({"a/m.pth": checkpoint()[:-100]}), "m.pth, which is no checkpoint or is damaged"),
        (archive({}), "holds no .pth file"),
        (archive({"pose_mean.npy": npy([1.0] * 6)}), "holds no .pth file"),
        (archive({"a/m.pth": checkpoint(), "b/M.pth": checkpoint()}), "two files M.pth"),
        (with_stats([1.0] * 5), "no pose mean and standard deviation"),
        (with_stats([np.nan] * 6), "no pose mean and standard deviation"),
    ],
)
def test_a_useless_download_leaves_nothing(
    server: Server, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    url = server.serve(content)
    assert main(["wider", "--url", url]) == 2
    error = one_error(capsys)
    assert message in error
    assert url in error
    assert left() == []


@pytest.mark.parametrize(
    "name", ["../m.pth", "a/../../m.pth", "/m.pth", "..\\m.pth", "C:\\m.pth", "../", "../x.txt"]
)
def test_members_outside_an_archive_are_refused(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = sorted(tmp_path.parent.iterdir())
    content = archive({"m.pth": checkpoint(), name: checkpoint()})
    assert main(["wider", "--url", server.serve(content)]) == 2
    assert f"member {name} lies outside" in one_error(capsys)
    assert left() == []
    assert sorted(tmp_path.parent.iterdir()) == before


def test_links_in_an_archive_are_refused(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    content = archive({"m.pth": checkpoint(), "pose_mean.npy": b"/etc/passwd"}, ["pose_mean.npy"])
    assert main(["wider", "--url", server.serve(content)]) == 2
    assert "pose_mean.npy is a link" in one_error(capsys)
    assert left() == []


class Harmful:
    """Would leave a file if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("harm", "w")


def test_nothing_in_a_download_is_executed(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    torch.save({"fpn_model": Harmful()}, buffer)
    for content in (buffer.getvalue(), archive({"m.pth": buffer.getvalue()})):
        assert main(["wider", "--url", server.serve(content)]) == 2
        assert "is no checkpoint" in one_error(capsys)
        assert left() == []


def test_a_transfer_cut_short_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    content = checkpoint()
    url = server.serve(content, announced=len(content) + 1)
    assert main(["wider", "--url", url]) == 2
    error = one_error(capsys)
    assert f"announced {len(content) + 1} bytes" in error
    assert url in error
    assert left() == []


def test_a_server_that_stalls_is_given_up(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_weights, "TIMEOUT_S", 0.3)
    done = threading.Event()

    def stall() -> None:
        done.wait(20)

    url = server.serve(b"half", announced=8, then=stall)
    started = time.monotonic()
    assert main(["wider", "--url", url]) == 2
    assert time.monotonic() - started < 10
    done.set()
    assert "timed out" in one_error(capsys)
    assert left() == []


def test_an_interrupt_leaves_nothing(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    # A shell starts what runs in its background with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    done = threading.Event()

    def interrupt() -> None:
        assert any(name.endswith(".part") for name in left())
        signal.pthread_kill(main_thread, signal.SIGINT)
        # A signal just before the wait for bytes is not seen until that ends.
        done.wait(1)

    url = server.serve(b"half", announced=8, then=interrupt)
    try:
        assert main(["wider", "--url", url, "--dest", "a/b"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
        done.set()
    assert capsys.readouterr().err.endswith("stopped\n")
    assert left() == []


def test_a_missing_page_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wider", "--url", server.url("/none")]) == 2
    error = one_error(capsys)
    assert "404" in error
    assert server.url("/none") in error
    assert left() == []


def test_a_refused_connection_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with Server() as closed:
        url = closed.url("/file")
    assert main(["wider", "--url", url]) == 2
    error = one_error(capsys)
    assert "refused" in error
    assert url in error
    assert left() == []


@pytest.mark.parametrize("name", sorted(DRIVE_IDS))
def test_google_drive_is_asked_by_default(
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    # A proxy that refuses keeps the request on this machine.
    monkeypatch.setenv("https_proxy", server.url(""))
    assert main([name]) == 2
    error = one_error(capsys)
    assert f"https://drive.google.com/uc?id={DRIVE_IDS[name]}" in error
    assert "503" in error
    assert server.asked == ["CONNECT drive.google.com:443"]
    assert left() == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--url", "file:///etc/passwd"], "begins with http:// or https://"),
        (["--url", "weights.zip"], "begins with http:// or https://"),
        (["--url", "http://"], "begins with http:// or https://"),
        (["--url", "http://[1/x"], "begins with http:// or https://"),
        (["--dest", "taken"], "is a file"),
        (["--dest", "taken/deeper"], "is a file"),
    ],
)
def test_bad_flags_are_named(
    server: Server, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    Path("taken").touch()
    assert main(["wider", "--url", server.serve(checkpoint()), *flags]) == 2
    assert message in one_error(capsys)
    assert server.asked == []
    assert left() == ["taken"]


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["biwi"])
    assert stopped.value.code == 2
    assert "biwi" in capsys.readouterr().err


def test_without_gdown_the_remedy_is_said(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.serve(checkpoint())
    monkeypatch.setitem(sys.modules, "gdown", None)
    assert main(["wider", "--url", url]) == 2
    assert "pip install '.[weights]'" in one_error(capsys)
    old = types.ModuleType("gdown")
    old.download = lambda url, output: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gdown", old)
    assert main(["wider", "--url", url]) == 2
    assert "too old" in one_error(capsys)
    assert server.asked == []
    assert left() == []


def test_files_that_are_there_need_no_gdown(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["wider", "--url", server.serve(checkpoint())]) == 0
    monkeypatch.setitem(sys.modules, "gdown", None)
    assert main(["wider"]) == 0


def test_the_script_fetches_what_load_model_reads(server: Server, small_model: Img2Pose) -> None:
    state = {f"module.{name}": value for name, value in small_model.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"fpn_model": state}, buffer)
    members = {
        "img2pose_v1.pth": buffer.getvalue(),
        "WIDER_train_pose_mean_v1.npy": npy(PUBLISHED_STATS.mean),
        "WIDER_train_pose_stddev_v1.npy": npy(PUBLISHED_STATS.stddev),
    }
    script = [sys.executable, str(ROOT / "scripts/download_weights.py"), "300w_lp"]
    script += ["--url", server.serve(archive(members))]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["warning"]
    folder = Path("weights/300w_lp")
    mean, stddev = sorted(folder.glob("*.npy"))
    loaded = load_model(
        folder / "img2pose_v1.pth", pose_stats=PoseStats.from_files(mean, stddev), **SMALL_MODEL
    )
    for name, value in small_model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)
