"""`backbone models`: what can be asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, near_miss
from . import options
from .console import console, table

if TYPE_CHECKING:
    from ..configs.timm_zoo import Facts, TimmStage


def models(
    pattern: Annotated[
        str | None, typer.Argument(help="Only what matches, such as 'convnext*'.", show_default=False)
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only this family.", show_default=False)] = None,
    timm: Annotated[bool, typer.Option("--timm", help="timm's names instead, with image size and stages.")] = False,
    as_json: options.Json = False,
) -> None:
    """List what can be asked for: the families of backbones and the model ids that they are known by.

    Models that hold a backbone inside (detectors, segmenters, depth and pose models) come after those that are one.
    Any other checkpoint of a listed family loads as well. A pattern without wildcards matches anywhere.

    \b
    backbone models
    backbone models '*tiny*'
    backbone models --family dinov2
    backbone models --timm 'convnext*'
    """
    if timm:
        if family:
            raise UsageError("--family is about the hub's families; choose among timm's models by a pattern.")
        list_timm(pattern, as_json)
        return
    from ..configs.timm_zoo import matches

    rows = [
        (kind, name)
        for kind, ids in known(family)
        for name in ids or ("",)
        if pattern is None or matches(name, pattern) or matches(kind, pattern)
    ]
    if not rows:
        raise UsageError(f"No family and no model matches '{pattern}'; timm's are listed with --timm.")
    header = ("family", "model")
    if as_json:
        console.data(json.dumps([dict(zip(header, row, strict=True)) for row in rows]))
    else:
        console.data(table(header, rows))


def known(family: str | None) -> list[tuple[str, tuple[str, ...]]]:
    """Types of models and their ids: of backbones, then of models that have one of those inside."""
    from ..composites import COMPOSITES
    from ..registry import families

    ids = {row.model_type: row.ids for row in families()}
    inside = {row.model_type: row.ids for row in COMPOSITES if row.timm or row.default["model_type"] in ids}
    ids |= inside
    if family is not None and family not in ids:
        raise UsageError(f"There is no family '{family}'.{near_miss(family, ids)}")
    return [row for row in ids.items() if family in (None, row[0])]


def list_timm(pattern: str | None, as_json: bool) -> None:
    from ..configs.timm_zoo import timm_names

    found = timm_names(pattern)
    if not found:
        raise UsageError(f"No model of timm matches '{pattern}'.")
    if as_json:
        console.data(json.dumps([about(facts) for facts in found]))
        return
    rows = (
        (facts.name, "x".join(map(str, image_size(facts))), " ".join(in_short(facts.stages)), some(weights(facts)))
        for facts in found
    )
    console.data(table(("model", "pixels", "stages (channels/stride)", "weights"), rows))


def about(facts: Facts) -> dict[str, object]:
    stages = [{"name": stage.name, "channels": stage.channels, "stride": stage.stride} for stage in facts.stages]
    return {"model": facts.name, "image_size": image_size(facts), "stages": stages, "weights": weights(facts)}


def image_size(facts: Facts) -> list[int]:
    """Height and width that the usual weights were made for."""
    size: list[int] = next(iter(facts.tags.values())).data["input_size"][1:]
    return size


def weights(facts: Facts) -> list[str]:
    return [tag for tag in facts.tags if tag]


def some(names: Sequence[str]) -> str:
    """The first one, and how many there are besides."""
    return ", ".join([*names[:1], *([f"{len(names) - 1} more"] if len(names) > 1 else [])])


def in_short(stages: Sequence[TimmStage]) -> Iterator[str]:
    """`64/2`, `256/4`, ...; stages that follow each other and are alike come as `12 x 768/16`."""
    for text, run in groupby(f"{stage.channels}/{stage.stride}" for stage in stages):
        count = len(list(run))
        yield f"{count} x {text}" if count > 1 else text
