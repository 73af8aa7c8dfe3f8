"""`backbone stages`: what a model offers, from its configuration alone."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..errors import refuse_empty
from . import options
from .console import console, table


def stages(
    model: Annotated[str, typer.Argument(help="Hub id, local folder or timm name.", show_default=False)],
    image_size: options.ImageSize = None,
    revision: options.Revision = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """List a model's stages: names, channels, strides and shapes. Reads its config only; no weights are fetched.

    \b
    backbone stages microsoft/swin-tiny-patch4-window7-224
    backbone stages facebook/dinov2-small --image-size 480x640
    backbone stages ./my-model --json | jq '.stages[-1].channels'
    """
    from ..resolve import resolve_for_files

    refuse_empty("The model", model)
    found = resolve_for_files(model, revision, offline)
    height, width = options.parse_size(image_size) or found.image_size()
    found.config.check_room(height, width, range(len(found.config.stage_names)))
    shapes = found.config.shapes(height, width)
    if as_json:
        listed = [vars(stage) | {"shape": shape} for stage, shape in zip(found.config.stages, shapes, strict=True)]
        about = {"model": model, "family": found.family.model_type, "image_size": [height, width], "stages": listed}
        console.data(json.dumps(about))
        return
    console.data(f"{model}  ({found.family.model_type}, {height}x{width} pixels)")
    console.data(
        table(
            ("index", "name", "channels", "stride", "shape"),
            (
                (stage.index, stage.name, stage.channels, stage.stride, " x ".join(map(str, shape)))
                for stage, shape in zip(found.config.stages, shapes, strict=True)
            ),
        )
    )
    console.detail(f"Each map is {found.config.maps_are}.")
