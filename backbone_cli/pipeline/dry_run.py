"""What a run would do, and how long it would take, measured on a small sample. Nothing is written."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .batches import Group, Task
from .decoding import DecoderPool
from .names import count_inputs
from .prepare import Job, free_space, no_images_message
from .run import load_engine
from .sources import select_shard
from .state import MainRunState

SAMPLE_BATCHES = 2
"""The first one warms up, the second one is timed."""


@dataclass(frozen=True)
class Estimate:
    """What a run would do."""

    images: int
    """In this run's shard of the inputs."""
    to_do: int
    batch_size: int
    workers: int
    stages: list[dict[str, Any]]
    """Name, shape (None if sizes vary), and bytes for all images still to do."""
    bytes: int
    free: int
    seconds: float | None
    """None if no image of the sample could be read."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(job: Job) -> Estimate:
    """Count the images and bytes of a run, and estimate its time from a sample of images that are still to do.

    Raises the errors that the run itself would raise before it starts.
    """
    job.sources.buffer_stdin()
    if job.total is None:
        count_inputs(job.sources, job.ignore_case)  # reports clashing names
    images, to_do = 0, 0
    sample: list[Task] = []
    with closing(MainRunState(job)) as state:
        for item in select_shard(state.names.assign(job.sources), job.assigned_shard):
            images += 1
            task = state.resume.task(item)
            if task.pending and not task.item.error:
                to_do += 1
                if len(sample) < SAMPLE_BATCHES * job.batch_size:
                    sample.append(task)
    if not images and job.total is None:
        raise UsageError(no_images_message(job.request, job.sources))
    sizes, seconds = time_sample(job, sample, to_do)
    bytes_per_image = dict.fromkeys(job.stages, 0.0)
    for size in sizes:
        for stage, count in job.bytes_by_stage(size).items():
            bytes_per_image[stage] += count / len(sizes)
    shapes = job.shapes(sizes[0]) if len(set(sizes)) == 1 else {}
    bytes_by_stage = {stage: round(count * to_do) for stage, count in bytes_per_image.items()}
    stages = [{"name": name, "shape": shapes.get(name), "bytes": size} for name, size in bytes_by_stage.items()]
    needed = sum(bytes_by_stage.values())
    free = free_space(Path(job.request.output))
    return Estimate(images, to_do, job.batch_size, job.workers, stages, needed, free, seconds)


def time_sample(job: Job, sample: list[Task], to_do: int) -> tuple[list[tuple[int, int]], float | None]:
    """The sizes of the sample's processed images, and the estimated time for all images."""
    fixed = job.processor.fixed_size
    group = Group(sample)
    with DecoderPool(job.decoder(), job.workers) as decoders:
        group.start(decoders)
        start = time.perf_counter()
        compute = load_engine(job, job.devices[0])
        loading = time.perf_counter() - start
        group.wait(decoders)
    sizes = [pixels.size for pixels in group.pixels.values()]
    if not sizes:
        return [fixed] if fixed else [], None
    decoding = sum(pixels.seconds for pixels in group.pixels.values()) / len(sizes) / max(1, job.workers)
    computing = 0.0
    for batch in group.batches(job.batch_size):
        start = time.perf_counter()
        list(compute(batch.pixels))
        computing = (time.perf_counter() - start) / len(batch.tasks)
    return [fixed] if fixed else sizes, loading + to_do * max(computing, decoding) / len(job.devices)
