"""From a request to a run that can begin: model found, stages chosen, settings told. No torch, no weights."""

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
from ..resolve import Resolved, resolve_for_files
from ..stages import choose
from ..versions import installed
from .batches import WINDOW
from .claims import count, ignores_case, nearest_existing
from .decoding import Decoder
from .folder import Folder, Index
from .formats import STORED
from .request import Request
from .sinks import Files, Sink, Stacks, Stdout
from .sources import Sources
from .units import human

if TYPE_CHECKING:
    from ..images.processor import ImageProcessor

# What `auto` means for the batch size; on a CPU larger ones only take more memory.
CPU_BATCH = 4
GPU_BATCH = 64
USUAL_PIXELS = 224 * 224
# So few images that making the model fast would take longer than it saves.
FEW = 4
# Decoded ahead: so many groups at least, and of images that are there from the start about as many as can be decoded
# while torch is imported; fewer of large ones.
GROUPS_AHEAD = 3
IMAGES_AHEAD = 64


@dataclass
class Job:
    """A request that was understood."""

    request: Request
    found: Resolved
    processor: ImageProcessor
    sources: Sources
    total: int | None
    """How many inputs there are (of all shards), where that is known."""
    ignore_case: bool
    lane: tuple[int, int] | None
    """What this process does of the inputs: the shard, or, of several devices, this one's part of it."""

    @cached_property
    def stages(self) -> list[str]:
        return self.found.config.out_features

    @cached_property
    def devices(self) -> list[str]:
        return devices(self.request.device)

    @cached_property
    def on_gpu(self) -> bool:
        """Told without torch, which takes a second to import; where it is wrong, sizes are less than the best."""
        if self.devices != ["auto"]:
            return not all(name.startswith("cpu") for name in self.devices)
        return Path("/dev/nvidiactl").exists() or sys.platform == "darwin"

    @cached_property
    def batch_size(self) -> int:
        """The same for the same request on the same machine, whatever else runs there: see batches.py."""
        usual = GPU_BATCH if self.on_gpu else CPU_BATCH
        return self.request.batch_size or max(1, min(usual, usual * USUAL_PIXELS // self.pixels))

    @cached_property
    def group_size(self) -> int:
        return self.batch_size if self.processor.fixed_size else self.batch_size * WINDOW

    @property
    def groups_ahead(self) -> int:
        """How many groups are decoded ahead; of inputs that come one by one, few, for each may be waited for."""
        many = IMAGES_AHEAD * USUAL_PIXELS // max(USUAL_PIXELS, self.pixels) // self.group_size
        return GROUPS_AHEAD if self.total is None else max(GROUPS_AHEAD, many)

    @property
    def pixels(self) -> int:
        """Of one image as the model gets it; a guess, where each has its own size."""
        height, width = self.processor.fixed_size or (640, 640)
        return height * width

    @cached_property
    def workers(self) -> int:
        """As many as decode without taking the model's cores away; a GPU leaves them all free."""
        if self.request.workers is not None:
            return self.request.workers
        cores = available_cores()
        wanted = cores - 1 if self.on_gpu else cores // 2
        return max(1, min(wanted // len(self.devices), 32, self.part or wanted))

    @property
    def is_small(self) -> bool:
        """Of all images, not of those that are left to do: what is computed must not depend on where a run stopped."""
        return self.total is not None and self.total <= FEW

    @cached_property
    def part(self) -> int | None:
        """How many inputs are this shard's."""
        index, step = self.request.shard or (1, 1)
        return None if self.total is None else len(range(index - 1, self.total, step))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the features depend on, and what whoever reads them wants to know: `backbone.json`."""
        request, config = self.request, self.found.config
        stages = [vars(config.stages[i]) for i in config.wanted]
        packages = ["backbone-cli", "torch", "numpy", "pillow"]
        if config.model_type == "timm_backbone":
            packages.append("timm")  # its code computes the maps
        settings: dict[str, Any] = {
            "model": request.model,
            "revision": revision(self.found, request),
            "family": self.found.family.model_type,
            "stages": stages,
            "maps": config.maps_are,
            "pool": request.pool,
            "preprocessing": self.processor.to_dict() | {"fast_decode": request.fast_decode},
            "dtype": request.dtype,
            "save_dtype": request.save_dtype,
            "format": request.format,
            "layout": request.layout,
            **({"images": self.total} if request.layout == "stacked" else {}),
            "versions": {name: installed(name) for name in packages},
        }
        as_read: dict[str, Any] = json.loads(json.dumps(settings))
        return as_read

    def decoder(self) -> Decoder:
        return Decoder(self.processor, self.request.max_pixels, self.request.fast_decode)

    def folder(self) -> Folder:
        return Folder(Path(self.request.output), self.settings, self.request.overwrite)

    def index(self) -> Index:
        return Index(Path(self.request.output), self.request.shard, hidden=self.request.layout == "stacked")

    def sink(self, ours: bool) -> Sink:
        """`ours`: an earlier run with these settings was in the folder."""
        request = self.request
        if request.to_stdout:
            return Stdout(request.format, request.save_dtype)
        folder = Path(request.output)
        if request.layout == "stacked":
            return Stacks(folder, request.format, request.save_dtype, self.stages, self.total or 0, request.shard)
        return Files(folder, request.format, request.save_dtype, ours, request.overwrite)

    # --- sizes ----------------------------------------------------------------------------------------------

    def shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Stage -> what is saved of it for an image that comes out of the processor at this size."""
        config = self.found.config
        full = config.shapes(*size)
        return {config.stage_names[i]: full[i][: 1 if self.request.pool != "none" else 3] for i in config.wanted}

    def bytes_by_stage(self, size: tuple[int, int]) -> dict[str, int]:
        """Stage -> bytes of one image's map, without a header."""
        width = STORED[self.request.save_dtype].itemsize
        shapes = self.shapes(size).items()
        return {stage: width * math.prod(shape) for stage, shape in shapes}

    def check_space(self, done: int) -> None:
        """Raise OutputError where the images that are not done yet, of all shards, can't fit on the disk."""
        if self.total is None or not (size := self.processor.fixed_size):
            return
        images = max(0, self.total - done)
        needed, free = images * sum(self.bytes_by_stage(size).values()), free_space(Path(self.request.output))
        if needed > free:
            raise OutputError(
                f"{images:,} images take {human(needed)}, and '{self.request.output}' has {human(free)} left."
                " Choose fewer stages, --pool mean, --save-dtype float16, or another disk."
            )


def prepare(request: Request) -> Job:
    """Everything that can be wrong with a request shows here, before anything is loaded or written."""
    sources = Sources(request.inputs, request.root, request.null)
    sources.check()
    ignore_case = not request.to_stdout and ignores_case(Path(request.output))
    found, processor = look_up(request)
    if request.to_stdout and request.format == "npy" and len(found.config.wanted) > 1:
        raise UsageError("-o - writes one npy array; choose one stage, or use --format safetensors.")
    if request.layout == "stacked" and request.pool == "none" and processor.fixed_size is None:
        raise UsageError("--layout stacked needs images of one size; give --image-size, or --pool mean.")
    total = None
    if request.layout == "stacked" or request.to_stdout:
        sources.keep_list()
        total = count(sources, ignore_case)
    elif sources.countable:
        total = count(sources, ignore_case)
    if total == 0:
        raise UsageError(nothing_found(request, sources))
    if request.to_stdout and total != 1:
        raise UsageError(f"-o - writes one image's result, and there are {total}; give one image, or a folder with -o.")
    return Job(request, found, processor, sources, total, ignore_case, request.shard)


def look_up(request: Request, unless_named: tuple[str, ...] = ()) -> tuple[Resolved, ImageProcessor]:
    """The model that was named, with the stages that were asked for, or else these, and its processor."""
    from ..images.plan import MAX_PIXELS
    from ..images.processor import load_processor

    found = resolve_for_files(request.model, request.revision, request.offline)
    indices = request.out_indices or (() if request.out_features else unless_named)
    found.config.out_indices = choose(found.config.stage_names, indices, request.out_features)
    channels = getattr(found.config, "num_channels", 3)
    if channels != 3:
        raise UnsupportedModel(
            f"'{request.model}' takes images of {channels} channels, and photos are read with 3."
            " Call it from Python, with pixels of your own."
        )
    if request.image_size and math.prod(request.image_size) > max(MAX_PIXELS, request.max_pixels):
        height, width = request.image_size
        raise UsageError(f"--image-size {height}x{width} is too large; an image has at most {MAX_PIXELS:,} pixels.")
    processor = load_processor(found)
    if request.image_size:
        found.config.expect(*request.image_size)
        processor = processor.with_size(request.image_size)
    if processor.fixed_size:
        found.config.check_room(*processor.fixed_size)
    return found, processor


def nothing_found(request: Request, sources: Sources) -> str:
    named = ", ".join(f"'{text}'" for text in request.inputs[:3])
    held = f" ({sources.skipped} other files; to read .tar files, name them)" if sources.skipped else ""
    return f"There are no images in {named}{held}."


def devices(text: str) -> list[str]:
    """`cuda:0,cuda:1` -> both; `cuda:all` -> every one there is; `auto` -> the best one."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if names == ["cuda:all"]:
        import torch

        names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cuda"]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"'{text}' names no device, or one twice; use auto, cpu, cuda, cuda:1, mps or cuda:all.")
    return names


def revision(found: Resolved, request: Request) -> str:
    """What tells one model's weights from another's of the same name."""
    drawn = f"random:{request.seed}" if request.random_init else ""
    return "+".join(filter(None, (found.repo.identity(weights=not drawn), drawn)))


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_space(folder: Path) -> int:
    return shutil.disk_usage(nearest_existing(folder)).free
