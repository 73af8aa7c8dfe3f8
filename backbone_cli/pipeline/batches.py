"""Which images go through the model together.

Batches are cut from the inputs by position, whatever an earlier run has done: an image has the same company in a run
that was resumed as in one that was not, so its maps come out the same to the last bit. That costs a resumed run the
images that share a batch with one that is missing.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from ..errors import ImageError
from .decoding import Decoding, Pixels
from .formats import Array
from .sinks import Maps
from .sources import Item

Result = tuple[Item, Maps | ImageError, float]
"""An image, what came of it, and the seconds that it took."""

# How many batches' worth of neighbours are sorted by shape, where the processor leaves sizes as they are.
WINDOW = 4


@dataclass
class Group:
    """Neighbours among the inputs, decoded together: one batch, or a few where shapes differ."""

    items: list[Item]
    pending: list[bool]
    """Which of them the run has to do; the others are done."""
    futures: dict[int, Future[Pixels]] = field(default_factory=dict)
    pixels: dict[int, Pixels] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)

    def start(self, decoding: Decoding) -> None:
        for i, item in enumerate(self.items):
            if self.pending[i] and item.error is None:
                self.futures[i] = decoding.submit(item)
            elif self.pending[i]:
                self.errors[i] = item.error or ""

    def wait(self, decoding: Decoding) -> None:
        """Until all images are there, with those that are done already as company for those that are not."""
        self.collect()
        if self.pixels:
            for i, item in enumerate(self.items):
                if not self.pending[i] and item.error is None:
                    self.futures[i] = decoding.submit(item)
            self.collect()

    def collect(self) -> None:
        for i, future in self.futures.items():
            try:
                self.pixels[i] = future.result()
            except ImageError as error:
                self.errors[i] = str(error)
        self.futures.clear()

    def failures(self) -> list[Result]:
        """What can't be read; of those that are done, it matters to nobody."""
        return [(self.items[i], ImageError(error), 0.0) for i, error in self.errors.items() if self.pending[i]]

    def batches(self, size: int) -> Iterator[Batch]:
        """Images of one shape, as many as `size`; those with nothing to do in them are left out."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i in sorted(self.pixels):
            by_shape.setdefault(self.pixels[i].array.shape, []).append(i)
        for members in by_shape.values():
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                if any(self.pending[i] for i in batch):
                    arrays = [self.pixels.pop(i) for i in batch]
                    yield Batch(
                        [self.items[i] for i in batch],
                        [self.pending[i] for i in batch],
                        np.stack([pixels.array for pixels in arrays]),
                        [pixels.seconds for pixels in arrays],
                    )


@dataclass(frozen=True)
class Batch:
    items: list[Item]
    pending: list[bool]
    pixels: Array
    """B H W C."""
    seconds: list[float]
    """What decoding each took."""


def groups(items: Iterable[Item], is_done: Callable[[Item], bool], size: int) -> Iterator[Group]:
    """The inputs in groups of this size."""
    items = iter(items)
    while members := list(itertools.islice(items, size)):
        yield Group(members, [not is_done(item) for item in members])


class Ahead:
    """Groups in order, whose images are being decoded, and those of the next ones with them."""

    def __init__(self, groups: Iterator[Group], decoding: Decoding, depth: int) -> None:
        self.groups, self.decoding, self.depth = groups, decoding, depth
        self.waiting: deque[Group] = deque()

    def fill(self) -> None:
        """Start as many as are allowed; worth doing before the model is loaded."""
        while len(self.waiting) < self.depth and (group := next(self.groups, None)):
            group.start(self.decoding)
            self.waiting.append(group)

    def __iter__(self) -> Iterator[Group]:
        while True:
            self.fill()
            if not self.waiting:
                return
            yield self.waiting.popleft()
