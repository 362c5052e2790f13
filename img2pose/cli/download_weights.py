"""Downloads the weights that the paper's authors published on Google Drive."""

from __future__ import annotations

import argparse
import inspect
import lzma
import re
import shlex
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from types import ModuleType
from urllib.parse import urlsplit

from tqdm import tqdm

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import command_parser, print_results
from img2pose.errors import InputError
from img2pose.files import check_output_folder, file_sha256, replace_when_complete
from img2pose.models.weights import read_checkpoint
from img2pose.types import PoseStats

# Google Drive's names of the files.
DRIVE_IDS = {
    "wider": "1OvnZ7OUQFg2bAgFADhT7UnCkSaXst10O",
    "300w_lp": "1wSqPr9h1x_TOaxuN-Nu3OlTmhqnuf6rZ",
}
LICENCE = (
    "these weights are the img2pose authors', licensed CC BY-NC 4.0: non-commercial use only, not"
    " covered by this project's MIT licence"
)
# Without a byte for so long, a server is given up.
TIMEOUT_S = 60.0

_REMEDY = "try again later or give another copy's address with --url"
_KEPT_SUFFIXES = (".pth", ".npy")


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/download_weights.py",
        "Download weights that the img2pose paper's authors published on Google Drive"
        " to DEST/NAME/ (needs gdown: pip install '.[weights]'). Prints the files and their"
        f" SHA-256. Licence: {LICENCE}.",
        "wider --dest weights",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        choices=DRIVE_IDS,
        help="wider (trained on WIDER FACE) or 300w_lp (then fine-tuned on 300W-LP)",
    )
    parser.add_argument(
        "--dest", default="weights", help="folder for the folder NAME (default %(default)s)"
    )
    parser.add_argument(
        "--url",
        help="address (http or https) of a copy, for example on a mirror in your own network,"
        " instead of Google Drive",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="download again and replace files that are there"
    )
    return parser


def _source(name: str, url: str | None) -> str:
    if url is None:
        return f"https://drive.google.com/uc?id={DRIVE_IDS[name]}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"--url {url}: give an address that begins with http:// or https://")
    return url


def _import_gdown() -> ModuleType:
    try:
        import gdown  # an optional package
    except ImportError as error:
        raise InputError(
            "downloading needs the package gdown; run pip install '.[weights]' in the checkout"
        ) from error
    if "timeout" not in inspect.signature(gdown.download).parameters:
        raise InputError(
            "the gdown that is installed is too old; run pip install '.[weights]' in the checkout"
        )
    return gdown


def _innermost(error: BaseException) -> str:
    # The outer errors of requests and urllib3 wrap the reason in their internals.
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def _download(gdown: ModuleType, source: str, path: Path) -> None:
    """Writes what the address sends to `path`.

    Raises:
        InputError: The server cannot be reached, refuses, stalls or sends less than it announced.
    """
    with (
        open(path, "wb") as handle,
        tqdm(
            desc="downloading",
            unit="B",
            unit_scale=True,
            disable=None,
            file=sys.stderr,
            leave=False,
        ) as bar,
    ):

        def show(received: int, total: int | None) -> None:
            bar.total = total
            bar.update(received - bar.n)

        try:
            gdown.download(
                url=source,
                output=handle,
                quiet=True,
                use_cookies=False,
                timeout=TIMEOUT_S,
                progress=show,
            )
        except gdown.FileURLRetrievalError as error:
            raise InputError(
                f"{source}: Google Drive sent a page instead of the file (too many downloads today,"
                f" or no longer shared); {_REMEDY}"
            ) from error
        except gdown.DownloadError as error:
            raise InputError(f"{source}: {str(error).rstrip('.')}; {_REMEDY}") from error
        except OSError as error:  # those of requests are among them
            raise InputError(
                f"{source}: cannot be downloaded ({_innermost(error)}); {_REMEDY}"
            ) from error


def _kept_members(archive: zipfile.ZipFile, source: str) -> dict[str, zipfile.ZipInfo]:
    """The weights and arrays of an archive by their base names."""
    kept: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in str(path):
            raise InputError(
                f"{source}: the archive's member {member.filename} lies outside of it; nothing was"
                " unpacked, use another copy"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(
                f"{source}: the archive's member {member.filename} is a link; nothing was unpacked,"
                " use another copy"
            )
        if member.is_dir() or "__MACOSX" in path.parts or path.name.startswith("."):
            continue
        if path.suffix.lower() not in _KEPT_SUFFIXES:
            continue
        # File systems may ignore case.
        if path.name.casefold() in (name.casefold() for name in kept):
            raise InputError(f"{source}: the archive holds two files {path.name}; use another copy")
        kept[path.name] = member
    return kept


def _is_checkpoint(archive: zipfile.ZipFile) -> bool:
    # torch.save writes zip files too.
    return any(re.fullmatch(r"[^/]+/data\.pkl", name) for name in archive.namelist())


def _unpack(download: Path, folder: Path, name: str, source: str) -> list[Path]:
    """Files of a download: those of an archive, or the checkpoint itself.

    Args:
        download: What was downloaded; moved if it is a checkpoint.
        folder: Empty folder for the files.
        name: Stem of a bare checkpoint's file.
        source: What errors name.

    Raises:
        InputError: It is a web page, a damaged archive, or one with members that are not trusted.
    """
    with open(download, "rb") as handle:
        start = handle.read(256)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise InputError(f"{source}: sent a web page instead of a file; {_REMEDY}")
    bare = folder / f"{name}.pth"
    if not zipfile.is_zipfile(download):
        return [download.rename(bare)]
    files = []
    try:
        with zipfile.ZipFile(download) as archive:
            members = _kept_members(archive, source)
            if not members and _is_checkpoint(archive):
                return [download.rename(bare)]
            for base, member in members.items():
                with archive.open(member) as packed, open(folder / base, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
                files.append(folder / base)
    except InputError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,  # encrypted, or an unknown way of compression
    ) as error:
        raise InputError(
            f"{source}: the archive cannot be unpacked ({error}); {_REMEDY}"
        ) from error
    if not any(file.suffix.lower() == ".pth" for file in files):
        raise InputError(f"{source}: the archive holds no .pth file; use another copy")
    return files


def _pose_stats_files(files: Sequence[Path]) -> tuple[Path, Path] | None:
    """The pose mean and standard deviation among the files, if both are clear from the names."""
    arrays = [file for file in files if file.suffix.lower() == ".npy"]
    means = [file for file in arrays if "pose_mean" in file.name.lower()]
    stddevs = [file for file in arrays if "pose_std" in file.name.lower()]
    return (means[0], stddevs[0]) if len(means) == len(stddevs) == 1 else None


def _check(files: Sequence[Path], source: str) -> None:
    for file in files:
        if file.suffix.lower() == ".pth":
            try:
                read_checkpoint(file)
            except InputError as error:
                raise InputError(
                    f"{source}: sent {file.name}, which is no checkpoint or is damaged; {_REMEDY}"
                ) from error
    stats = _pose_stats_files(files)
    if stats is not None:
        try:
            PoseStats.from_files(*stats)
        except InputError as error:
            raise InputError(
                f"{source}: sent {stats[0].name} and {stats[1].name}, which are no pose mean and"
                f" standard deviation or are damaged; {_REMEDY}"
            ) from error


def _store(files: Sequence[Path], folder: Path) -> list[Path]:
    """Moves the files to the folder once all of them are there."""
    targets = []
    with ExitStack() as stack:
        for file in sorted(files):
            targets.append(folder / file.name)
            file.replace(stack.enter_context(replace_when_complete(targets[-1])))
    return targets


def _print_files(args: argparse.Namespace, folder: Path, files: Sequence[Path], new: bool) -> None:
    digests = {str(file): file_sha256(file, "make it readable") for file in files}
    lines = [] if new else [f"{folder}: already there; give --overwrite to download it again"]
    lines += [f"{file}: sha256 {digest}" for file, digest in digests.items()]
    stats = _pose_stats_files(files)
    mean, stddev = ("MEAN.npy", "STDDEV.npy") if stats is None else map(str, stats)
    calls = []
    for file in files:
        if file.suffix.lower() == ".pth":
            command = ["python", "scripts/predict.py", "IMAGE", "--checkpoint", str(file)]
            command += ["--pose_mean", mean, "--pose_stddev", stddev, "--output_path", "out"]
            calls.append(shlex.join(command))
    lines += [f"next: {call}" for call in calls]
    if stats is None:
        lines.append(
            "MEAN.npy, STDDEV.npy: the authors' pose statistics, which are not in this download"
        )
    print_results(args, {"downloaded": new, "sha256": digests, "next": calls}, "\n".join(lines))


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    source = _source(args.name, args.url)
    folder = Path(args.dest) / args.name
    check_output_folder(folder)
    present = sorted(
        file
        for file in folder.glob("*")
        if file.suffix.lower() in _KEPT_SUFFIXES and file.is_file()
    )
    if any(file.suffix.lower() == ".pth" for file in present) and not args.overwrite:
        _print_files(args, folder, present, new=False)
        return 0
    gdown = _import_gdown()
    print(f"warning: {LICENCE}", file=sys.stderr)
    # Where the folder will be made, so that files are moved and not copied.
    beside = folder.absolute()
    while not beside.exists():
        beside = beside.parent
    with tempfile.TemporaryDirectory(
        dir=beside, prefix=f".{args.name}.", suffix=".part", ignore_cleanup_errors=True
    ) as staging:
        download, unpacked = Path(staging) / "download", Path(staging) / "files"
        unpacked.mkdir()
        _download(gdown, source, download)
        files = _unpack(download, unpacked, args.name, source)
        _check(files, source)
        files = _store(files, folder)
    _print_files(args, folder, files, new=True)
    return 0
