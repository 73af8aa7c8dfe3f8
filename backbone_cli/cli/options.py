"""Options that several commands share, each defined once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated

import typer

from ..errors import UsageError
from ..pipeline import request
from . import panels
from .console import console


def set_verbose(verbose: bool) -> bool:
    console.verbose = console.verbose or verbose
    return verbose


def set_quiet(quiet: bool) -> bool:
    console.quiet = console.quiet or quiet
    return quiet


Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        envvar="BACKBONE_MODEL",
        help="Hub id, local folder or timm name.  [required]",
        show_default=False,
        rich_help_panel=panels.MOST_USED,
    ),
]
OutIndices = Annotated[
    list[str] | None,
    typer.Option(
        help="Stages by index: 0,1,2, -1, 0-3 or all.  [default: the last]",
        show_default=False,
        rich_help_panel=panels.MOST_USED,
    ),
]
OutFeatures = Annotated[
    list[str] | None,
    typer.Option(
        help="Stages by name: stem,stage1.  [default: the last]", show_default=False, rich_help_panel=panels.MODEL
    ),
]
AnyIndices = Annotated[
    list[str] | None,
    typer.Option(
        "--out-indices",
        help="Stages by index, as for extract.  [default: all]",
        show_default=False,
        rich_help_panel=panels.MOST_USED,
    ),
]
AnyFeatures = Annotated[
    list[str] | None,
    typer.Option(
        "--out-features",
        help="Stages by name, as for extract.  [default: all]",
        show_default=False,
        rich_help_panel=panels.MODEL,
    ),
]
OneDevice = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=panels.COMPUTATION)
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:1, mps; several as cuda:0,cuda:1 or cuda:all.",
        rich_help_panel=panels.COMPUTATION,
    ),
]
Dtype = Annotated[
    request.Dtype, typer.Option(help="The dtype of the forward pass.", rich_help_panel=panels.COMPUTATION)
]
RandomInit = Annotated[
    bool,
    typer.Option(
        "--random-init",
        help="Use random weights instead of loading any: for dry runs.",
        rich_help_panel=panels.MODEL,
    ),
]
Seed = Annotated[int, typer.Option(help="The seed for --random-init.", rich_help_panel=panels.MODEL)]
Revision = Annotated[
    str | None,
    typer.Option(
        help="A branch, tag or commit on the Hub.  [default: main]", show_default=False, rich_help_panel=panels.MODEL
    ),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Never use the network; use only cached files.", rich_help_panel=panels.MODEL),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        help="Use this size instead of the processor's: 224, or 480x640 (height x width).",
        show_default=False,
        rich_help_panel=panels.IMAGES,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=set_quiet, help="Print nothing but errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=set_verbose, help="Print what was resolved, loaded and chosen.")
]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`224` -> (224, 224), `480x640` -> (480, 640)."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", text.strip())
    sides = (match[1], match[2] or match[1]) if match else ("0", "0")
    height, width = (parse_digits("--image-size", side) for side in sides)
    if not height or not width:
        raise UsageError(f"'{text}' is not an image size; write 224, or 480x640 for height x width.")
    return height, width


def parse_digits(option: str, digits: str) -> int:
    """The number with these digits; Python itself refuses to convert thousands of them."""
    if len(digits) > 30:
        raise UsageError(f"{option} can't have {len(digits)} digits.")
    return int(digits)


def require_model(model: str | None) -> str:
    if not model:
        raise UsageError("Give a model with -m/--model or in BACKBONE_MODEL; `backbone models` lists well-known ones.")
    return model


AUTO = "auto"


def parse_count(option: str, text: str) -> int | None:
    """A number; None for `auto`."""
    if text == AUTO:
        return None
    if not re.fullmatch(r"-?\d+", text):
        raise UsageError(f"{option} must be a number or auto, not '{text}'.")
    return parse_digits(option, text)


# The variables in which a job array has a task's number, the first number and the count.
JOBS = (("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"), ("RANK", "", "WORLD_SIZE"))


def parse_shard(text: str | None, environ: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """`3/8` -> (3, 8); `auto` reads the variables of a Slurm array, or RANK and WORLD_SIZE."""
    if text is None:
        return None
    if match := re.fullmatch(r"(\d+)/(\d+)", text):
        return parse_digits("--shard", match[1]), parse_digits("--shard", match[2])
    if text != AUTO:
        raise UsageError(f"--shard must be I/N, for example 3/8, or auto, not '{text}'.")
    for number, first, count in JOBS:
        if number in environ and count in environ:
            try:
                step = int(environ.get("SLURM_ARRAY_TASK_STEP", 1)) if first else 1
                return (int(environ[number]) - int(environ.get(first, 0))) // step + 1, int(environ[count])
            except (ValueError, ZeroDivisionError) as error:
                raise UsageError(
                    f"--shard auto can't read {number}={environ[number]} and {count}={environ[count]}"
                    f" ({error}). Give --shard I/N."
                ) from error
    raise UsageError(
        "--shard auto finds no job array here: neither SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT nor RANK and"
        " WORLD_SIZE are set. Give --shard I/N."
    )
