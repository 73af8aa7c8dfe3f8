"""`backbone extract`: images in, feature maps out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OutputError, UsageError
from ..pipeline.events import Finished
from ..pipeline.request import Dtype, Format, Layout, OnError, Pool, Request, SaveDtype
from ..pipeline.units import duration, human
from . import options
from .console import console, table

if TYPE_CHECKING:
    from ..pipeline.prepare import Job


def extract(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Images, folders, .tar files, or - to read paths from standard input.", show_default=False),
    ] = None,
    model: options.Model = None,
    out_indices: options.OutIndices = None,
    out_features: options.OutFeatures = None,
    output: Annotated[
        str, typer.Option("-o", "--output", help="The folder for the files; - for standard output.")
    ] = Request.output,
    format: Annotated[
        Format, typer.Option("-f", "--format", help="npy: a file a stage; safetensors: a file an image.")
    ] = Request.format,
    layout: Annotated[
        Layout, typer.Option(help="files: some an image; stacked: one array a stage for all images.")
    ] = Request.layout,
    pool: Annotated[
        Pool, typer.Option(help="Save whole maps, a mean vector a stage, or the class token.")
    ] = Request.pool,
    device: options.Device = Request.device,
    dtype: Annotated[Dtype, typer.Option(help="What the forward pass computes in.")] = Request.dtype,
    save_dtype: Annotated[
        SaveDtype, typer.Option(help="What the files hold (bfloat16: safetensors only).")
    ] = Request.save_dtype,
    batch_size: Annotated[str, typer.Option("-b", "--batch-size", help="Images at once.")] = options.AUTO,
    workers: Annotated[
        str, typer.Option("-j", "--workers", help="Processes that decode images; 0: decode in this one.")
    ] = options.AUTO,
    image_size: options.ImageSize = None,
    random_init: options.RandomInit = Request.random_init,
    seed: options.Seed = Request.seed,
    revision: options.Revision = Request.revision,
    offline: options.Offline = Request.offline,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="Paths on standard input are separated by NUL.")
    ] = Request.null,
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: do the I-th of N parts of the inputs; auto: as the job says.", show_default=False),
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Name outputs relative to this folder.", show_default=False)
    ] = Request.root,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what a run with other settings left.")
    ] = Request.overwrite,
    on_error: Annotated[OnError, typer.Option(help="What an unusable image does to the run.")] = Request.on_error,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    fast_decode: Annotated[
        bool, typer.Option("--fast-decode", help="Decode JPEGs smaller, resize in two steps: fast, not exact.")
    ] = Request.fast_decode,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the model first: a slow start, then faster.")
    ] = Request.compile,
    max_pixels: Annotated[int, typer.Option(help="Refuse to decode larger images.")] = Request.max_pixels,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object on standard output for each image.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Extract feature maps of images and write them to files.

    Run the same command again and it goes on where it stopped.

    \b
    backbone extract -m microsoft/swin-tiny-patch4-window7-224 --out-indices 0,1,2 img.jpg
    backbone extract -m facebook/dinov2-small photos/ -o features --pool cls -f safetensors
    find . -name '*.png' -print0 | backbone extract -m resnet50 -0 - --root . --dtype bfloat16
    backbone extract -m ./my-model img.jpg -o - > map.npy
    """
    from ..pipeline.prepare import prepare
    from ..pipeline.run import interruptible, start
    from .progress import Progress

    request = Request(
        model=options.require_model(model),
        inputs=tuple(inputs or ()),
        out_indices=tuple(out_indices or ()),
        out_features=tuple(out_features or ()),
        output=output,
        format=format,
        layout=layout,
        pool=pool,
        device=device,
        dtype=dtype,
        save_dtype=save_dtype,
        batch_size=options.parse_count("--batch-size", batch_size),
        workers=options.parse_count("--workers", workers),
        image_size=options.parse_size(image_size),
        random_init=random_init,
        seed=seed,
        revision=revision,
        offline=offline,
        null=null,
        shard=options.parse_shard(shard),
        root=root,
        overwrite=overwrite,
        on_error=on_error,
        fast_decode=fast_decode,
        compile=compile,
        max_pixels=max_pixels,
    )
    check_stdout(request, as_json)
    job = prepare(request)
    if dry_run:
        return tell_plan(job, as_json)
    tell_choices(job)
    with interruptible(), closing(start(job)) as events, Progress() as progress:
        for event in events:
            progress.see(event)
            if as_json and isinstance(event, Finished) and event.status != "skipped":
                console.data(json.dumps(event.report()))
    progress.sum_up(request.output)
    return 1 if progress.failed else 0


def check_stdout(request: Request, as_json: bool) -> None:
    if request.to_stdout and as_json:
        raise UsageError("-o - and --json would both write to standard output; choose one.")
    if request.to_stdout and sys.stdout.isatty():
        raise UsageError("-o - writes bytes that a terminal can't show; send them on: `-o - > map.npy`.")


def tell_plan(job: Job, as_json: bool) -> int:
    from ..pipeline.dry_run import plan

    found = plan(job)
    if as_json:
        console.data(json.dumps(found.to_dict()))
    else:
        console.data(f"{found.images:,} images, of which {found.to_do:,} are to be done, {found.batch_size} at once")
        rows = ((s["name"], shape_text(s["shape"]), human(s["bytes"])) for s in found.stages)
        console.data(table(("stage", "shape of one", "all images"), rows))
        console.data(f"{human(found.bytes)} in all; {human(found.free)} are free for '{job.request.output}'")
        time = "no image of the sample could be read" if found.seconds is None else f"about {duration(found.seconds)}"
        console.data(f"Time: {time}")
    if found.bytes > found.free:
        console.error("That does not fit: choose fewer stages, --pool mean, --save-dtype float16, or another disk.")
        return OutputError.exit_code
    return 0


def shape_text(shape: Sequence[int] | None) -> str:
    return " x ".join(map(str, shape)) if shape else "varies"


def tell_choices(job: Job) -> None:
    config = job.found.config
    console.detail(f"Model: {job.found.name} ({job.found.family.model_type}, {job.settings['revision']}).")
    console.detail(f"Stages: {', '.join(job.stages)}; each map is {config.maps_are}.")
    if job.sources.skipped:
        console.say(f"{job.sources.skipped:,} other files, no images by their names, are passed over.")
    console.detail(f"Batches of {job.batch_size}, {job.workers} processes to decode.")
