"""From pixels to maps on one device: the part of the pipeline that uses torch."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ImageError, ModelError, UsageError
from ..output.formats import Array
from ..output.sinks import Maps
from .decoding import image_size
from .request import Pool, Request

if TYPE_CHECKING:
    from ..images.processor import ImageProcessor
    from ..models.base import Backbone
    from ..resolve import Resolved

log = logging.getLogger(__name__)

# What the allocators of CUDA, pinned memory, MPS and CPUs put in their errors.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")

# Constants from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def load_engine(
    resolved: Resolved, processor: ImageProcessor, request: Request, device: str, few_images: bool = False
) -> Engine:
    """A model, ready to compute on a device. With `few_images`, it is not worth optimizing."""
    from ..auto import load_backbone, random_backbone, to_device
    from ..images.torch_ops import normalize_on_device
    from ..optimization import optimize

    torch_device = choose_device(device)
    if torch_device.type == "cuda":
        torch.cuda.set_device(torch_device)
        torch.backends.cudnn.allow_tf32 = False  # by default float32 convolutions have only 10 bits of mantissa
    elif torch_device.type == "cpu" and not few_images:
        keep_memory()
    dtype = getattr(torch, request.dtype)
    with allocating("The model", torch_device):
        if request.random_init:
            model = to_device(random_backbone(resolved.config, request.seed), dtype, torch_device)
        else:
            model = load_backbone(resolved, dtype, torch_device)
        if request.compile:
            compile_model(model)
        elif not few_images:
            optimize(model)
    warn_of_slow(dtype, torch_device)
    table = torch.from_numpy(processor.table).to(torch_device)

    def normalize(pixels: Tensor) -> Tensor:
        return normalize_on_device(pixels, table).to(dtype)

    engine = Engine(
        model, normalize, torch_device, resolved.config.out_features, request.pool, getattr(torch, request.save_dtype)
    )
    engine.check_pool(processor.fixed_size or resolved.config.default_size())
    return engine


def keep_memory() -> None:
    """Make glibc keep freed memory in this process.

    By default each large tensor is a new mapping, and faulting in its pages in every layer of every batch takes up to a
    third of a forward pass.
    """
    if not sys.platform.startswith("linux") or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def compile_model(model: Backbone) -> None:
    """Let torch compile the model on its first batch; the result is cached for later runs."""
    import torch._inductor.config

    torch._inductor.config.freezing = True  # treats weights as constants, in the processor's preferred layout
    model.requires_grad_(False).compile()


def warn_of_slow(dtype: torch.dtype, device: torch.device) -> None:
    """Warn about half precision on processors where it is slower than float32."""
    if device.type != "cpu":
        return
    if dtype == torch.float16:
        log.warning("float16 is very slow on a CPU; --dtype float32 is faster and more accurate.")
    elif (
        dtype == torch.bfloat16
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    ):
        log.warning("This processor has no bfloat16 instructions; --dtype float32 is faster.")


def choose_device(name: str) -> torch.device:
    """The torch device with this name; `auto` is the first GPU if there is one."""
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"'{name}' is not a device; use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        available = f"has {torch.cuda.device_count()}" if torch.cuda.is_available() else "has none that torch can use"
        raise UsageError(f"There is no device '{name}': this machine {available}. `backbone doctor` shows more.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"'{name}' is not a supported device; use auto, cpu, cuda, cuda:1 or mps.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("There is no device 'mps' on this machine.")
    return device


@dataclass
class Engine:
    """A model with normalization and output dtype. Call it with a batch of pixels to get maps or errors."""

    model: Backbone
    normalize: Callable[[Tensor], Tensor]
    device: torch.device
    stages: Sequence[str]
    pool: Pool
    save_dtype: torch.dtype
    max_batch: int | None = field(default=None, init=False)
    """How many images fit into memory at once, known after running out of it."""
    checked_sizes: set[tuple[int, int]] = field(default_factory=set, init=False)
    """Image sizes that were checked to work with the model."""
    copy_stream: torch.cuda.Stream | None = field(default=None, init=False)
    """Copies maps back while the next batch is computed."""

    def __call__(self, pixels: Array) -> Iterable[Maps | ImageError]:
        """On CUDA this returns at once, and iterating over the result waits for it."""
        height, width = image_size(pixels[0])
        if (height, width) not in self.checked_sizes:
            try:
                self.model.config.check_min_size(height, width)
            except UsageError as error:
                too_small = ImageError(str(error))
                return [too_small for _ in pixels]
            self.checked_sizes.add((height, width))
        at_once = min(len(pixels), self.max_batch or len(pixels))
        try:
            parts = [self.launch(pixels[i : i + at_once]) for i in range(0, len(pixels), at_once)]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            results = (result for part in parts for result in part())
            return results if self.device.type == "cuda" else list(results)
        # Leaving the except block has released the tensors that the exception kept alive.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if at_once == 1:
            too_large = ImageError(
                f"A single image of {height} x {width} does not fit into the memory of {self.device}."
            )
            return [too_large for _ in pixels]
        self.max_batch = at_once // 2
        log.warning(
            "%d images at once do not fit into the memory of %s; continuing with %d.",
            at_once,
            self.device,
            self.max_batch,
        )
        return self(pixels)

    @torch.inference_mode()
    def launch(self, pixels: Array) -> Callable[[], list[Maps | ImageError]]:
        """Start computing a batch; the returned function waits for the results."""
        batch = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            batch = batch.pin_memory().to(self.device, non_blocking=True)
        maps = [
            m.to(self.save_dtype, memory_format=torch.contiguous_format) for m in self.pooled(self.normalize(batch))
        ]
        sums = torch.stack([m.flatten(1).sum(1, dtype=torch.float32) for m in maps])  # stages x images
        return partial(self.results, self.copy_to_cpu([sums, *maps]))

    def copy_to_cpu(self, tensors: list[Tensor]) -> Callable[[], list[Tensor]]:
        """Copy tensors to the CPU; from CUDA in the background, while the next batch is computed."""
        if self.device.type != "cuda":
            on_cpu = [tensor.cpu() for tensor in tensors]
            return lambda: on_cpu
        self.copy_stream = self.copy_stream or torch.cuda.Stream(self.device)
        self.copy_stream.wait_stream(torch.cuda.current_stream(self.device))
        arrived = torch.cuda.Event()
        with torch.cuda.stream(self.copy_stream):
            on_cpu = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True) for t in tensors]
            arrived.record()
        for tensor in tensors:
            tensor.record_stream(self.copy_stream)  # its memory must not be reused before it is copied

        def wait() -> list[Tensor]:
            with torch.cuda.device(self.device):  # the current device is per thread
                arrived.synchronize()
            return on_cpu

        return wait

    @torch.inference_mode()
    def results(self, copied: Callable[[], list[Tensor]]) -> list[Maps | ImageError]:
        sums, *maps = copied()
        arrays = [as_array(m) for m in maps]
        # A finite sum means that all values are finite; a sum that isn't may have overflowed itself.
        sums_finite = sums.isfinite().tolist()

        def image_result(i: int) -> Maps | ImageError:
            for stage, finite, m in zip(self.stages, sums_finite, maps, strict=True):
                if not finite[i] and not m[i].isfinite().all():
                    return self.overflow(stage)
            return {stage: array[i] for stage, array in zip(self.stages, arrays, strict=True)}

        return [image_result(i) for i in range(sums.shape[1])]

    def pooled(self, pixels: Tensor) -> list[Tensor]:
        if self.pool == "cls":
            return self.class_tokens(pixels)
        maps = self.model(pixels).feature_maps
        return [m.float().mean((2, 3)) for m in maps] if self.pool == "mean" else list(maps)

    def class_tokens(self, pixels: Tensor) -> list[Tensor]:
        states = zip(range(self.model.last + 1), self.model.states(pixels), strict=False)
        tokens = [self.model.class_token(i, state) for i, state in states if i in self.model.requested]
        return [token for token in tokens if token is not None]

    def check_pool(self, size: tuple[int, int]) -> None:
        """Check for class tokens by running an empty image; only that tells whether all stages have them."""
        if self.pool != "cls":
            return
        with torch.inference_mode():
            tokens = self.class_tokens(torch.zeros(1, 3, *size, device=self.device, dtype=self.model.dtype))
        if len(tokens) < len(self.stages):
            raise UsageError(f"--pool cls: {type(self.model).__name__} has no class token; use --pool mean or none.")

    def overflow(self, stage: str) -> ImageError:
        return ImageError(
            f"Its {stage} has values that {str(self.save_dtype)[6:]} can't represent, or NaN;"
            " try --save-dtype float32, and --dtype float32 or bfloat16."
        )


def as_array(maps: Tensor) -> Array:
    """As a numpy array; bfloat16 as its bits."""
    return (maps.view(torch.uint16) if maps.dtype == torch.bfloat16 else maps).numpy()


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


@contextmanager
def allocating(what: str, device: torch.device) -> Iterator[None]:
    """Turn running out of memory into a ModelError."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"{what} does not fit into the memory of {device}.") from error
