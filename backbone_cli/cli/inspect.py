"""`backbone inspect`: what output files hold, and whether they are whole."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import console, table

if TYPE_CHECKING:
    from ..pipeline.inspection import Found

LISTED = 40
"""More arrays than these are summed up by stage."""


def inspect(
    paths: Annotated[
        list[str], typer.Argument(help="Folders that `backbone extract` wrote, or files in them.", show_default=False)
    ],
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Show what output files hold: name, shape, dtype, range, NaN and Inf. Exits with 1 where a file is damaged.

    Of a folder, every file that its index lists is read, and must be there, whole, of the listed shape and dtype.

    \b
    backbone inspect features/
    backbone inspect features/a/1.stage4.npy
    backbone inspect features/ --json | jq -c 'select(.nan > 0)'
    """
    from ..pipeline.inspection import inspect_path, sum_up

    each: list[Found] = []
    sums: dict[tuple[object, ...], tuple[Found, int]] = {}
    damaged = 0
    for found in sum_up(chain.from_iterable(map(inspect_path, paths)), sums):
        if as_json:
            console.data(json.dumps(found.to_dict()))
        if found.error:
            damaged += 1
            console.error(f"{found.name()} is damaged: {found.error}.")
        elif len(each) <= LISTED:
            each.append(found)
    whole = sum(count for _, count in sums.values())
    if whole and not as_json:
        rows = [(found.name(), found) for found in each]
        if whole > LISTED:
            rows = [(f"{found.stage}, {count:,} times", found) for found, count in sums.values()]
        console.data(table(("name", "shape", "dtype", "min", "max", "nan", "inf"), (cells(*row) for row in rows)))
    console.say(f"{whole:,} arrays are whole" + (f", {damaged:,} are not." if damaged else "."))
    return 1 if damaged else 0


def cells(name: str, found: Found) -> tuple[object, ...]:
    low, high = ("-" if value is None else f"{value:.4g}" for value in (found.min, found.max))
    return name, " x ".join(map(str, found.shape)), found.dtype, low, high, found.nan, found.inf
