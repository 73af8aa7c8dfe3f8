"""From a request to a job that can start: model resolved, stages chosen, settings fixed. No torch, no weights."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError, UnsupportedModel, UsageError
from ..images.sizes import MAX_PIXELS
from ..output.formats import STORED
from ..resolve import Resolved, resolve_for_files
from ..stages import choose_stages
from ..units import format_bytes
from ..versions import installed
from .batches import WINDOW
from .decoding import Decoder
from .names import count_inputs, ignores_case, nearest_existing
from .request import Request
from .sources import Sources

if TYPE_CHECKING:
    from ..images.processor import ImageProcessor

# The batch size for `auto`; on a CPU larger batches only take more memory.
CPU_BATCH = 4
GPU_BATCH = 64
REFERENCE_PIXELS = 224 * 224
# With so few images, optimizing the model takes longer than it saves.
FEW_IMAGES = 4
# How much is decoded ahead: at least this many groups, and about as many images as can be decoded while torch is
# imported; fewer if they are large.
GROUPS_AHEAD = 3
IMAGES_AHEAD = 64


@dataclass
class Job:
    """A request with everything that follows from it before a model is loaded."""

    request: Request
    resolved: Resolved
    processor: ImageProcessor
    sources: Sources
    total: int | None
    """The number of inputs (of all shards), if known."""
    ignore_case: bool
    assigned_shard: tuple[int, int] | None
    """This process's share of the inputs: the shard, or with several devices this one's part of it."""

    @cached_property
    def stages(self) -> list[str]:
        return self.resolved.config.out_features

    @cached_property
    def devices(self) -> list[str]:
        return parse_devices(self.request.device)

    @cached_property
    def on_gpu(self) -> bool:
        """A guess without importing torch, which takes a second; if wrong, batches are not the best size."""
        if self.devices != ["auto"]:
            return not all(name.startswith("cpu") for name in self.devices)
        return Path("/dev/nvidiactl").exists() or sys.platform == "darwin"

    @cached_property
    def batch_size(self) -> int:
        """The same for the same request on the same machine, so that results are reproducible: see batches.py."""
        usual = GPU_BATCH if self.on_gpu else CPU_BATCH
        return self.request.batch_size or max(1, min(usual, usual * REFERENCE_PIXELS // self.pixels))

    @cached_property
    def group_size(self) -> int:
        return self.batch_size if self.processor.fixed_size else self.batch_size * WINDOW

    @property
    def groups_ahead(self) -> int:
        """How many groups are decoded ahead; few if inputs arrive one by one, since each may have to be waited for."""
        many = IMAGES_AHEAD * REFERENCE_PIXELS // max(REFERENCE_PIXELS, self.pixels) // self.group_size
        return GROUPS_AHEAD if self.total is None else max(GROUPS_AHEAD, many)

    @property
    def pixels(self) -> int:
        """Pixels of one processed image; a guess if sizes vary."""
        height, width = self.processor.fixed_size or (640, 640)
        return height * width

    @cached_property
    def workers(self) -> int:
        """As many decoders as leave the model its cores; a GPU leaves all cores free."""
        if self.request.workers is not None:
            return self.request.workers
        cores = available_cores()
        usable = cores - 1 if self.on_gpu else cores // 2
        return max(1, min(usable // len(self.devices), 32, self.shard_total or usable))

    @property
    def few_images(self) -> bool:
        """Counts all images, not those left to do: results must not depend on where an earlier run stopped."""
        return self.total is not None and self.total <= FEW_IMAGES

    @cached_property
    def shard_total(self) -> int | None:
        """The number of inputs in this shard."""
        index, step = self.request.shard or (1, 1)
        return None if self.total is None else len(range(index - 1, self.total, step))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The contents of `backbone.json`: what the features depend on, and what their readers need to know."""
        request, config = self.request, self.resolved.config
        stages = [vars(config.stages[i]) for i in config.requested]
        packages = ["backbone-cli", "torch", "numpy", "pillow"]
        if config.model_type == "timm_backbone":
            packages.append("timm")  # timm's code computes the maps
        settings: dict[str, Any] = {
            "model": request.model,
            "revision": revision_of(self.resolved, request),
            "family": self.resolved.family.model_type,
            "stages": stages,
            "maps": config.map_description,
            "pool": request.pool,
            "preprocessing": self.processor.to_dict() | {"fast_decode": request.fast_decode},
            "dtype": request.dtype,
            "save_dtype": request.save_dtype,
            "format": request.format,
            "layout": request.layout,
            **({"images": self.total} if request.layout == "stacked" else {}),
            "versions": {name: installed(name) for name in packages},
        }
        as_json: dict[str, Any] = json.loads(json.dumps(settings))
        return as_json

    def decoder(self) -> Decoder:
        return Decoder(self.processor, self.request.max_pixels, self.request.fast_decode)

    # --- sizes ----------------------------------------------------------------------------------------------

    def shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Stage -> the shape that is saved, for a processed image of this size."""
        config = self.resolved.config
        full = config.map_shapes(*size)
        return {config.stage_names[i]: full[i][: 1 if self.request.pool != "none" else 3] for i in config.requested}

    def bytes_by_stage(self, size: tuple[int, int]) -> dict[str, int]:
        """Stage -> bytes of one image's map, without the file header."""
        width = STORED[self.request.save_dtype].itemsize
        shapes = self.shapes(size).items()
        return {stage: width * math.prod(shape) for stage, shape in shapes}

    def check_space(self, done: int) -> None:
        """Raise OutputError if the images of all shards that are not done yet don't fit on the disk."""
        if self.total is None or not (size := self.processor.fixed_size):
            return
        images = max(0, self.total - done)
        needed, free = images * sum(self.bytes_by_stage(size).values()), free_space(Path(self.request.output))
        if needed > free:
            raise OutputError(
                f"{images:,} images take {format_bytes(needed)}, but '{self.request.output}' has"
                f" {format_bytes(free)} left."
                " Choose fewer stages, --pool mean, --save-dtype float16, or another disk."
            )


def prepare(request: Request) -> Job:
    """Resolve a request. Raises everything that can be wrong with it, before anything is loaded or written."""
    sources = Sources(request.inputs, request.root, request.null)
    sources.check()
    ignore_case = not request.to_stdout and ignores_case(Path(request.output))
    resolved, processor = resolve_request(request)
    if request.to_stdout and request.format == "npy" and len(resolved.config.requested) > 1:
        raise UsageError("-o - writes one npy array; choose one stage, or use --format safetensors.")
    if request.layout == "stacked" and request.pool == "none" and processor.fixed_size is None:
        raise UsageError("--layout stacked needs images of one size; give --image-size, or --pool mean.")
    total = None
    if request.layout == "stacked" or request.to_stdout:
        sources.buffer_stdin()
        total = count_inputs(sources, ignore_case)
    elif sources.countable:
        total = count_inputs(sources, ignore_case)
    if total == 0:
        raise UsageError(no_images_message(request, sources))
    if request.to_stdout and total != 1:
        raise UsageError(f"-o - writes one image's result, but there are {total}; give one image, or a folder with -o.")
    return Job(request, resolved, processor, sources, total, ignore_case, request.shard)


def resolve_request(request: Request, default_indices: tuple[str, ...] = ()) -> tuple[Resolved, ImageProcessor]:
    """The model with its requested stages (by default `default_indices`), and its processor."""
    from ..images.load import load_processor

    resolved = resolve_for_files(request.model, request.revision, request.offline)
    indices = request.out_indices or (() if request.out_features else default_indices)
    resolved.config.out_indices = choose_stages(resolved.config.stage_names, indices, request.out_features)
    channels = getattr(resolved.config, "num_channels", 3)
    if channels != 3:
        raise UnsupportedModel(
            f"'{request.model}' takes images with {channels} channels, but images are read with 3."
            " Call the model from Python with your own pixels."
        )
    if request.image_size and math.prod(request.image_size) > max(MAX_PIXELS, request.max_pixels):
        height, width = request.image_size
        raise UsageError(f"--image-size {height}x{width} is too large; images can have at most {MAX_PIXELS:,} pixels.")
    processor = load_processor(resolved)
    if request.image_size:
        resolved.config.set_image_size(*request.image_size)
        processor = processor.with_size(request.image_size)
    if processor.fixed_size:
        resolved.config.check_min_size(*processor.fixed_size)
    return resolved, processor


def no_images_message(request: Request, sources: Sources) -> str:
    inputs = ", ".join(f"'{text}'" for text in request.inputs[:3])
    others = (
        f" ({sources.skipped} files without an image extension; .tar files must be named themselves)"
        if sources.skipped
        else ""
    )
    return f"There are no images in {inputs}{others}."


def parse_devices(text: str) -> list[str]:
    """`cuda:0,cuda:1` -> both; `cuda:all` -> every GPU; `auto` -> the best device."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if names == ["cuda:all"]:
        import torch

        names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cuda"]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"'{text}' has no device, or one twice; use auto, cpu, cuda, cuda:1, mps or cuda:all.")
    return names


def revision_of(resolved: Resolved, request: Request) -> str:
    """What distinguishes these weights from others of the same model name."""
    random = f"random:{request.seed}" if request.random_init else ""
    return "+".join(filter(None, (resolved.repo.fingerprint(weights=not random), random)))


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_space(folder: Path) -> int:
    return shutil.disk_usage(nearest_existing(folder)).free
