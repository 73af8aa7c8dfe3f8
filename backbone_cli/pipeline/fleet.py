"""Several devices at once: one process per device runs the same pipeline, and the main process keeps the index.

Each process walks all inputs and does its share of them, as a shard would. It decodes, computes and writes files; the
main process writes the lines of the index, once it is told that the files are in place.
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
from pathlib import Path
from typing import IO, Any

from ..errors import BackboneError
from ..output.index import Index, IndexBase
from ..output.records import Finished
from .decoding import claim_stdout, send, start_interpreter
from .events import Event, Started
from .prepare import Job
from .run import interruptible, load_engine, work
from .state import MainRunState, RunState

END = "end"
"""The last message of a process that has done all its images."""


def run_fleet(job: Job) -> Generator[Event, None, None]:
    """`run`, on all of the job's devices."""
    with closing(MainRunState(job)) as state:
        job.check_space(state.index.num_done)
        yield Started(job.shard_total)
        state.begin()
        fleet = Fleet(job)
        try:
            fleet.start(state.folder.resuming)
            for results in fleet.results():
                record(state.index, results)
                for result in results:
                    yield result
                    if result.status == "failed" and job.request.on_error == "stop":
                        return
        finally:
            for results in list(fleet.stop()):  # a list: all processes have ended before anything is written
                record(state.index, results)
        for _ in state.names.assign(job.sources):
            pass
        state.finish()


def record(index: Index, results: list[Finished]) -> None:
    index.record(result for result in results if result.status != "skipped")


class Fleet:
    """The processes and their messages."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.messages: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, resuming: bool) -> None:
        """Start a process per device. `resuming`: an earlier run with these settings was in the folder."""
        self.job.sources.buffer_stdin()
        index, step = self.job.request.shard or (1, 1)
        count = len(self.job.devices)
        for number, device in enumerate(self.job.devices):
            process = self.processes[device] = start_interpreter(f"from {__name__} import serve; serve()")
            shard = (index + step * number, step * count)
            assert process.stdin and process.stdout
            threading.Thread(target=self.listen, args=(device, process.stdout), daemon=True).start()
            with suppress(BrokenPipeError), process.stdin:  # if it died, `listen` notices
                send(process.stdin, (replace(self.job, assigned_shard=shard), resuming, device))

    def listen(self, device: str, stream: IO[bytes]) -> None:
        with stream, suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self.messages.put((device, pickle.load(stream)))
        self.messages.put((device, None))

    def results(self) -> Iterator[list[Finished]]:
        """What the processes have finished, until all of them have ended."""
        died, ended = [], set()
        while self.processes:
            device, message = self.messages.get()
            if isinstance(message, BackboneError):
                raise message
            if isinstance(message, list):
                yield message
            elif message == END:
                ended.add(device)
            elif self.processes.pop(device).wait() or device not in ended:
                died.append(device)
        if died:
            raise BackboneError(
                f"The process on {', '.join(died)} died. Run the same command again; the run will resume."
            )

    def stop(self) -> Iterator[list[Finished]]:
        """End the processes, and yield what they finished before they ended."""
        for process in self.processes.values():
            process.terminate()
        while self.processes:
            device, message = self.messages.get()
            if isinstance(message, list):
                yield message
            elif message is None:
                self.processes.pop(device).wait()


class RemoteIndex(IndexBase):
    """The index in a device's process: it reads what earlier runs did, and sends what this one does."""

    def __init__(self, job: Job, stream: IO[bytes]) -> None:
        super().__init__(Path(job.request.output), job.request.shard, hidden=job.request.layout == "stacked")
        self.stream = stream
        self.lock = threading.Lock()

    def send(self, message: list[Finished] | BackboneError | str) -> None:
        with self.lock:
            send(self.stream, message)

    def record(self, finished: Iterable[Finished]) -> None:
        self.send(list(finished))


def serve() -> None:
    """The main function of a device's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process ends this one
    stream = claim_stdout()
    job, resuming, device = pickle.load(sys.stdin.buffer)
    index = RemoteIndex(job, stream)
    with suppress(BrokenPipeError, KeyboardInterrupt), interruptible():
        try:
            with closing(RunState(job, index, resuming)) as state:
                for event in work(state, partial(load_engine, job, device)):
                    if isinstance(event, Finished) and event.status == "skipped":
                        index.send([event])
            index.send(END)
        except BackboneError as error:
            index.send(error)
