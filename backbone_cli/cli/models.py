"""`backbone models`: what can be asked for."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from typing import Annotated

import typer

from ..errors import UsageError, near_miss
from . import options
from .console import console, table


def models(
    pattern: Annotated[
        str | None, typer.Argument(help="Only what matches, such as 'convnext*'.", show_default=False)
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only this family.", show_default=False)] = None,
    timm: Annotated[bool, typer.Option("--timm", help="timm's names instead, with input size and stages.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the families of backbones and the model ids that they are known by.

    \b
    backbone models
    backbone models '*tiny*'
    backbone models --family dinov2
    backbone models --timm 'convnext*'
    """
    header, rows = timm_rows(pattern) if timm else known_rows(pattern, family)
    if not rows:
        raise UsageError("Nothing matches. `backbone models` without a pattern lists everything.")
    if as_json:
        console.data(json.dumps([dict(zip(header, row, strict=True)) for row in rows]))
    else:
        console.data(table(header, rows))


Listing = tuple[tuple[str, ...], list[tuple[str, ...]]]


def known_rows(pattern: str | None, family: str | None) -> Listing:
    from ..registry import families

    known = {row.model_type: row.ids for row in families()}
    if family is not None and family not in known:
        raise UsageError(f"There is no family '{family}'.{near_miss(family, known)}")
    rows: list[tuple[str, ...]] = [
        (model_type, name)
        for model_type, ids in known.items()
        if family in (None, model_type)
        for name in ids or ("",)
        if pattern is None or matches(name, pattern) or matches(model_type, pattern)
    ]
    return ("family", "model"), rows


def matches(name: str, pattern: str) -> bool:
    """A pattern without wildcards matches anywhere in a name."""
    return fnmatch(name, pattern) if set(pattern) & set("*?[") else pattern in name


def timm_rows(pattern: str | None) -> Listing:
    raise UsageError("timm's names can't be listed yet.")
