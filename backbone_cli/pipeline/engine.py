"""From pixels to maps on one device. This is where the pipeline meets torch."""

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
from .formats import Array
from .request import Pool, Request
from .sinks import Maps

if TYPE_CHECKING:
    from ..images.processor import ImageProcessor
    from ..models.base import Backbone
    from ..resolve import Resolved

log = logging.getLogger(__name__)

# How the allocators of CUDA, of pinned memory, of MPS and of CPUs say it.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")

# malloc.h's numbers.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def load_engine(found: Resolved, processor: ImageProcessor, request: Request, device: str, few: bool = False) -> Engine:
    """The model that was found, ready to compute on this device; for `few` images, making it fast would not pay."""
    from ..auto import load, place, random
    from ..images.device import normalize_on_device
    from ..inference import optimize

    where = choose_device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
        torch.backends.cudnn.allow_tf32 = False  # by default float32 convolutions are of ten bits only
    elif where.type == "cpu" and not few:
        keep_memory()
    dtype = getattr(torch, request.dtype)
    with allocating("The model", where):
        if request.random_init:
            model = place(random(found.config, request.seed), dtype, where)
        else:
            model = load(found, dtype, where)
        if request.compile:
            compile_model(model)
        elif not few:
            optimize(model)
    warn_of_slow(dtype, where)
    table = torch.from_numpy(processor.table).to(where)

    def normalize(pixels: Tensor) -> Tensor:
        return normalize_on_device(pixels, table).to(dtype)

    engine = Engine(
        model, normalize, where, found.config.out_features, request.pool, getattr(torch, request.save_dtype)
    )
    engine.check_pool(processor.fixed_size or found.config.default_size())
    return engine


def keep_memory() -> None:
    """Have glibc keep what is freed, for this process alone.

    By default each large tensor is a new mapping, and touching its pages anew in every layer of every batch takes up
    to a third of a forward pass.
    """
    if not sys.platform.startswith("linux") or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def compile_model(model: Backbone) -> None:
    """Have torch compile the model when the first batch comes; what it makes is cached for later runs."""
    import torch._inductor.config

    torch._inductor.config.freezing = True  # weights are constants, and are laid out as the processor likes them
    model.requires_grad_(False).compile()


def warn_of_slow(dtype: torch.dtype, device: torch.device) -> None:
    """Half precision is there to save time, which not every processor lets it."""
    if device.type != "cpu":
        return
    if dtype == torch.float16:
        log.warning("float16 is very slow on a CPU; --dtype float32 is faster, and more exact.")
    elif (
        dtype == torch.bfloat16
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    ):
        log.warning("This processor can't compute in bfloat16 itself; --dtype float32 is faster here.")


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU, where there is one."""
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"'{name}' is no device; use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        there = f"has {torch.cuda.device_count()}" if torch.cuda.is_available() else "has none that torch can use"
        raise UsageError(f"There is no device '{name}': this machine {there}. `backbone doctor` says more.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"'{name}' is no device that backbone computes on; use auto, cpu, cuda, cuda:1 or mps.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("There is no device 'mps' on this machine.")
    return device


@dataclass
class Engine:
    """A model and what is around it. Calling it with a batch of pixels gives each image's maps, or its error."""

    model: Backbone
    normalize: Callable[[Tensor], Tensor]
    device: torch.device
    stages: Sequence[str]
    pool: Pool
    save_dtype: torch.dtype
    most: int | None = field(default=None, init=False)
    """How many images fit at once, from when that is known the hard way."""
    taken: set[tuple[int, int]] = field(default_factory=set, init=False)
    """Sizes of images that the model was found to take."""
    copies: torch.cuda.Stream | None = field(default=None, init=False)
    """Where maps are copied back, beside what is computed."""

    def __call__(self, pixels: Array) -> Iterable[Maps | ImageError]:
        """On CUDA it comes back at once, and what it gives is waited for when it is looked at."""
        height, width = pixels.shape[1:3]
        if (height, width) not in self.taken:
            try:
                self.model.config.check_room(height, width)
            except UsageError as error:
                unfit = ImageError(str(error))
                return [unfit for _ in pixels]
            self.taken.add((height, width))
        at_once = min(len(pixels), self.most or len(pixels))
        try:
            parts = [self.launch(pixels[i : i + at_once]) for i in range(0, len(pixels), at_once)]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            results = (result for part in parts for result in part())
            return results if self.device.type == "cuda" else list(results)
        # The exception held on to the tensors that were too many; here they are gone.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if at_once == 1:
            lost = ImageError(f"A single image of {height} x {width} does not fit into the memory of {self.device}.")
            return [lost for _ in pixels]
        self.most = at_once // 2
        log.warning(
            "%d images at once do not fit into the memory of %s; going on with %d.", at_once, self.device, self.most
        )
        return self(pixels)

    @torch.inference_mode()
    def launch(self, pixels: Array) -> Callable[[], list[Maps | ImageError]]:
        """Have a batch computed; call what this gives for the results."""
        batch = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            batch = batch.pin_memory().to(self.device, non_blocking=True)
        maps = [
            m.to(self.save_dtype, memory_format=torch.contiguous_format) for m in self.pooled(self.normalize(batch))
        ]
        sums = torch.stack([m.flatten(1).sum(1, dtype=torch.float32) for m in maps])  # stages x images
        return partial(self.results, self.fetch([sums, *maps]))

    def fetch(self, tensors: list[Tensor]) -> Callable[[], list[Tensor]]:
        """Bring tensors to the CPU: from CUDA beside what is computed next, so that nothing waits until it must."""
        if self.device.type != "cuda":
            here = [tensor.cpu() for tensor in tensors]
            return lambda: here
        self.copies = self.copies or torch.cuda.Stream(self.device)
        self.copies.wait_stream(torch.cuda.current_stream(self.device))
        arrived = torch.cuda.Event()
        with torch.cuda.stream(self.copies):
            here = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True) for t in tensors]
            arrived.record()
        for tensor in tensors:
            tensor.record_stream(self.copies)  # its memory is not to be used anew before it is copied

        def wait() -> list[Tensor]:
            with torch.cuda.device(self.device):  # which each thread has to be told
                arrived.synchronize()
            return here

        return wait

    @torch.inference_mode()
    def results(self, fetched: Callable[[], list[Tensor]]) -> list[Maps | ImageError]:
        sums, *maps = fetched()
        arrays = [as_array(m) for m in maps]
        # A sum tells in no time that all is well; where it does not, it may have overflowed itself.
        surely_finite = sums.isfinite().tolist()

        def of_image(i: int) -> Maps | ImageError:
            for stage, sure, m in zip(self.stages, surely_finite, maps, strict=True):
                if not sure[i] and not m[i].isfinite().all():
                    return self.overflow(stage)
            return {stage: array[i] for stage, array in zip(self.stages, arrays, strict=True)}

        return [of_image(i) for i in range(sums.shape[1])]

    def pooled(self, pixels: Tensor) -> list[Tensor]:
        if self.pool == "cls":
            return self.class_tokens(pixels)
        maps = self.model(pixels).feature_maps
        return [m.float().mean((2, 3)) for m in maps] if self.pool == "mean" else list(maps)

    def class_tokens(self, pixels: Tensor) -> list[Tensor]:
        states = zip(range(self.model.last + 1), self.model.states(pixels), strict=False)
        tokens = [self.model.class_token(i, state) for i, state in states if i in self.model.wanted]
        return [token for token in tokens if token is not None]

    def check_pool(self, size: tuple[int, int]) -> None:
        """Whether there are class tokens for all stages can only be seen on an image, so an empty one goes through."""
        if self.pool != "cls":
            return
        with torch.inference_mode():
            found = self.class_tokens(torch.zeros(1, 3, *size, device=self.device, dtype=self.model.dtype))
        if len(found) < len(self.stages):
            raise UsageError(f"--pool cls: {type(self.model).__name__} has no class token; use --pool mean or none.")

    def overflow(self, stage: str) -> ImageError:
        return ImageError(
            f"Its {stage} holds values that {str(self.save_dtype)[6:]} can't hold, or that are no numbers;"
            " try --save-dtype float32, and --dtype float32 or bfloat16."
        )


def as_array(maps: Tensor) -> Array:
    """As numpy holds it: bfloat16 as its bits."""
    return (maps.view(torch.uint16) if maps.dtype == torch.bfloat16 else maps).numpy()


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


@contextmanager
def allocating(what: str, device: torch.device) -> Iterator[None]:
    """Turn running out of memory into a sentence."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"{what} does not fit into the memory of {device}.") from error
