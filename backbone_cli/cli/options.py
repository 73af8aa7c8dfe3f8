"""Options that more than one command has, each told once."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ..errors import UsageError
from .console import console


def set_verbose(verbose: bool) -> bool:
    console.verbose = console.verbose or verbose
    return verbose


def set_quiet(quiet: bool) -> bool:
    console.quiet = console.quiet or quiet
    return quiet


Revision = Annotated[
    str | None, typer.Option(help="A branch, tag or commit on the hub.  [default: main]", show_default=False)
]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network; use what is cached.")]
ImageSize = Annotated[
    str | None,
    typer.Option(help="Instead of the processor's own size: 224, or 480x640 (height x width).", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=set_quiet, help="Say nothing but errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=set_verbose, help="Say what was resolved, loaded and chosen.")
]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`224` -> (224, 224), `480x640` -> (480, 640)."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", text.strip())
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not height or not width:
        raise UsageError(f"'{text}' is not an image size; write 224, or 480x640 for height x width.")
    return height, width
