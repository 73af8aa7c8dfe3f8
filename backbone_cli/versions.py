"""Versions of installed packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed(name: str) -> str | None:
    """The version of a package; None if it is not installed, or runs from a source tree."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
