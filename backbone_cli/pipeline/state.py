"""The state of a run: its output folder, index, sink and names, and what earlier runs have done."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from ..output.folder import OutputFolder
from ..output.index import Index, IndexBase
from ..output.records import Item
from ..output.sinks import FileSink, Sink, StackSink, StdoutSink
from .batches import Task
from .names import OutputNames
from .prepare import Job, no_images_message


class ResumeState:
    """What earlier runs in the same folder have done."""

    def __init__(self, index: IndexBase, sink: Sink) -> None:
        self.index, self.sink = index, sink

    def task(self, item: Item) -> Task:
        """What is left to do for an input; an input whose name belongs to another one gets an error."""
        if item.error:
            return Task(item)
        if owner := self.index.owner(item):
            error = f"Its output would have the name '{item.name}', which '{owner}' has in this folder."
            return Task(replace(item, error=error))
        outputs = self.index.outputs(item)
        done = outputs is not None and self.sink.is_complete(item, outputs)
        return Task(item, pending=not done, listed=outputs is not None)


class RunState:
    """Everything about a run's output in one place, from looking at the folder to finishing it."""

    def __init__(self, job: Job, index: IndexBase, resuming: bool) -> None:
        self.job, self.index = job, index
        self.sink = make_sink(job, resuming)
        self.names = OutputNames(job.ignore_case)
        self.resume = ResumeState(index, self.sink)
        if resuming:
            index.load()

    def begin(self) -> None:
        """Called once, before anything is written."""

    def close(self) -> None:
        self.sink.close()


class MainRunState(RunState):
    """The state of the process that owns the output folder."""

    index: Index

    def __init__(self, job: Job) -> None:
        self.folder = OutputFolder(Path(job.request.output), job.settings, job.request.overwrite)
        index = Index(self.folder.path, job.request.shard, hidden=job.request.layout == "stacked")
        super().__init__(job, index, self.folder.resuming)

    def begin(self) -> None:
        """Make the folder and the index this run's own."""
        with self.folder.begin():
            self.index.begin()
        if self.folder.resuming and not self.sink.resuming:  # another run started with these settings in the meantime
            self.sink.resuming = True
            self.index.load()

    def finish(self) -> None:
        """Every input was seen: publish what only appears once it is complete, files first."""
        if not self.names.count:
            raise UsageError(no_images_message(self.job.request, self.job.sources))
        if not self.index.acquire():  # nothing was to be done, or another run is writing here and will finish it
            return
        self.index.tidy(self.names.positions)
        self.sink.finish(self.index.failed_rows())
        self.index.publish()

    def close(self) -> None:
        with closing(self.index):
            super().close()


def make_sink(job: Job, resuming: bool = False) -> Sink:
    """`resuming`: an earlier run with these settings was in the folder."""
    request = job.request
    if request.to_stdout:
        return StdoutSink(request.format, request.save_dtype)
    folder = Path(request.output)
    if request.layout == "stacked":
        return StackSink(folder, request.format, request.save_dtype, job.stages, job.total or 0, request.shard)
    return FileSink(folder, request.format, request.save_dtype, resuming, request.overwrite)
