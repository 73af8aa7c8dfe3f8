"""What a run would do, and how long it would take, from a small sample. Nothing is written."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .batches import Group
from .claims import Claims, count
from .decoding import Decoding
from .prepare import Job, free_space, nothing_found
from .run import Past, load_engine
from .sources import Item, part_of

SAMPLE = 2
"""Batches that are tried: the first one warms up, the second is timed."""


@dataclass(frozen=True)
class Plan:
    images: int
    """Of this run's part of the inputs."""
    to_do: int
    batch_size: int
    workers: int
    stages: list[dict[str, Any]]
    """Name, shape (None where sizes vary), and bytes of all images still to do."""
    bytes: int
    free: int
    seconds: float | None
    """None where no image of the sample could be read."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan(job: Job) -> Plan:
    job.sources.keep_list()
    if job.total is None:
        count(job.sources, job.ignore_case)  # tells of two inputs in one name
    folder, index = job.folder(), job.index()
    if folder.is_ours:
        index.load()
    past = Past(index, job.sink(folder.is_ours))
    images, to_do = 0, 0
    sample: list[Item] = []
    for item in part_of(Claims(job.ignore_case).pass_by(job.sources), job.lane):
        images += 1
        if not past.is_done(item) and not item.error:
            to_do += 1
            if len(sample) < SAMPLE * job.batch_size:
                sample.append(item)
    if not images and job.total is None:
        raise UsageError(nothing_found(job.request, job.sources))
    sizes, seconds = try_out(job, sample, to_do)
    each = dict.fromkeys(job.stages, 0.0)
    for size in sizes:
        for stage, amount in job.bytes_by_stage(size).items():
            each[stage] += amount / len(sizes)
    shapes = job.shapes(sizes[0]) if len(set(sizes)) == 1 else {}
    stages = [{"name": stage, "shape": shapes.get(stage), "bytes": round(each[stage] * to_do)} for stage in job.stages]
    needed = sum(round(amount * to_do) for amount in each.values())
    free = free_space(Path(job.request.output))
    return Plan(images, to_do, job.batch_size, job.workers, stages, needed, free, seconds)


def try_out(job: Job, sample: list[Item], to_do: int) -> tuple[list[tuple[int, int]], float | None]:
    """The sizes that images of the sample come out with, and the time that all would take."""
    fixed = job.processor.fixed_size
    group = Group(sample, [True] * len(sample))
    with Decoding(job.decoder(), job.workers) as decoding:
        group.start(decoding)
        start = time.perf_counter()
        engine = load_engine(job, job.devices[0])
        loading = time.perf_counter() - start
        group.wait(decoding)
    sizes = [pixels.array.shape[:2] for pixels in group.pixels.values()]
    if not sizes:
        return [fixed] if fixed else [], None
    decoding_each = sum(pixels.seconds for pixels in group.pixels.values()) / len(sizes) / max(1, job.workers)
    each = 0.0
    for batch in group.batches(job.batch_size):
        start = time.perf_counter()
        list(engine(batch.pixels))
        each = (time.perf_counter() - start) / len(batch.items)
    return [fixed] if fixed else sizes, loading + to_do * max(each, decoding_each) / len(job.devices)
