from __future__ import annotations

import importlib.metadata
import platform

import pytest

from img2pose.versions import package_versions


def test_versions_are_those_that_run() -> None:
    versions = package_versions()
    assert versions["python"] == platform.python_version()
    assert versions["torch"] == importlib.metadata.version("torch")
    assert list(versions)[1] == "img2pose-torch"


def test_a_package_that_is_not_installed_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert package_versions()["torch"] == "not installed"
