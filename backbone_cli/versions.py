"""What is installed, as the packages say themselves."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed(name: str) -> str | None:
    """The version of a package; None where there is none, or where it runs from a source tree."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
