"""What a run tells while it goes on: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from ..pipeline.events import Event, Started
from ..pipeline.units import duration, human
from .console import console

if TYPE_CHECKING:
    import rich.progress

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Sees every event of a run."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.counts: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.started = self.told = time.monotonic()
        self.bar: rich.progress.Progress | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self.bar:
            self.bar.stop()
        if kind is KeyboardInterrupt:
            console.say(f"Interrupted after {self.so_far()}. Run the same command again: it goes on.")

    @property
    def failed(self) -> int:
        return self.counts["failed"]

    def see(self, event: Event) -> None:
        if isinstance(event, Started):
            self.total = event.total
            self.started = self.told = time.monotonic()
            if sys.stderr.isatty() and not console.quiet and event.total != 1:
                self.bar = make_bar(event.total)
            return
        self.counts[event.status] += 1
        self.bytes.update(event.bytes)
        if event.error:
            console.failed(event.source, event.error)
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=sum(self.counts.values()), about=self.about())
        elif self.total != 1 and time.monotonic() - self.told > SECONDS_BETWEEN_LINES:
            self.told = time.monotonic()
            console.say(f"{self.so_far()}{self.time_left()}")

    def about(self) -> str:
        """What a bar can't show."""
        parts = [f"{self.counts[status]:,} {status}" for status in ("failed", "skipped") if self.counts[status]]
        return ", ".join([*parts, f"{self.rate():.1f} images/s", human(sum(self.bytes.values()))])

    def so_far(self) -> str:
        of = f" of {self.total:,}" if self.total is not None else ""
        return f"{sum(self.counts.values()):,}{of} images: {self.counts['done']:,} done, {self.about()}"

    def rate(self) -> float:
        """Images a second, of those that had to be done."""
        return (self.counts["done"] + self.failed) / max(1e-3, time.monotonic() - self.started)

    def time_left(self) -> str:
        if self.total is None or not self.counts["done"]:
            return ""
        return f", {duration((self.total - sum(self.counts.values())) / self.rate())} left"

    def sum_up(self, output: str) -> None:
        counts = ", ".join(f"{self.counts[s]:,} {s}" for s in ("done", "failed", "skipped") if self.counts[s])
        sizes = ", ".join(f"{stage} {human(size)}" for stage, size in self.bytes.items())
        took = duration(time.monotonic() - self.started)
        if output != "-":
            console.say(f"{counts or 'No images'} in {took}: {output}" + (f" ({sizes})" if sizes else ""))


def make_bar(total: int | None) -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[about]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task("", total=total, about="")
    bar.start()
    return bar
