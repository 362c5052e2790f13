"""Which versions made a result."""

from __future__ import annotations

import importlib.metadata
import platform

_PACKAGES = ("img2pose-torch", "torch", "torchvision", "numpy", "opencv-python-headless")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, by name.

    A package that is not installed, such as this one when it runs from its folder, is noted so.
    """
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
