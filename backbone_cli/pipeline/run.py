"""A run, from the first image to the last, as a stream of what happens."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial

from ..errors import ImageError, UsageError
from .batches import Ahead, Batch, Group, Result, groups
from .claims import Claims
from .decoding import Decoding, timed
from .events import Event, Finished, Started
from .folder import Index, Recorder
from .formats import Array
from .prepare import Job, nothing_found
from .sinks import Maps, Sink
from .sources import Item, part_of

Engine = Callable[[Array], Iterable[Maps | ImageError]]
"""Pixels to what comes of each image; a GPU may still be at it when this returns."""

DEPTH = 3
"""How many batches may wait to be written: their maps are in memory."""


def start(job: Job) -> Generator[Event, None, None]:
    """Do what the job says, on the devices that it names."""
    if len(job.devices) > 1 and not job.request.to_stdout:
        from .fleet import run_fleet

        return run_fleet(job)
    load = partial(load_engine, job, job.devices[0])
    return run_to_stdout(job, load) if job.request.to_stdout else run(job, load)


def load_engine(job: Job, device: str) -> Engine:
    from . import engine

    return engine.load_engine(job.found, job.processor, job.request, device, job.is_small)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: what was computed is still written."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def run(job: Job, load: Callable[[], Engine]) -> Generator[Event, None, None]:
    """Do what the job says. Whoever stops listening stops the run; what was finished is kept."""
    folder, index = job.folder(), job.index()
    sink = job.sink(folder.is_ours)
    if folder.is_ours:
        index.load()
    claims = Claims(job.ignore_case)
    job.check_space(index.done)
    yield Started(job.part)

    def begin() -> None:
        with folder.begin():
            index.begin()
        if folder.is_ours and not sink.ours:  # another run like this one has been here since we looked
            sink.ours = True
            index.load()

    with closing(index), closing(sink):
        if (yield from work(job, load, begin, claims, index, sink)):
            finish(job, index, sink, claims)


def finish(job: Job, index: Index, sink: Sink, claims: Claims) -> None:
    """Every input was seen: what appears only when it is whole appears now, files first."""
    if not claims.count:
        raise UsageError(nothing_found(job.request, job.sources))
    if not index.hold():  # nothing is to be done, or another run is writing here, which will do it
        return
    index.tidy(claims.positions)
    sink.finish(index.failed_rows())
    index.publish()


def work(
    job: Job, load: Callable[[], Engine], begin: Callable[[], None], claims: Claims, index: Recorder, sink: Sink
) -> Generator[Event, None, bool]:
    """Bring every image of this job's part to its end; False where the run stops at a failed one."""
    items = part_of(claims.pass_by(job.sources), job.lane)
    past = Past(index, sink)
    engine: Engine | None = None
    begun = stopped = False
    with Decoding(job.decoder(), job.workers) as decoding, Writer(sink, index) as writer:
        for group in Ahead(groups(items, past.is_done, job.group_size), decoding, job.groups_ahead):
            yield from skipped(group)
            if any(group.pending):
                if engine is None and all(group.pending):
                    engine = load()  # while its images are being decoded
                if not begun:
                    begin()
                    begun = True
                group.wait(decoding)
                failures = group.failures()
                for batch in group.batches(job.batch_size):
                    engine = engine or load()
                    writer.submit(failures, compute(engine, batch))
                    failures = []
                if failures:
                    writer.submit(failures)
            for event in writer.finished(at_most=DEPTH):
                yield event
                stopped = stopped or (event.status == "failed" and job.request.on_error == "stop")
            if stopped:
                break
        yield from writer.finished(at_most=0)
    return not stopped


def run_to_stdout(job: Job, load: Callable[[], Engine]) -> Generator[Event, None, None]:
    """One image's result, to standard output, and nothing to resume."""
    (item,) = Claims().pass_by(job.sources)
    yield Started(1)
    start = time.perf_counter()
    try:
        if item.error:
            raise ImageError(item.error)
        (maps,) = load()(timed(job.decoder(), item).array[None])
        if isinstance(maps, ImageError):
            raise maps
        outputs = job.sink(ours=False).write(item, maps)
    except ImageError as error:
        yield Finished(item.source, item.name, "failed", error=str(error))
    else:
        yield Finished(item.source, item.name, "done", outputs, seconds=time.perf_counter() - start)


class Past:
    """What earlier runs in the same folder have to say about an image."""

    def __init__(self, index: Recorder, sink: Sink) -> None:
        self.index, self.sink = index, sink

    def is_done(self, item: Item) -> bool:
        if item.error:
            return False
        if owner := self.index.owner(item):
            item.error = f"Its output would have the name '{item.name}', which '{owner}' has in this folder."
            return False
        outputs = self.index.outputs(item)
        item.listed = outputs is not None
        return outputs is not None and self.sink.holds(item, outputs)


def skipped(group: Group) -> Iterator[Event]:
    for item, pending in zip(group.items, group.pending, strict=True):
        if not pending:
            yield Finished(item.source, item.name, "skipped")


def compute(engine: Engine, batch: Batch) -> Callable[[], list[Result]]:
    """Have a batch computed; what this gives waits for what comes of its images that are to be done."""
    start = time.perf_counter()
    arriving = engine(batch.pixels)
    began = time.perf_counter() - start

    def arrived() -> list[Result]:
        start = time.perf_counter()
        maps = list(arriving)
        share = (began + time.perf_counter() - start) / len(batch.items)
        results = zip(batch.items, maps, batch.seconds, batch.pending, strict=True)
        return [(item, found, seconds + share) for item, found, seconds, pending in results if pending]

    return arrived


class Writer:
    """Writes behind the model's back, in a thread: first an image's files, then its line in the index."""

    def __init__(self, sink: Sink, index: Recorder) -> None:
        self.sink, self.index = sink, index
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self.jobs: deque[Future[list[Finished]]] = deque()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        """What was computed is still written."""
        self.thread.shutdown()

    def submit(self, failures: list[Result], arrived: Callable[[], list[Result]] = list) -> None:
        """Take what could not be read, and what a batch will come to. Waits where too many are not written yet."""
        if len(self.jobs) >= DEPTH:
            self.jobs[-DEPTH].exception()  # if it has one, it is raised for whoever asks what is finished
        self.jobs.append(self.thread.submit(self.record, failures, arrived))

    def record(self, failures: list[Result], arrived: Callable[[], list[Result]]) -> list[Finished]:
        results = sorted(failures + arrived(), key=lambda result: result[0].position)
        finished = [self.settle(*result) for result in results]
        self.index.record(zip((item for item, _, _ in results), finished, strict=True))
        return finished

    def settle(self, item: Item, maps: Maps | ImageError, seconds: float) -> Finished:
        start = time.perf_counter()
        try:
            if isinstance(maps, ImageError):
                raise maps
            outputs = self.sink.write(item, maps)
        except ImageError as error:
            return Finished(
                item.source, item.name, "failed", error=str(error), row=self.sink.row(item), seconds=seconds
            )
        size = {stage: array.nbytes for stage, array in maps.items()}
        seconds += time.perf_counter() - start
        return Finished(item.source, item.name, "done", outputs, seconds=seconds, bytes=size)

    def finished(self, at_most: int) -> Iterator[Finished]:
        """What is written by now; waits until at most so many batches are not."""
        while self.jobs and (len(self.jobs) > at_most or self.jobs[0].done()):
            yield from self.jobs.popleft().result()
