"""Choosing how a job runs: on one device, on several, or to standard output."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from .events import Event
from .prepare import Job
from .run import load_engine, run, run_to_stdout


def start(job: Job) -> Generator[Event, None, None]:
    """Run a job on the devices that it names."""
    if len(job.devices) > 1 and not job.request.to_stdout:
        from .fleet import run_fleet

        return run_fleet(job)
    load = partial(load_engine, job, job.devices[0])
    return run_to_stdout(job, load) if job.request.to_stdout else run(job, load)
