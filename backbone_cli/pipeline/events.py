"""What happens in a run, as one stream: progress, `--json` and the summary all read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Outputs = dict[str, dict[str, Any]]
"""Stage -> where its map is: `file`, `shape` and, in a stack, `row`."""


@dataclass(frozen=True)
class Started:
    """The run is ready to compute."""

    total: int | None
    """How many inputs there are, where that can be told before reading them all."""


@dataclass(frozen=True)
class Finished:
    """One input has come to its end."""

    source: str
    name: str
    status: Literal["done", "failed", "skipped"]
    """`skipped`: an earlier run had done it."""
    outputs: Outputs = field(default_factory=dict)
    error: str | None = None
    row: int | None = None
    """Its row, where it failed and all images share a file: the row is NaN."""
    seconds: float = 0.0
    bytes: dict[str, int] = field(default_factory=dict)
    """What was written, by stage."""

    def record(self) -> dict[str, Any]:
        """Its line in the index: nothing that differs between two runs over the same inputs."""
        about = {"source": self.source, "name": self.name, "status": self.status}
        row = {} if self.row is None else {"row": self.row}
        return about | {"outputs": self.outputs, "error": self.error} | row

    def report(self) -> dict[str, Any]:
        """What `--json` says of it."""
        about = {"source": self.source, "status": self.status, "outputs": self.outputs}
        return about | {"error": self.error, "seconds": round(self.seconds, 4)}


Event = Started | Finished
