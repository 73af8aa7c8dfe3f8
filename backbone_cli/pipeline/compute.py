"""From decoded pixels to maps: one image, or one batch whose results may still be on their way from a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ..errors import ImageError
from ..output.formats import Array
from ..output.records import Item
from ..output.sinks import Maps
from .batches import Batch, Result
from .decoding import decode_timed

ComputeMaps = Callable[[Array], Iterable[Maps | ImageError]]
"""A batch of pixels to each image's maps or error; a GPU may still be computing when this returns."""


def compute_one(decode: Callable[[Item], Array], compute: ComputeMaps, item: Item) -> tuple[Array, Maps]:
    """An image's pixels, as the processor leaves them, and its maps. Raises ImageError."""
    if item.error:
        raise ImageError(item.error)
    pixels = decode_timed(decode, item).array
    (maps,) = compute(pixels[None])
    if isinstance(maps, ImageError):
        raise maps
    return pixels, maps


def compute_batch(compute: ComputeMaps, batch: Batch) -> Callable[[], list[Result]]:
    """Start computing a batch; the returned function waits for the results of its pending images."""
    start = time.perf_counter()
    arriving = compute(batch.pixels)
    launching = time.perf_counter() - start

    def wait() -> list[Result]:
        start = time.perf_counter()
        maps = list(arriving)
        share = (launching + time.perf_counter() - start) / len(batch.tasks)
        results = zip(batch.tasks, maps, batch.seconds, strict=True)
        return [(task, image_maps, seconds + share) for task, image_maps, seconds in results if task.pending]

    return wait
