"""Several devices at once: a process for each, over the same pipeline, and one that keeps the index.

Each process walks all inputs and does its part of them, as a shard would. It decodes, computes and writes files; the
line in the index is written here, when it has said that the files are in their places.
"""

from __future__ import annotations

import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import IO, Any

from ..errors import BackboneError
from .claims import Claims
from .decoding import child_process, take_stdout, tell
from .events import Event, Finished, Started
from .folder import Index, Recorder
from .prepare import Job
from .run import finish, interruptible, load_engine, work
from .sources import Item

Records = list[tuple[Item | None, Finished]]
"""Images that have come to an end; the item is told where a line in the index is due."""


def run_fleet(job: Job) -> Generator[Event, None, None]:
    """`run`, on all of the job's devices."""
    folder, index = job.folder(), job.index()
    if folder.is_ours:
        index.load()
    job.check_space(index.done)
    yield Started(job.part)
    with closing(index):
        with folder.begin():
            index.begin()
        fleet = Fleet(job)
        try:
            fleet.start(folder.is_ours)
            for records in fleet.records():
                keep(index, records)
                for _, result in records:
                    yield result
                    if result.status == "failed" and job.request.on_error == "stop":
                        return
        finally:
            for records in list(fleet.stop()):  # all are ended, whatever becomes of what they say
                keep(index, records)
        claims = Claims(job.ignore_case)
        for _ in claims.pass_by(job.sources):
            pass
        with closing(job.sink(ours=True)) as sink:
            finish(job, index, sink, claims)


def keep(index: Index, records: Records) -> None:
    index.record((item, result) for item, result in records if item)


class Fleet:
    """The processes, and what they say."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.heard: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, ours: bool) -> None:
        """`ours`: an earlier run like this one was in the folder."""
        self.job.sources.keep_list()
        index, step = self.job.request.shard or (1, 1)
        count = len(self.job.devices)
        for number, device in enumerate(self.job.devices):
            process = self.processes[device] = child_process(f"from {__name__} import serve; serve()")
            lane = (index + step * number, step * count)
            assert process.stdin and process.stdout
            threading.Thread(target=self.listen, args=(device, process.stdout), daemon=True).start()
            with suppress(BrokenPipeError), process.stdin:  # of one that died, its listener hears
                tell(process.stdin, (replace(self.job, lane=lane), ours, device))

    def listen(self, device: str, stream: IO[bytes]) -> None:
        with stream, suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self.heard.put((device, pickle.load(stream)))
        self.heard.put((device, None))

    def records(self) -> Iterator[Records]:
        """What the processes have finished, until all have come to their end."""
        lost, ended = [], set()
        while self.processes:
            device, said = self.heard.get()
            if isinstance(said, BackboneError):
                raise said
            if isinstance(said, list):
                yield said
            elif said == END:
                ended.add(device)
            elif self.processes.pop(device).wait() or device not in ended:
                lost.append(device)
        if lost:
            raise BackboneError(f"The process on {', '.join(lost)} died. Run the same command again: it goes on.")

    def stop(self) -> Iterator[Records]:
        """End the processes, and hear what they still had to say."""
        for process in self.processes.values():
            process.terminate()
        while self.processes:
            device, said = self.heard.get()
            if isinstance(said, list):
                yield said
            elif said is None:
                self.processes.pop(device).wait()


END = "end"


class Remote(Recorder):
    """The index as the process of one device sees it: it reads what was, and says what it has done."""

    def __init__(self, job: Job, stream: IO[bytes]) -> None:
        index = job.index()
        super().__init__(index.folder, job.request.shard, index.working != index.path)
        self.stream = stream
        self.lock = threading.Lock()

    def say(self, what: Records | BackboneError | str) -> None:
        with self.lock:
            tell(self.stream, what)

    def record(self, finished: Iterable[tuple[Item, Finished]]) -> None:
        self.say(list(finished))


def serve() -> None:
    """The life of a device's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; our parent decides, and ends us
    stream = take_stdout()
    job, ours, device = pickle.load(sys.stdin.buffer)
    remote = Remote(job, stream)
    with suppress(BrokenPipeError, KeyboardInterrupt), interruptible():
        try:
            if ours:
                remote.load()
            sink = job.sink(ours)
            with closing(sink):
                load = partial(load_engine, job, device)
                for event in work(job, load, lambda: None, Claims(job.ignore_case), remote, sink):
                    if isinstance(event, Finished) and event.status == "skipped":
                        remote.say([(None, event)])
            remote.say(END)
        except BackboneError as error:
            remote.say(error)
