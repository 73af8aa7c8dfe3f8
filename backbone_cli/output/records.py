"""The inputs of a run and what became of each: what runs and output folders tell each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Outputs = dict[str, dict[str, Any]]
"""Stage -> where its map is: `file`, `shape` and, in a stack, `row`."""


@dataclass(frozen=True)
class Item:
    """One input: where to read it, and what its output is called."""

    source: str
    """Its name in the index."""
    name: str
    """Its output's path inside the output folder, without a suffix."""
    path: str
    span: tuple[int, int] | None = None
    """Offset and size in `path`, for a tar member."""
    error: str | None = None
    """Why it can't be used, if that is known without opening it."""
    position: int = -1
    """Its place among all inputs of the run, once assigned."""


@dataclass(frozen=True)
class Finished:
    """One input is done, failed, or was skipped."""

    source: str
    name: str
    status: Literal["done", "failed", "skipped"]
    """`skipped`: an earlier run had done it."""
    outputs: Outputs = field(default_factory=dict)
    error: str | None = None
    row: int | None = None
    """The row of a failed image in a stack, which is filled with NaN."""
    seconds: float = 0.0
    bytes: dict[str, int] = field(default_factory=dict)
    """Bytes written, by stage."""
    position: int = -1
    """The input's place among all inputs of the run."""

    def record(self) -> dict[str, Any]:
        """Its line in the index: nothing that differs between two runs over the same inputs."""
        line = {"source": self.source, "name": self.name, "status": self.status}
        row = {} if self.row is None else {"row": self.row}
        return line | {"outputs": self.outputs, "error": self.error} | row

    def report(self) -> dict[str, Any]:
        """Its object in the `--json` output."""
        report = {"source": self.source, "status": self.status, "outputs": self.outputs}
        return report | {"error": self.error, "seconds": round(self.seconds, 4)}
