"""Progress of a run: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from ..pipeline.events import Event, Started
from ..units import format_bytes, format_duration
from .console import console

if TYPE_CHECKING:
    import rich.progress

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Observes every event of a run."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.counts: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.started = self.last_line = time.monotonic()
        self.bar: rich.progress.Progress | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self.bar:
            self.bar.stop()
        if kind is KeyboardInterrupt:
            console.info(f"Interrupted after {self.so_far()}. Run the same command again to resume.")

    @property
    def failed(self) -> int:
        return self.counts["failed"]

    def update(self, event: Event) -> None:
        if isinstance(event, Started):
            self.total = event.total
            self.started = self.last_line = time.monotonic()
            if sys.stderr.isatty() and not console.quiet and event.total != 1:
                self.bar = make_bar(event.total)
            return
        self.counts[event.status] += 1
        self.bytes.update(event.bytes)
        if event.error:
            console.failed(event.source, event.error)
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=sum(self.counts.values()), status=self.status())
        elif self.total != 1 and time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            console.info(f"{self.so_far()}{self.time_left()}")

    def status(self) -> str:
        """Counts, rate and bytes, beside the bar."""
        parts = [f"{self.counts[status]:,} {status}" for status in ("failed", "skipped") if self.counts[status]]
        return ", ".join([*parts, f"{self.rate():.1f} images/s", format_bytes(sum(self.bytes.values()))])

    def so_far(self) -> str:
        of = f" of {self.total:,}" if self.total is not None else ""
        return f"{sum(self.counts.values()):,}{of} images: {self.counts['done']:,} done, {self.status()}"

    def rate(self) -> float:
        """Images per second, not counting skipped ones."""
        return (self.counts["done"] + self.failed) / max(1e-3, time.monotonic() - self.started)

    def time_left(self) -> str:
        if self.total is None or not self.counts["done"]:
            return ""
        return f", {format_duration((self.total - sum(self.counts.values())) / self.rate())} left"

    def summarize(self, output: str) -> None:
        counts = ", ".join(f"{self.counts[s]:,} {s}" for s in ("done", "failed", "skipped") if self.counts[s])
        sizes = ", ".join(f"{stage} {format_bytes(size)}" for stage, size in self.bytes.items())
        took = format_duration(time.monotonic() - self.started)
        if output != "-":
            console.info(f"{counts or 'No images'} in {took}: {output}" + (f" ({sizes})" if sizes else ""))


def make_bar(total: int | None) -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task("", total=total, status="")
    bar.start()
    return bar
