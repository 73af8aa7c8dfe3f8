"""`backbone models`: supported families, well-known models, and timm's names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, did_you_mean
from . import options
from .console import console, table

if TYPE_CHECKING:
    from ..timm.facts import Architecture, TimmStage


def models(
    pattern: Annotated[
        str | None, typer.Argument(help="Only matching names, such as 'convnext*'.", show_default=False)
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only this family.", show_default=False)] = None,
    timm: Annotated[bool, typer.Option("--timm", help="List timm's names, with image size and stages.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the supported families and their well-known model ids.

    Models that contain a backbone (detectors, segmenters, depth and pose models) come after the backbones. Any other
    checkpoint of a listed family loads as well. A pattern without wildcards matches anywhere.

    \b
    backbone models
    backbone models '*tiny*'
    backbone models --family dinov2
    backbone models --timm 'convnext*'
    """
    if timm:
        if family:
            raise UsageError("--family is for Hub models; filter timm's models with a pattern.")
        list_timm(pattern, as_json)
        return
    from ..timm.catalog import matches

    rows = [
        (kind, name)
        for kind, ids in known(family)
        for name in ids or ("",)
        if pattern is None or matches(name, pattern) or matches(kind, pattern)
    ]
    if not rows:
        raise UsageError(f"No family or model matches '{pattern}'; --timm lists timm's models.")
    header = ("family", "model")
    if as_json:
        console.data(json.dumps([dict(zip(header, row, strict=True)) for row in rows]))
    else:
        console.data(table(header, rows))


def known(family: str | None) -> list[tuple[str, tuple[str, ...]]]:
    """Model types and their ids: backbones, then composites whose backbone is supported."""
    from ..composites import COMPOSITES
    from ..registry import families

    ids = {row.model_type: row.ids for row in families()}
    composites = {row.model_type: row.ids for row in COMPOSITES if row.timm or row.default["model_type"] in ids}
    ids |= composites
    if family is not None and family not in ids:
        raise UsageError(f"There is no family '{family}'.{did_you_mean(family, ids)}")
    return [row for row in ids.items() if family in (None, row[0])]


def list_timm(pattern: str | None, as_json: bool) -> None:
    from ..timm.catalog import list_architectures

    architectures = list_architectures(pattern)
    if not architectures:
        raise UsageError(f"No timm model matches '{pattern}'.")
    if as_json:
        console.data(json.dumps([to_dict(architecture) for architecture in architectures]))
        return
    rows = (
        (
            architecture.name,
            "x".join(map(str, image_size(architecture))),
            " ".join(summarize_stages(architecture.stages)),
            first_of(weights(architecture)),
        )
        for architecture in architectures
    )
    console.data(table(("model", "pixels", "stages (channels/stride)", "weights"), rows))


def to_dict(architecture: Architecture) -> dict[str, object]:
    stages = [{"name": stage.name, "channels": stage.channels, "stride": stage.stride} for stage in architecture.stages]
    return {
        "model": architecture.name,
        "image_size": image_size(architecture),
        "stages": stages,
        "weights": weights(architecture),
    }


def image_size(architecture: Architecture) -> list[int]:
    """(height, width) of the default weights' training images."""
    size: list[int] = next(iter(architecture.tags.values())).data["input_size"][1:]
    return size


def weights(architecture: Architecture) -> list[str]:
    return [tag for tag in architecture.tags if tag]


def first_of(names: Sequence[str]) -> str:
    """The first name, and the number of others."""
    return ", ".join([*names[:1], *([f"{len(names) - 1} more"] if len(names) > 1 else [])])


def summarize_stages(stages: Sequence[TimmStage]) -> Iterator[str]:
    """`64/2`, `256/4`, ...; equal consecutive stages are merged as `12 x 768/16`."""
    for text, run in groupby(f"{stage.channels}/{stage.stride}" for stage in stages):
        count = len(list(run))
        yield f"{count} x {text}" if count > 1 else text
