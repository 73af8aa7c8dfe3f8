"""What output files hold, and whether they are as the index of their folder says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError, reason, refuse_empty
from .folder import SETTINGS, index_files, read_lines, read_settings
from .formats import Damaged, Entry, read_array, read_entries

FORMATS = (".npy", ".safetensors")


@dataclass(frozen=True)
class Found:
    """One array in a file, or one row of it; or why it can't be read."""

    path: str
    stage: str = ""
    row: int | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    min: float | None = None
    """Of the finite values, as is `max`; None where there is none."""
    max: float | None = None
    nan: int = 0
    inf: int = 0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def name(self) -> str:
        stage = f" {self.stage}" if self.stage and not self.path.endswith(".npy") else ""
        return f"{self.path}{stage}" + ("" if self.row is None else f" [{self.row}]")


def sum_up(each: Iterable[Found], sums: dict[tuple[Any, ...], tuple[Found, int]]) -> Iterator[Found]:
    """Pass on what comes by, and keep for each stage, shape and dtype what it comes to."""
    for found in each:
        if not found.error:
            key = (found.stage, found.shape, found.dtype)
            so_far, count = sums.get(key, (found, 0))
            sums[key] = (found if count == 0 else merged(so_far, found), count + 1)
        yield found


def merged(a: Found, b: Found) -> Found:
    low = [found.min for found in (a, b) if found.min is not None]
    high = [found.max for found in (a, b) if found.max is not None]
    return Found(
        "",
        a.stage,
        None,
        a.shape,
        a.dtype,
        min(low, default=None),
        max(high, default=None),
        a.nan + b.nan,
        a.inf + b.inf,
    )


def inspect_path(text: str) -> Iterator[Found]:
    """Every array of a file, or that the index of a folder lists."""
    path = Path(text)
    refuse_empty("A path", text, " Name `.` for this folder.")
    if path.is_dir():
        yield from inspect_folder(path)
    elif path.suffix not in FORMATS or not path.exists():
        what = "is no .npy or .safetensors file" if path.exists() else "does not exist"
        raise UsageError(f"'{text}' {what}; name such files, or a folder that `backbone extract` wrote.")
    else:
        yield from inspect_file(path)


def inspect_file(path: Path) -> Iterator[Found]:
    try:
        for stage, entry in read_entries(path, path.suffix[1:]).items():
            yield measure(path, stage, entry)
    except (OSError, Damaged) as error:
        yield Found(str(path), error=reason(error))


def inspect_folder(folder: Path) -> Iterator[Found]:
    settings = read_settings(folder)
    if settings is None:
        raise UsageError(f"'{folder}' holds no features: its {SETTINGS} is missing or can't be read.")
    for index in index_files(folder):
        for line in read_lines(index):
            for stage, about in line["outputs"].items():
                yield inspect_listed(folder, stage, about, settings.get("save_dtype"))


def inspect_listed(folder: Path, stage: str, about: dict[str, Any], dtype: object) -> Found:
    """One array, held against what the index says of it."""
    try:
        path, row, shape = folder / about["file"], about.get("row"), tuple(about["shape"])
    except (KeyError, TypeError):
        return Found(str(folder), stage, error=f"its index says of {stage} what makes no sense: {about}")
    try:
        entries = read_entries(path, path.suffix[1:])
        entry = entries.get("" if path.suffix == ".npy" else stage)
        if entry is None:
            raise Damaged(f"it does not hold {stage}")
        held = entry.shape if row is None else entry.shape[1:]
        if held != shape or entry.dtype != dtype or (row is not None and row not in range((*entry.shape, 0)[0])):
            raise Damaged(f"{stage} is {entry.dtype} {held} in it, and is listed as {dtype} {shape}")
        return measure(path, stage, entry, row)
    except (OSError, Damaged) as error:
        return Found(str(path), stage, row, error=reason(error))


def measure(path: Path, stage: str, entry: Entry, row: int | None = None) -> Found:
    array = read_array(path, entry, row)
    finite = array[np.isfinite(array)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    nan = int(np.isnan(array).sum())
    inf = array.size - finite.size - nan
    return Found(str(path), stage, row, array.shape, entry.dtype, low, high, nan, inf)
