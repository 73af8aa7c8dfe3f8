"""The one place that speaks to people: data to standard output, everything else to standard error."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ..errors import OutputError


class ReaderGone(Exception):
    """Whoever read standard output has seen enough."""


class Out(io.FileIO):
    """Standard output. That it can't be written is told once, as an error of ours, whoever was writing to it."""

    lost = False

    def write(self, data: Any) -> int:
        if self.lost:  # what is still buffered must not raise again
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.lost = True
            if isinstance(error, BrokenPipeError):
                raise ReaderGone from error
            raise OutputError(f"Standard output can't be written ({error.strerror}).") from error


class Err(io.FileIO):
    """Standard error. Where it can't be written there is nobody to tell, and the work goes on."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def open_streams() -> None:
    """Have the standard streams written as told above, with escapes for what they can't encode."""
    sys.stdout = rewired(sys.stdout, Out)
    sys.stderr = rewired(sys.stderr, Err)


def rewired(stream: TextIO | None, kind: type[io.FileIO]) -> TextIO:
    if stream is None:  # our parent closed it
        return Path(os.devnull).open("w")
    raw = kind(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, "backslashreplace", line_buffering=stream.isatty() or kind is Err
    )


@dataclass
class Console:
    quiet: bool = False
    verbose: bool = False

    def data(self, text: str) -> None:
        """A result, on standard output."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Something good to know; --quiet hides it."""
        if not self.quiet:
            self._tell(text)

    def detail(self, text: str) -> None:
        """What was resolved, loaded and chosen; --verbose shows it."""
        if self.verbose:
            self._tell(text)

    def error(self, text: str) -> None:
        """What went wrong; nothing hides it."""
        self._tell(f"Error: {text}")

    def failed(self, source: str, error: str) -> None:
        """What went wrong with one input, which is named once."""
        self.error(error if source in error else f"{source}: {error}")

    def _tell(self, text: str) -> None:
        # What is written already comes out first, where both streams go to one place.
        sys.stdout.flush()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def listen(self) -> None:
        """Show what the library says through `logging`: warnings, and details with --verbose."""
        logger = logging.getLogger("backbone_cli")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.handlers = [Relay()]


class Relay(logging.Handler):
    """From the library's logger to the console."""

    def emit(self, record: logging.LogRecord) -> None:
        tell = console.say if record.levelno >= logging.WARNING else console.detail
        tell(record.getMessage())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns that line up: numbers to the right, words to the left."""
    cells = [list(map(str, header)), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [len(cells) > 1 and all(is_number(row[i]) for row in cells[1:]) for i in range(len(header))]
    lines = (
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").lstrip("-").isdigit()


console = Console()
