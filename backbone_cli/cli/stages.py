"""`backbone stages`: a model's stages, from its configuration alone."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..errors import reject_empty
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
    """List a model's stages: names, channels, strides and shapes. Reads only its config; no weights are fetched.

    \b
    backbone stages microsoft/swin-tiny-patch4-window7-224
    backbone stages facebook/dinov2-small --image-size 480x640
    backbone stages ./my-model --json | jq '.stages[-1].channels'
    """
    from ..images.load import input_size
    from ..resolve import resolve_for_files

    reject_empty("The model", model)
    resolved = resolve_for_files(model, revision, offline)
    height, width = options.parse_size(image_size) or input_size(resolved)
    resolved.config.check_min_size(height, width, range(len(resolved.config.stage_names)))
    shapes = resolved.config.map_shapes(height, width)
    if as_json:
        listed = [vars(stage) | {"shape": shape} for stage, shape in zip(resolved.config.stages, shapes, strict=True)]
        summary = {
            "model": model,
            "family": resolved.family.model_type,
            "image_size": [height, width],
            "stages": listed,
        }
        console.data(json.dumps(summary))
        return
    console.data(f"{model}  ({resolved.family.model_type}, {height}x{width} pixels)")
    console.data(
        table(
            ("index", "name", "channels", "stride", "shape"),
            (
                (stage.index, stage.name, stage.channels, stage.stride, " x ".join(map(str, shape)))
                for stage, shape in zip(resolved.config.stages, shapes, strict=True)
            ),
        )
    )
    console.detail(f"Each map is {resolved.config.map_description}.")
