"""What a run is asked to do. Every default of `backbone extract` is defined here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError, reject_empty
from ..images.sizes import MAX_PIXELS

Format = Literal["npy", "safetensors"]
Layout = Literal["files", "stacked"]
Pool = Literal["none", "mean", "cls"]
Dtype = Literal["float32", "bfloat16", "float16"]
SaveDtype = Literal["float32", "float16", "bfloat16"]
OnError = Literal["skip", "stop"]

STDOUT = "-"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The settings of a run, under the names of the command line's options."""

    model: str
    inputs: tuple[str, ...]
    out_indices: tuple[str, ...] = ()
    out_features: tuple[str, ...] = ()
    output: str = "features"
    format: Format = "npy"
    layout: Layout = "files"
    pool: Pool = "none"
    device: str = "auto"
    dtype: Dtype = "float32"
    save_dtype: SaveDtype = "float32"
    batch_size: int | None = None
    """None means `auto`, here and for `workers`."""
    workers: int | None = None
    image_size: tuple[int, int] | None = None
    random_init: bool = False
    seed: int = 0
    revision: str | None = None
    offline: bool = False
    null: bool = False
    shard: tuple[int, int] | None = None
    """(I, N), with I from 1 to N."""
    root: str | None = None
    overwrite: bool = False
    on_error: OnError = "skip"
    fast_decode: bool = False
    compile: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        for option, text in (("--model", self.model), ("--output", self.output), ("--root", self.root)):
            reject_empty(option, text)
        if not self.inputs:
            raise UsageError("No inputs: give images, folders or .tar files, or `-` to read paths from standard input.")
        if self.inputs.count("-") > 1:
            raise UsageError("Standard input can be read only once; give `-` once.")
        if self.null and "-" not in self.inputs:
            raise UsageError("-0/--null is for paths on standard input; give `-` as an input.")
        if self.save_dtype == "bfloat16" and self.format == "npy":
            raise UsageError("npy files can't hold bfloat16; use --format safetensors, or --save-dtype float16.")
        for option, value, least, most in (
            ("--batch-size", self.batch_size, 1, 2**31),
            ("--workers", self.workers, 0, 2**31),
            ("--max-pixels", self.max_pixels, 1, None),
            ("--seed", self.seed, -(2**63), 2**64 - 1),  # torch's own limits
        ):
            if value is not None and value < least:
                raise UsageError(f"{option} must be at least {least}, not {value}.")
            if value is not None and most is not None and value > most:
                raise UsageError(f"{option} must be at most {most}, not {value}.")
        if self.shard and not 1 <= self.shard[0] <= self.shard[1]:
            raise UsageError("--shard I/N counts from 1 to N, as in 3/8.")
        if self.to_stdout and (self.layout == "stacked" or self.shard or self.overwrite):
            raise UsageError("-o - writes one image's result; --layout stacked, --shard and --overwrite need a folder.")

    @property
    def to_stdout(self) -> bool:
        return self.output == STDOUT
