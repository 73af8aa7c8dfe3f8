"""The output folder: `backbone.json` holds the run's settings, and features made with other settings are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import OutputRefused
from .formats import translate_os_errors, write_atomically
from .index import folder_in_use, index_files, read_lines, try_lock

SETTINGS = "backbone.json"
# Recorded in backbone.json, but free to differ from run to run.
INFORMATIVE_KEYS = ("versions", "model")


class OutputFolder:
    """Settings come first: nothing is read or written in a folder that holds features made with other ones."""

    def __init__(self, path: Path, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        self.path, self.settings, self.overwrite = path, settings, overwrite
        self.resuming = self.matches_settings()

    def matches_settings(self) -> bool:
        """Whether an earlier run with the same settings was here. Raises OutputRefused if one with others was."""
        if not (self.path / SETTINGS).exists() and not index_files(self.path):
            return False
        differences = setting_differences(read_settings(self.path), self.settings)
        if differences and not self.overwrite:
            raise OutputRefused(
                f"'{self.path}' holds features made with other settings: {'; '.join(differences)}."
                " Choose another folder with -o, or replace them with --overwrite."
            )
        return not differences

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Make the folder this run's own; of several shards that start at once, the first one does it for all.

        The body of the `with` statement runs before any other run can begin.
        """
        with translate_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path):
                self.resuming = self.matches_settings()  # another run may have been faster
                if not self.resuming:
                    if self.overwrite:
                        remove_features(self.path)
                    text = json.dumps(self.settings, indent=2) + "\n"
                    write_atomically(self.path / SETTINGS, lambda file: file.write(text.encode()))
                yield


def setting_differences(there: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """What differs between a folder's settings and a run's, as phrases."""
    if there is None:
        return [f"its {SETTINGS} is missing or can't be read"]
    differences = []
    for key in {**there, **now}:
        old, new = there.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and key not in INFORMATIVE_KEYS:
            differences += [f"{key}: {difference}" for difference in setting_differences(old, new)]
        elif key not in INFORMATIVE_KEYS and old != new:
            differences.append(f"{key} is {format_setting(old)} there and {format_setting(new)} now")
    return differences


def format_setting(value: Any) -> str:
    """A setting for a message; stages are shortened to their names."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" in value[0]:
        return ", ".join(str(stage["name"]) for stage in value)
    return value if isinstance(value, str) else json.dumps(value)


def read_settings(folder: Path) -> dict[str, Any] | None:
    """The contents of a folder's backbone.json; None if it is missing or can't be read."""
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on a folder, waiting if another process holds it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try_lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def remove_features(folder: Path) -> None:
    """Remove what an earlier run left: the index first, so that no line lists a file that is gone."""
    refuse_if_in_use(folder)
    for path in index_files(folder):
        path.replace(path.with_name(f".{path.name}.old"))
    for old in folder.glob(".*.jsonl.old"):
        for line in read_lines(old):
            for output in line["outputs"].values():
                path = folder / str(output.get("file"))
                if path.resolve().is_relative_to(folder.resolve()):
                    path.unlink(missing_ok=True)
        old.unlink()
    for part in folder.glob(".*.part"):
        part.unlink()


def refuse_if_in_use(folder: Path) -> None:
    """Raise OutputRefused if a run is writing here: it holds a lock on its index, which may still be hidden."""
    for path in (*index_files(folder), *folder.glob(".*.part")):
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if not try_lock(descriptor, wait=False):
                    raise folder_in_use(folder)
            finally:
                os.close(descriptor)
