"""Which detector labels the photographs, with which options, and how its labels name it."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from img2pose.annotators.protocol import FaceDetector
from img2pose.errors import InputError
from img2pose.files import file_sha256

# Module and class; only the chosen one is imported, since models take long.
BUILT_IN = {
    "yunet": ("img2pose.annotators.yunet", "YuNet"),
    "img2pose": ("img2pose.annotators.checkpoint", "CheckpointDetector"),
}
_DIGEST_LENGTH = 8


def parse_options(entries: Sequence[str]) -> dict[str, Any]:
    """Options of a command line.

    Args:
        entries: `key=value` each; values are JSON (numbers, true, false, null, lists), a list
            without its brackets (`640,1280`), or else text.

    Raises:
        InputError: An entry has no key or no `=`, or a key comes twice.
    """
    options: dict[str, Any] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"--detector_options {entry}: write key=value")
        if key in options:
            raise InputError(f"--detector_options {entry}: {key} comes twice")
        options[key] = _parse_value(value)
    return options


def _parse_value(text: str) -> Any:
    for candidate in (text, f"[{text}]"):
        try:
            return json.loads(candidate, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            continue
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


@dataclass(frozen=True)
class DetectorChoice:
    """A detector by name and options; light enough to send to worker processes.

    Attributes:
        name: `yunet`, `img2pose` or `module:Class`; see `FaceDetector`.
        options: Keyword arguments of its class.
    """

    name: str
    options: Mapping[str, Any]

    def build(self) -> FaceDetector:
        """Makes the detector.

        Raises:
            InputError: There is no such class, or it refuses its options.
        """
        make = self._class()
        self._all_options(make)
        try:
            detector = make(**self.options)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"--detector {self.name}: {error}") from error
        if not callable(detector):
            raise InputError(
                f"--detector {self.name}: cannot be called with a picture; give it a method"
                " __call__(self, image_rgb)"
            )
        return detector

    def settings(self) -> dict[str, Any]:
        """All that its labels depend on, as JSON values: name, options, digests of files.

        Of an option that names a file, the file's name and digest count, not where it lies.

        Raises:
            InputError: As `build`, or a file cannot be read.
        """
        make = self._class()
        options = {
            key: _file_and_digest(value) if _names_file(value) else _as_json(value)
            for key, value in self._all_options(make).items()
        }
        settings: dict[str, Any] = {"detector": self.name, "options": options}
        if self.name not in BUILT_IN:
            source = inspect.getsourcefile(make)
            settings["source"] = None if source is None else _file_and_digest(source)
        return settings

    def label_source(self) -> str:
        """Its name and the names and short digests of the files that it was given."""
        files = [value for value in self.options.values() if _names_file(value)]
        return " ".join([self.name, *map(_file_and_digest, files)])

    def _class(self) -> Callable[..., FaceDetector]:
        make: Callable[..., FaceDetector]
        if self.name in BUILT_IN:
            module_name, class_name = BUILT_IN[self.name]
            make = getattr(importlib.import_module(module_name), class_name)
            return make
        module_name, colon, class_name = self.name.partition(":")
        parts = [*module_name.split("."), class_name]
        if not (colon and all(part.isidentifier() for part in parts)):
            raise InputError(
                f"--detector {self.name}: choose {', '.join(BUILT_IN)} or a class of your own as"
                " module:Class"
            )
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise InputError(
                f"--detector {self.name}: {error}; the module must be in the current folder"
                f" ({here}) or installed"
            ) from error
        except (ImportError, SyntaxError) as error:
            raise InputError(
                f"--detector {self.name}: {module_name} cannot be imported ({error}); mend it"
            ) from error
        found: Any = getattr(module, class_name, None)
        if not isinstance(found, type):
            raise InputError(f"--detector {self.name}: {module_name} has no class {class_name}")
        make = found
        return make

    def _all_options(self, make: Callable[..., FaceDetector]) -> dict[str, Any]:
        try:
            signature = inspect.signature(make)
        except ValueError as error:
            raise InputError(
                f"--detector {self.name}: Python cannot tell its options; give a class of Python"
            ) from error
        try:
            bound = signature.bind(**self.options)
        except TypeError as error:
            model = "; give the model's file by --model_path" if "model_path" in str(error) else ""
            raise InputError(
                f"--detector {self.name}: {error}{model}; its options are"
                f" {', '.join(signature.parameters) or 'none'}"
            ) from error
        bound.apply_defaults()
        return dict(bound.arguments)


def _names_file(value: Any) -> bool:
    try:
        return isinstance(value, str) and Path(value).is_file()
    except (OSError, ValueError):
        return False


def _file_and_digest(path: str) -> str:
    digest = file_sha256(path, "check --detector_options")
    return f"{Path(path).name} sha256:{digest[:_DIGEST_LENGTH]}"


def _as_json(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return repr(value)
