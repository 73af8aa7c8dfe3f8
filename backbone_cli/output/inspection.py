"""What output files hold, and whether that matches the index of their folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError, reason, reject_empty
from .folder import SETTINGS, read_settings
from .formats import DamagedFile, Entry, read_array, read_entries
from .index import index_files, read_lines

FORMATS = (".npy", ".safetensors")


@dataclass(frozen=True)
class ArrayReport:
    """One array in a file, or one row of it, or why it can't be read."""

    path: str
    stage: str = ""
    row: int | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    min: float | None = None
    """Of the finite values, like `max`; None if there are none."""
    max: float | None = None
    nan: int = 0
    inf: int = 0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def name(self) -> str:
        stage = f" {self.stage}" if self.stage and not self.path.endswith(".npy") else ""
        return f"{self.path}{stage}" + ("" if self.row is None else f" [{self.row}]")


def summarize(
    reports: Iterable[ArrayReport], totals: dict[tuple[Any, ...], tuple[ArrayReport, int]]
) -> Iterator[ArrayReport]:
    """Yield the reports unchanged, and collect in `totals` a merged one and a count for each stage, shape and dtype."""
    for report in reports:
        if not report.error:
            key = (report.stage, report.shape, report.dtype)
            merged, count = totals.get(key, (report, 0))
            totals[key] = (report if count == 0 else merge_reports(merged, report), count + 1)
        yield report


def merge_reports(a: ArrayReport, b: ArrayReport) -> ArrayReport:
    low = [report.min for report in (a, b) if report.min is not None]
    high = [report.max for report in (a, b) if report.max is not None]
    return ArrayReport(
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


def inspect_path(text: str) -> Iterator[ArrayReport]:
    """Every array of a file, or every one listed in a folder's index."""
    path = Path(text)
    reject_empty("A path", text, " Use `.` for the current folder.")
    if path.is_dir():
        yield from inspect_folder(path)
    elif path.suffix not in FORMATS or not path.exists():
        problem = "is not a .npy or .safetensors file" if path.exists() else "does not exist"
        raise UsageError(
            f"'{text}' {problem}; give .npy or .safetensors files, or a folder that `backbone extract` wrote."
        )
    else:
        yield from inspect_file(path)


def inspect_file(path: Path) -> Iterator[ArrayReport]:
    try:
        for stage, entry in read_entries(path, path.suffix[1:]).items():
            yield measure(path, stage, entry)
    except (OSError, DamagedFile) as error:
        yield ArrayReport(str(path), error=reason(error))


def inspect_folder(folder: Path) -> Iterator[ArrayReport]:
    settings = read_settings(folder)
    if settings is None:
        raise UsageError(f"'{folder}' holds no features: its {SETTINGS} is missing or can't be read.")
    for index in index_files(folder):
        for line in read_lines(index):
            for stage, output in line["outputs"].items():
                yield inspect_listed(folder, stage, output, settings.get("save_dtype"))


def inspect_listed(folder: Path, stage: str, output: dict[str, Any], dtype: object) -> ArrayReport:
    """One array, compared with what the index says about it."""
    try:
        path, row, shape = folder / output["file"], output.get("row"), tuple(output["shape"])
    except (KeyError, TypeError):
        return ArrayReport(str(folder), stage, error=f"its index entry for {stage} is invalid: {output}")
    try:
        entries = read_entries(path, path.suffix[1:])
        entry = entries.get("" if path.suffix == ".npy" else stage)
        if entry is None:
            raise DamagedFile(f"it does not hold {stage}")
        actual = entry.shape if row is None else entry.shape[1:]
        if actual != shape or entry.dtype != dtype or (row is not None and row not in range((*entry.shape, 0)[0])):
            raise DamagedFile(f"its {stage} is {entry.dtype} {actual}, but is listed as {dtype} {shape}")
        return measure(path, stage, entry, row)
    except (OSError, DamagedFile) as error:
        return ArrayReport(str(path), stage, row, error=reason(error))


def measure(path: Path, stage: str, entry: Entry, row: int | None = None) -> ArrayReport:
    array = read_array(path, entry, row)
    finite = array[np.isfinite(array)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    nan = int(np.isnan(array).sum())
    inf = array.size - finite.size - nan
    return ArrayReport(str(path), stage, row, array.shape, entry.dtype, low, high, nan, inf)
