"""The one place that prints: results to standard output, everything else to standard error."""

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


class OutputClosed(Exception):
    """The reader of standard output closed it."""


class StdoutFile(io.FileIO):
    """Standard output. If it can't be written, that is reported once, as an OutputError or OutputClosed."""

    lost = False

    def write(self, data: Any) -> int:
        if self.lost:  # flushing buffered data must not raise again
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.lost = True
            if isinstance(error, BrokenPipeError):
                raise OutputClosed from error
            raise OutputError(f"Standard output can't be written ({error.strerror}).") from error


class StderrFile(io.FileIO):
    """Standard error. If it can't be written, the work continues."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def open_streams() -> None:
    """Replace the standard streams by the ones above, with escapes for characters they can't encode."""
    sys.stdout = wrap_stream(sys.stdout, StdoutFile)
    sys.stderr = wrap_stream(sys.stderr, StderrFile)


def wrap_stream(stream: TextIO | None, kind: type[io.FileIO]) -> TextIO:
    if stream is None:  # closed by the parent process
        return Path(os.devnull).open("w")
    raw = kind(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.isatty() or kind is StderrFile,
    )


@dataclass
class Console:
    quiet: bool = False
    verbose: bool = False

    def data(self, text: str) -> None:
        """A result, on standard output."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def info(self, text: str) -> None:
        """A message; --quiet hides it."""
        if not self.quiet:
            self._write(text)

    def detail(self, text: str) -> None:
        """A detail about what was resolved, loaded or chosen; --verbose shows it."""
        if self.verbose:
            self._write(text)

    def error(self, text: str) -> None:
        """An error; it is always shown."""
        self._write(f"Error: {text}")

    def failed(self, source: str, error: str) -> None:
        """An error about one input, which is named only once."""
        self.error(error if source in error else f"{source}: {error}")

    def _write(self, text: str) -> None:
        # so that the order is right if both streams go to the same place
        sys.stdout.flush()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def attach_logging(self) -> None:
        """Show the library's log messages: warnings, and with --verbose also details."""
        logger = logging.getLogger("backbone_cli")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.handlers = [ConsoleHandler()]


class ConsoleHandler(logging.Handler):
    """Passes the library's log messages on to the console."""

    def emit(self, record: logging.LogRecord) -> None:
        write = console.info if record.levelno >= logging.WARNING else console.detail
        write(record.getMessage())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Aligned columns: numbers to the right, text to the left."""
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
