"""`backbone inspect`: what output files hold, and whether they are intact."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import console, table

if TYPE_CHECKING:
    from ..output.inspection import ArrayReport

MAX_LISTED = 40
"""With more arrays than this, only a summary by stage is shown."""


def inspect(
    paths: Annotated[
        list[str], typer.Argument(help="Folders that `backbone extract` wrote, or files in them.", show_default=False)
    ],
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Show what output files hold: name, shape, dtype, range, NaN and Inf. Exits with 1 if a file is damaged.

    In a folder, every file in its index is read: it must exist, be intact, and have the listed shape and dtype.

    \b
    backbone inspect features/
    backbone inspect features/a/1.stage4.npy
    backbone inspect features/ --json | jq -c 'select(.nan > 0)'
    """
    from ..output.inspection import inspect_path, summarize

    listed: list[ArrayReport] = []
    totals: dict[tuple[object, ...], tuple[ArrayReport, int]] = {}
    damaged = 0
    for report in summarize(chain.from_iterable(map(inspect_path, paths)), totals):
        if as_json:
            console.data(json.dumps(report.to_dict()))
        if report.error:
            damaged += 1
            console.error(f"{report.name()} is damaged: {report.error}.")
        elif len(listed) <= MAX_LISTED:
            listed.append(report)
    intact = sum(count for _, count in totals.values())
    if intact and not as_json:
        rows = [(report.name(), report) for report in listed]
        if intact > MAX_LISTED:
            rows = [(f"{report.stage}, {count:,} times", report) for report, count in totals.values()]
        console.data(table(("name", "shape", "dtype", "min", "max", "nan", "inf"), (cells(*row) for row in rows)))
    console.info(f"Arrays: {intact:,} intact, {damaged:,} damaged.")
    return 1 if damaged else 0


def cells(name: str, report: ArrayReport) -> tuple[object, ...]:
    low, high = ("-" if value is None else f"{value:.4g}" for value in (report.min, report.max))
    return name, " x ".join(map(str, report.shape)), report.dtype, low, high, report.nan, report.inf
