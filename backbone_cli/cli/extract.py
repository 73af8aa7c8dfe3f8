"""`backbone extract`: images in, feature maps out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OutputError, UsageError
from ..output.records import Finished
from ..pipeline.events import Event
from ..pipeline.request import Format, Layout, OnError, Pool, Request, SaveDtype
from ..units import format_bytes, format_duration
from . import options, panels
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
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            help="The folder for the files; - for standard output.",
            rich_help_panel=panels.MOST_USED,
        ),
    ] = Request.output,
    out_features: options.OutFeatures = None,
    revision: options.Revision = Request.revision,
    offline: options.Offline = Request.offline,
    random_init: options.RandomInit = Request.random_init,
    seed: options.Seed = Request.seed,
    null: Annotated[
        bool,
        typer.Option(
            "-0", "--null", help="Paths on standard input are separated by NUL.", rich_help_panel=panels.INPUTS
        ),
    ] = Request.null,
    shard: Annotated[
        str | None,
        typer.Option(
            help="I/N: process every N-th input from the I-th; auto: from the job array's variables.",
            show_default=False,
            rich_help_panel=panels.INPUTS,
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(help="Name outputs relative to this folder.", show_default=False, rich_help_panel=panels.INPUTS),
    ] = Request.root,
    image_size: options.ImageSize = None,
    max_pixels: Annotated[
        int, typer.Option(help="Refuse to decode larger images.", rich_help_panel=panels.IMAGES)
    ] = Request.max_pixels,
    fast_decode: Annotated[
        bool,
        typer.Option(
            "--fast-decode",
            help="Decode JPEGs at reduced size and resize in two steps: faster, not exact.",
            rich_help_panel=panels.IMAGES,
        ),
    ] = Request.fast_decode,
    format: Annotated[
        Format,
        typer.Option(
            "-f",
            "--format",
            help="npy: one file per stage; safetensors: one file per image.",
            rich_help_panel=panels.SAVED,
        ),
    ] = Request.format,
    layout: Annotated[
        Layout,
        typer.Option(
            help="files: one or more files per image; stacked: one array per stage for all images.",
            rich_help_panel=panels.SAVED,
        ),
    ] = Request.layout,
    pool: Annotated[
        Pool,
        typer.Option(
            help="none: whole maps; mean: one mean vector per stage; cls: the class token.",
            rich_help_panel=panels.SAVED,
        ),
    ] = Request.pool,
    save_dtype: Annotated[
        SaveDtype,
        typer.Option(help="The dtype in the files (bfloat16: safetensors only).", rich_help_panel=panels.SAVED),
    ] = Request.save_dtype,
    device: options.Device = Request.device,
    dtype: options.Dtype = Request.dtype,
    batch_size: Annotated[
        str,
        typer.Option("-b", "--batch-size", help="Images per forward pass.", rich_help_panel=panels.COMPUTATION),
    ] = options.AUTO,
    workers: Annotated[
        str,
        typer.Option(
            "-j",
            "--workers",
            help="Processes that decode images; 0: decode in the main process.",
            rich_help_panel=panels.COMPUTATION,
        ),
    ] = options.AUTO,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the model first: slow to start, then faster.",
            rich_help_panel=panels.COMPUTATION,
        ),
    ] = Request.compile,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace features that a run with other settings left.")
    ] = Request.overwrite,
    on_error: Annotated[
        OnError, typer.Option(help="On an unusable image: skip it and continue, or stop.")
    ] = Request.on_error,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, written and how long it takes; do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per image.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Extract feature maps of images and write them to files.

    Run the same command again to resume an interrupted run.

    \b
    backbone extract -m microsoft/swin-tiny-patch4-window7-224 --out-indices 0,1,2 img.jpg
    backbone extract -m facebook/dinov2-small photos/ -o features --pool cls -f safetensors
    find . -name '*.png' -print0 | backbone extract -m resnet50 -0 - --root . --dtype bfloat16
    backbone extract -m ./my-model img.jpg -o - > map.npy
    """
    from ..pipeline.extract import run_job
    from ..pipeline.prepare import prepare
    from ..pipeline.run import interruptible
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
        return show_dry_run(job, as_json)
    show_choices(job)
    with interruptible(), Progress() as progress:

        def observe(event: Event) -> None:
            progress.update(event)
            if as_json and isinstance(event, Finished) and event.status != "skipped":
                console.data(json.dumps(event.report()))

        result = run_job(job, observe)
    progress.summarize(request.output)
    return 1 if result.failed else 0


def check_stdout(request: Request, as_json: bool) -> None:
    if request.to_stdout and as_json:
        raise UsageError("-o - and --json both write to standard output; choose one.")
    if request.to_stdout and sys.stdout.isatty():
        raise UsageError("-o - writes bytes that a terminal can't show; redirect them: `-o - > map.npy`.")


def show_dry_run(job: Job, as_json: bool) -> int:
    from ..pipeline.dry_run import estimate

    plan = estimate(job)
    if as_json:
        console.data(json.dumps(plan.to_dict()))
    else:
        console.data(f"{plan.images:,} images, {plan.to_do:,} of them to do, in batches of {plan.batch_size}")
        rows = ((s["name"], format_shape(s["shape"]), format_bytes(s["bytes"])) for s in plan.stages)
        console.data(table(("stage", "shape per image", "all images"), rows))
        free = format_bytes(plan.free)
        console.data(f"{format_bytes(plan.bytes)} in total; {free} are free for '{job.request.output}'")
        if plan.seconds is None:
            console.data("Time: unknown, since no image of the sample could be read")
        else:
            console.data(f"Time: about {format_duration(plan.seconds)}")
    if plan.bytes > plan.free:
        console.error("That does not fit: choose fewer stages, --pool mean, --save-dtype float16, or another disk.")
        return OutputError.exit_code
    return 0


def format_shape(shape: Sequence[int] | None) -> str:
    return " x ".join(map(str, shape)) if shape else "varies"


def show_choices(job: Job) -> None:
    resolved = job.resolved
    console.detail(f"Model: {resolved.name} ({resolved.family.model_type}, {job.settings['revision']}).")
    console.detail(f"Stages: {', '.join(job.stages)}; each map is {resolved.config.map_description}.")
    if skipped := job.sources.skipped:
        console.info(f"Skipped {skipped:,} {'file' if skipped == 1 else 'files'} without an image extension.")
    console.detail(f"Batches of {job.batch_size}, {job.workers} decoder processes.")
