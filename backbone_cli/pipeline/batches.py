"""Which images go through the model together.

Batches are cut from the inputs by position, whatever an earlier run has done: an image has the same companions in a
resumed run as in an uninterrupted one, so its maps come out the same to the last bit. The price is that a resumed run
recomputes the images that share a batch with a missing one.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from ..errors import ImageError
from ..output.formats import Array
from ..output.records import Item
from ..output.sinks import Maps
from .decoding import DecoderPool, Pixels


@dataclass(frozen=True)
class Task:
    """An input, and what the run has to do with it."""

    item: Item
    pending: bool = True
    """Whether it has to be done; an earlier run has finished the others."""
    listed: bool = False
    """Whether an earlier run listed it in the index, so that its files may be replaced."""


Result = tuple[Task, Maps | ImageError, float]
"""An image, its maps or error, and the seconds it took."""

# Where the processor leaves sizes as they are, images are grouped by shape within this many batches of neighbours.
WINDOW = 4


@dataclass
class Group:
    """Neighbouring inputs, decoded together: one batch, or a few if their shapes differ."""

    tasks: list[Task]
    futures: dict[int, Future[Pixels]] = field(default_factory=dict)
    pixels: dict[int, Pixels] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def any_pending(self) -> bool:
        return any(task.pending for task in self.tasks)

    @property
    def all_pending(self) -> bool:
        return all(task.pending for task in self.tasks)

    def start(self, decoders: DecoderPool) -> None:
        """Start decoding the pending images."""
        for i, task in enumerate(self.tasks):
            if task.pending and task.item.error is None:
                self.futures[i] = decoders.submit(task.item)
            elif task.pending:
                self.errors[i] = task.item.error or ""

    def wait(self, decoders: DecoderPool) -> None:
        """Wait for all images, including finished ones as companions of those that are pending."""
        self.collect()
        if self.pixels:
            for i, task in enumerate(self.tasks):
                if not task.pending and task.item.error is None:
                    self.futures[i] = decoders.submit(task.item)
            self.collect()

    def collect(self) -> None:
        for i, future in self.futures.items():
            try:
                self.pixels[i] = future.result()
            except ImageError as error:
                self.errors[i] = str(error)
        self.futures.clear()

    def failures(self) -> list[Result]:
        """The pending images that can't be read; for finished ones that doesn't matter."""
        return [(self.tasks[i], ImageError(error), 0.0) for i, error in self.errors.items() if self.tasks[i].pending]

    def batches(self, size: int) -> Iterator[Batch]:
        """Up to `size` images of one shape each; batches without a pending image are skipped."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i in sorted(self.pixels):
            by_shape.setdefault(self.pixels[i].array.shape, []).append(i)
        for members in by_shape.values():
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                if any(self.tasks[i].pending for i in batch):
                    images = [self.pixels.pop(i) for i in batch]
                    yield Batch(
                        [self.tasks[i] for i in batch],
                        np.stack([image.array for image in images]),
                        [image.seconds for image in images],
                    )


@dataclass(frozen=True)
class Batch:
    tasks: list[Task]
    pixels: Array
    """Bytes (B, H, W, C), or floats (B, C, H, W) that are model input already."""
    seconds: list[float]
    """The decoding time of each image."""


def make_groups(items: Iterable[Item], plan: Callable[[Item], Task], size: int) -> Iterator[Group]:
    """The inputs in groups of this size."""
    items = iter(items)
    while members := list(itertools.islice(items, size)):
        yield Group([plan(item) for item in members])


class Prefetcher:
    """Yields groups in order while the next few are already being decoded."""

    def __init__(self, groups: Iterator[Group], decoders: DecoderPool, depth: int) -> None:
        self.groups, self.decoders, self.depth = groups, decoders, depth
        self.waiting: deque[Group] = deque()

    def fill(self) -> None:
        """Start decoding until `depth` groups are under way."""
        while len(self.waiting) < self.depth and (group := next(self.groups, None)):
            group.start(self.decoders)
            self.waiting.append(group)

    def __iter__(self) -> Iterator[Group]:
        while True:
            self.fill()
            if not self.waiting:
                return
            yield self.waiting.popleft()
