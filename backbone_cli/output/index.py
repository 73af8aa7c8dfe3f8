"""The index, `index.jsonl`: one line for each image, by which runs resume. Each shard has an index of its own."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..disk_table import DiskTable
from ..errors import OutputRefused
from .formats import temporary_path, translate_os_errors, write_atomically
from .records import Finished, Item, Outputs

# Lines of inputs that the run did not see sort before all others, in their old order.
BEFORE_ALL_INPUTS = -(1 << 62)


def index_name(shard: tuple[int, int] | None) -> str:
    return f"index.{shard[0]}-of-{shard[1]}.jsonl" if shard else "index.jsonl"


def index_files(folder: Path) -> list[Path]:
    """The index of an unsharded run, then those of shards in order."""
    matches = [(re.fullmatch(r"index(?:\.(\d+)-of-(\d+))?\.jsonl", path.name), path) for path in folder.glob("index*")]
    order = {path: tuple(int(part or 0) for part in reversed(match.groups())) for match, path in matches if match}
    return sorted(order, key=lambda path: order[path])


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of an index file; torn ones are skipped."""
    return (line for _, _, line in scan(path) if line)


def scan(path: Path) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
    """The offset, length and content of each line; the content is None if the line is torn."""
    offset = 0
    with path.open("rb") as file:
        for raw in file:
            yield offset, len(raw), parse(raw)
            offset += len(raw)


def parse(raw: bytes) -> dict[str, Any] | None:
    """The content of a line; None if it is torn or not one that a run writes."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    valid = isinstance(line, dict) and isinstance(line.get("outputs"), dict) and is_path(line.get("source"))
    valid = valid and all(isinstance(out, dict) and is_path(out.get("file")) for out in line["outputs"].values())
    return line if valid and raw.endswith(b"\n") else None


def is_path(text: Any) -> bool:
    """Whether a string could be a path from the file system."""
    with suppress(UnicodeEncodeError):
        return isinstance(text, str) and b"\0" not in os.fsencode(text)
    return False


def try_lock(descriptor: int, wait: bool) -> bool:
    """Take a file lock and say whether that worked; it always does on network file systems without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def folder_in_use(folder: Path) -> OutputRefused:
    return OutputRefused(f"Another run is writing to '{folder}' now; wait for it, or use --shard.")


class IndexBase:
    """What earlier runs have done, and a place to record what this one does."""

    def __init__(self, folder: Path, shard: tuple[int, int] | None, hidden: bool) -> None:
        """`hidden`: the index gets its final name when the run is finished, like the files of stacks."""
        self.folder = folder
        self.path = folder / index_name(shard)
        self.working = temporary_path(self.path) if hidden else self.path
        self.earlier = DiskTable("source", "name", "outputs")

    def load(self) -> None:
        """Read what earlier runs and other shards recorded."""
        others = (path for path in index_files(self.folder) if path != self.working)
        for path in (*others, self.working):  # this run's own index wins over others
            with translate_os_errors(path), suppress(FileNotFoundError):  # another shard may be renaming its own
                for line in read_lines(path):
                    if line.get("status") == "done":
                        self.earlier.put(line["source"], str(line.get("name")), json.dumps(line["outputs"]))

    @property
    def num_done(self) -> int:
        return len(self.earlier)

    def outputs(self, item: Item) -> Outputs | None:
        """Where an earlier run put this image's maps; None if none did."""
        row = self.earlier.get("source", item.source)
        if row is None or row[1] != item.name:
            return None
        outputs: Outputs = json.loads(row[2])
        return outputs

    def owner(self, item: Item) -> str | None:
        """The other input to which an earlier run gave this image's output name, if there is one."""
        row = self.earlier.get("name", item.name, "source != ?", item.source)
        return row[0] if row else None

    def record(self, finished: Iterable[Finished]) -> None:
        raise NotImplementedError


class Index(IndexBase):
    """The index on disk, written as images finish: a line is appended once all its files are in place.

    An image that was done again has two lines; the last one counts. `tidy` leaves one line per source, in the order of
    the inputs.
    """

    descriptor: int | None = None
    size: int = 0
    latest: int = -1
    in_order: bool = False
    """Whether all lines are from this run and in the order of the inputs."""

    def begin(self) -> None:
        """Open the index for writing. The finished index of a stack is hidden again, since its rows will change."""
        with translate_os_errors(self.working):
            if self.working != self.path and self.path.exists():
                self.path.replace(self.working)
            if not self.acquire(os.O_CREAT):
                raise folder_in_use(self.folder)
            assert self.descriptor is not None
            self.size = length_of_whole_lines(self.descriptor)
            os.ftruncate(self.descriptor, self.size)
            self.in_order = self.size == 0

    def acquire(self, create: int = 0) -> bool:
        """Open and lock the index; False if it doesn't exist or another run holds it."""
        while self.descriptor is None:
            try:
                descriptor = os.open(self.working, os.O_RDWR | os.O_APPEND | create, 0o666)
            except OSError:
                if create:
                    raise
                return False
            if not try_lock(descriptor, wait=False):
                os.close(descriptor)
                return False
            with suppress(FileNotFoundError):
                # The previous holder may have replaced the file with a tidy one.
                if os.path.samestat(os.fstat(descriptor), self.working.stat()):
                    self.descriptor = descriptor
                    return True
            os.close(descriptor)
        return True

    def record(self, finished: Iterable[Finished]) -> None:
        """Append a line for each image; on a full disk, none of them."""
        assert self.descriptor is not None
        data = b""
        for result in finished:
            data += json.dumps(result.record()).encode() + b"\n"
            self.in_order = self.in_order and result.position > self.latest
            self.latest = result.position
        with translate_os_errors(self.working):
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self.descriptor, rest) :]
            except OSError:
                os.ftruncate(self.descriptor, self.size)
                raise
        self.size += len(data)

    def failed_rows(self) -> Iterator[int]:
        """The rows of failed images in a stack. Call `tidy` first."""
        if self.working.exists():
            yield from (line["row"] for line in read_lines(self.working) if "row" in line)

    def publish(self) -> None:
        """Flush the index to disk and give it its final name, once the run has seen every input."""
        with translate_os_errors(self.path):
            if self.descriptor is not None:
                os.fsync(self.descriptor)
            if self.working != self.path and self.working.exists():
                self.working.replace(self.path)

    def tidy(self, positions: DiskTable) -> None:
        """Rewrite the index with one line per source, the last one, in the order of the inputs.

        `positions` maps sources to their position in this run. Lines of sources that this run did not see come first,
        in their old order; in a stack they are dropped, since there are no rows for them. An index that is tidy already
        is left alone.
        """
        if self.in_order or not self.working.exists():
            return
        lines = DiskTable("source", "order", "offset", "size")
        is_tidy, latest, count = True, BEFORE_ALL_INPUTS, 0
        for number, (offset, size, line) in enumerate(scan(self.working)):
            row = positions.get("source", line["source"]) if line else None
            if line is None or (row is None and self.working != self.path):
                is_tidy = False
                continue
            order = row[1] if row else BEFORE_ALL_INPUTS + number
            is_tidy = is_tidy and (row is None or order > latest)
            latest = max(latest, order)
            count += 1
            lines.put(line["source"], order, offset, size)
        if is_tidy and len(lines) == count:
            return
        with translate_os_errors(self.path), self.working.open("rb") as file:

            def copy(out: IO[bytes]) -> None:
                for _, _, offset, size in lines.sorted("order"):
                    file.seek(offset)
                    out.write(file.read(size))
                out.flush()
                os.fsync(out.fileno())

            write_atomically(self.working, copy)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def length_of_whole_lines(descriptor: int) -> int:
    """The length of a file up to the end of its last whole line."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - (1 << 16))
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
