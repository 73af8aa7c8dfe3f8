"""A run, from the first image to the last, as a stream of events."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

from ..errors import ImageError
from ..output.index import IndexBase
from ..output.records import Finished
from ..output.sinks import Maps, Sink
from .batches import Group, Prefetcher, Result, Task, make_groups
from .compute import ComputeMaps, compute_batch, compute_one
from .decoding import DecoderPool
from .events import Event, Started
from .names import OutputNames
from .prepare import Job
from .sources import select_shard
from .state import MainRunState, RunState, make_sink

MAX_UNWRITTEN = 3
"""How many batches may wait to be written, with their maps in memory."""


def load_engine(job: Job, device: str) -> ComputeMaps:
    from .engine import load_engine as load  # imports torch

    return load(job.resolved, job.processor, job.request, device, job.few_images)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does: what was computed is still written."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def run(job: Job, load: Callable[[], ComputeMaps]) -> Generator[Event, None, None]:
    """Run a job. Closing the generator stops the run; what was finished is kept."""
    with closing(MainRunState(job)) as state:
        job.check_space(state.index.num_done)
        yield Started(job.shard_total)
        if (yield from work(state, load)):
            state.finish()


def work(state: RunState, load: Callable[[], ComputeMaps]) -> Generator[Event, None, bool]:
    """Process every image of this process's shard; False if the run stopped at a failed one."""
    job = state.job
    items = select_shard(state.names.assign(job.sources), job.assigned_shard)
    compute: ComputeMaps | None = None
    begun = stopped = False
    with DecoderPool(job.decoder(), job.workers) as decoders, Writer(state.sink, state.index) as writer:
        groups = make_groups(items, state.resume.task, job.group_size)
        for group in Prefetcher(groups, decoders, job.groups_ahead):
            yield from skipped(group)
            if group.any_pending:
                if compute is None and group.all_pending:
                    compute = load()  # while its images are being decoded
                if not begun:
                    state.begin()
                    begun = True
                group.wait(decoders)
                failures = group.failures()
                for batch in group.batches(job.batch_size):
                    compute = compute or load()
                    writer.submit(failures, compute_batch(compute, batch))
                    failures = []
                if failures:
                    writer.submit(failures)
            for event in writer.finished(at_most=MAX_UNWRITTEN):
                yield event
                stopped = stopped or (event.status == "failed" and job.request.on_error == "stop")
            if stopped:
                break
        yield from writer.finished(at_most=0)
    return not stopped


def run_to_stdout(job: Job, load: Callable[[], ComputeMaps]) -> Generator[Event, None, None]:
    """Write one image's result to standard output; there is nothing to resume."""
    (item,) = OutputNames().assign(job.sources)
    yield Started(1)
    start = time.perf_counter()
    try:
        _, maps = compute_one(job.decoder(), lambda pixels: load()(pixels), item)  # loads only what can be used
        outputs = make_sink(job).write(item, maps)
    except ImageError as error:
        yield Finished(item.source, item.name, "failed", error=str(error))
    else:
        yield Finished(item.source, item.name, "done", outputs, seconds=time.perf_counter() - start)


def skipped(group: Group) -> Iterator[Event]:
    for task in group.tasks:
        if not task.pending:
            yield Finished(task.item.source, task.item.name, "skipped", position=task.item.position)


class Writer:
    """Writes results in a background thread: first an image's files, then its line in the index."""

    def __init__(self, sink: Sink, index: IndexBase) -> None:
        self.sink, self.index = sink, index
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self.futures: deque[Future[list[Finished]]] = deque()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        """Write everything that was computed."""
        self.thread.shutdown()

    def submit(self, failures: list[Result], wait: Callable[[], list[Result]] = list) -> None:
        """Queue failures and a batch whose results `wait` returns. Blocks while too many are unwritten."""
        if len(self.futures) >= MAX_UNWRITTEN:
            self.futures[-MAX_UNWRITTEN].exception()  # waits; an exception is raised by `finished`
        self.futures.append(self.thread.submit(self.write, failures, wait))

    def write(self, failures: list[Result], wait: Callable[[], list[Result]]) -> list[Finished]:
        results = sorted(failures + wait(), key=lambda result: result[0].item.position)
        finished = [self.write_image(*result) for result in results]
        self.index.record(finished)
        return finished

    def write_image(self, task: Task, maps: Maps | ImageError, seconds: float) -> Finished:
        item, start = task.item, time.perf_counter()
        try:
            if isinstance(maps, ImageError):
                raise maps
            outputs = self.sink.write(item, maps, task.listed)
        except ImageError as error:
            row = self.sink.row(item)
            return Finished(
                item.source, item.name, "failed", error=str(error), row=row, seconds=seconds, position=item.position
            )
        size = {stage: array.nbytes for stage, array in maps.items()}
        seconds += time.perf_counter() - start
        return Finished(item.source, item.name, "done", outputs, seconds=seconds, bytes=size, position=item.position)

    def finished(self, at_most: int) -> Iterator[Finished]:
        """What is written by now; waits until at most this many batches are unwritten."""
        while self.futures and (len(self.futures) > at_most or self.futures[0].done()):
            yield from self.futures.popleft().result()
