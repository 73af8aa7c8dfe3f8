"""The output folder, which describes itself: `backbone.json` says what the run was, `index.jsonl` what became of each
image. Whoever reads the folder reads the index files of all its shards.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ..errors import OutputRefused
from .events import Finished, Outputs
from .formats import part_path, write_whole
from .ledger import Ledger
from .sinks import blame
from .sources import Item

SETTINGS = "backbone.json"
# Told in backbone.json, and free to differ from run to run.
TOLD_ONLY = ("versions", "model")


class Folder:
    """Settings first: nothing is read or written in a folder that holds features made with other ones."""

    def __init__(self, path: Path, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        self.path, self.settings, self.overwrite = path, settings, overwrite
        self.is_ours = self.agrees()

    def agrees(self) -> bool:
        """Whether an earlier run with the same settings was here. Raises OutputRefused where one with others was."""
        if not (self.path / SETTINGS).exists() and not index_files(self.path):
            return False
        differences = compare(read_settings(self.path), self.settings)
        if differences and not self.overwrite:
            raise OutputRefused(
                f"'{self.path}' holds features made with other settings: {'; '.join(differences)}."
                " Choose another folder with -o, or replace them with --overwrite."
            )
        return not differences

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Make the folder this run's own. Of shards that begin at once, the first one does it for all.

        What is done inside is done before any other run begins.
        """
        with blame(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path):
                self.is_ours = self.agrees()  # another run may have been faster
                if not self.is_ours:
                    if self.overwrite:
                        wipe(self.path)
                    text = json.dumps(self.settings, indent=2) + "\n"
                    write_whole(self.path / SETTINGS, lambda file: file.write(text.encode()))
                yield


def compare(there: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    if there is None:
        return [f"its {SETTINGS} is missing or can't be read"]
    differences = []
    for key in {**there, **now}:
        old, new = there.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and key not in TOLD_ONLY:
            differences += [f"{key}: {inner}" for inner in compare(old, new)]
        elif key not in TOLD_ONLY and old != new:
            differences.append(f"{key} is {show(old)} there and {show(new)} now")
    return differences


def show(value: Any) -> str:
    """A setting in a sentence; of the stages, their names are enough."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" in value[0]:
        return ", ".join(str(about["name"]) for about in value)
    return value if isinstance(value, str) else json.dumps(value)


def read_settings(folder: Path) -> dict[str, Any] | None:
    try:
        said = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for whoever else holds this folder, where the file system can tell."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try_lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, wait: bool) -> bool:
    """Whether nobody else holds the lock; some network file systems have no locks, and then nobody does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def wipe(folder: Path) -> None:
    """Remove what an earlier run left: its index first, so that no line speaks of a file that is gone."""
    refuse_if_in_use(folder)
    for path in index_files(folder):
        path.replace(path.with_name(f".{path.name}.old"))
    for old in folder.glob(".*.jsonl.old"):
        for line in read_lines(old):
            for about in line["outputs"].values():
                path = folder / str(about.get("file"))
                if path.resolve().is_relative_to(folder.resolve()):
                    path.unlink(missing_ok=True)
        old.unlink()
    for part in folder.glob(".*.part"):
        part.unlink()


def refuse_if_in_use(folder: Path) -> None:
    """A run holds its index, which may still be hidden among the parts of files."""
    for path in (*index_files(folder), *folder.glob(".*.part")):
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if not try_lock(descriptor, wait=False):
                    raise in_use(folder)
            finally:
                os.close(descriptor)


def in_use(folder: Path) -> OutputRefused:
    return OutputRefused(f"Another run is writing to '{folder}' now; wait for it, or use --shard.")


# --- the index --------------------------------------------------------------------------------------------------


def index_name(shard: tuple[int, int] | None) -> str:
    return f"index.{shard[0]}-of-{shard[1]}.jsonl" if shard else "index.jsonl"


def index_files(folder: Path) -> list[Path]:
    """The index of a run that was not sharded, then those of shards in order."""
    named = [(re.fullmatch(r"index(?:\.(\d+)-of-(\d+))?\.jsonl", path.name), path) for path in folder.glob("index*")]
    order = {path: tuple(int(part or 0) for part in reversed(match.groups())) for match, path in named if match}
    return sorted(order, key=lambda path: order[path])


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """An index file's lines; one that is torn is passed over."""
    return (line for _, _, line in scan(path) if line)


def scan(path: Path) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
    """Where each line begins, how long it is, and what it says: None where it is torn."""
    at = 0
    with path.open("rb") as file:
        for raw in file:
            yield at, len(raw), parse(raw)
            at += len(raw)


def parse(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    whole = isinstance(line, dict) and isinstance(line.get("outputs"), dict) and is_path(line.get("source"))
    whole = whole and all(isinstance(about, dict) and is_path(about.get("file")) for about in line["outputs"].values())
    return line if whole and raw.endswith(b"\n") else None


def is_path(text: Any) -> bool:
    """Whether it could have come from the file system."""
    with suppress(UnicodeEncodeError):
        return isinstance(text, str) and b"\0" not in os.fsencode(text)
    return False


class Recorder:
    """What earlier runs have done, and where it is told what this one does."""

    def __init__(self, folder: Path, shard: tuple[int, int] | None, hidden: bool) -> None:
        """`hidden`: the index appears under its name when the run is finished, as the files of stacks do."""
        self.folder = folder
        self.path = folder / index_name(shard)
        self.working = part_path(self.path) if hidden else self.path
        self.old = Ledger("source", "name", "outputs")

    def load(self) -> None:
        """Read what earlier runs, and other shards, left."""
        others = (path for path in index_files(self.folder) if path != self.working)
        for path in (*others, self.working):  # what our own says of an image counts last
            with blame(path), suppress(FileNotFoundError):  # another shard may just be renaming its own
                for line in read_lines(path):
                    if line.get("status") == "done":
                        self.old.put(line["source"], str(line.get("name")), json.dumps(line["outputs"]))

    @property
    def done(self) -> int:
        return len(self.old)

    def outputs(self, item: Item) -> Outputs | None:
        """Where an earlier run put this image's maps, if it did."""
        row = self.old.get("source", item.source)
        if row is None or row[1] != item.name:
            return None
        outputs: Outputs = json.loads(row[2])
        return outputs

    def owner(self, item: Item) -> str | None:
        """The input that an earlier run gave this name to, where that is another one."""
        row = self.old.get("name", item.name, "source != ?", item.source)
        return row[0] if row else None

    def record(self, finished: Iterable[tuple[Item, Finished]]) -> None:
        raise NotImplementedError


class Index(Recorder):
    """What became of each image, on disk as it happens: a line is written once all its files are in their places.

    Lines are appended as images finish, so an image that was done in a second try has two; the last one counts, and
    `tidy` leaves one a source, in the order of the inputs.
    """

    descriptor: int | None = None
    size: int = 0
    latest: int = -1
    in_order: bool = False
    """Whether every line is by this run, and in the order of the inputs."""

    def begin(self) -> None:
        """Be ready to write. A stack's finished index hides again, since its rows are about to change."""
        with blame(self.working):
            if self.working != self.path and self.path.exists():
                self.path.replace(self.working)
            if not self.hold(os.O_CREAT):
                raise in_use(self.folder)
            assert self.descriptor is not None
            self.size = whole_lines(self.descriptor)
            os.ftruncate(self.descriptor, self.size)
            self.in_order = self.size == 0

    def hold(self, create: int = 0) -> bool:
        """Whether the index is this run's to change: nobody else is writing it, and it is there."""
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
                # Whoever held it may have put a tidy one in its place.
                if os.path.samestat(os.fstat(descriptor), self.working.stat()):
                    self.descriptor = descriptor
                    return True
            os.close(descriptor)
        return True

    def record(self, finished: Iterable[tuple[Item, Finished]]) -> None:
        """Append a line for each image; all of them are written or, on a full disk, none."""
        assert self.descriptor is not None
        data = b""
        for item, result in finished:
            data += json.dumps(result.record()).encode() + b"\n"
            self.in_order = self.in_order and item.position > self.latest
            self.latest = item.position
        with blame(self.working):
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self.descriptor, rest) :]
            except OSError:
                os.ftruncate(self.descriptor, self.size)
                raise
        self.size += len(data)

    def failed_rows(self) -> Iterator[int]:
        """The rows of images that have failed, where images have rows. Tidy first."""
        if self.working.exists():
            yield from (line["row"] for line in read_lines(self.working) if "row" in line)

    def publish(self) -> None:
        """The run has seen every input: the index is on the disk, under its own name."""
        with blame(self.path):
            if self.descriptor is not None:
                os.fsync(self.descriptor)
            if self.working != self.path and self.working.exists():
                self.working.replace(self.path)

    def tidy(self, positions: Ledger) -> None:
        """Leave one line a source, in the order of the inputs.

        Lines of inputs that this run did not see stay in front, except in a stack, which has no row for them.
        """
        if self.in_order or not self.working.exists():
            return
        lines = Ledger("source", "order", "at", "size")
        tidy, latest, count = True, -1, 0
        for number, (at, size, line) in enumerate(scan(self.working)):
            seen = positions.get("source", line["source"]) if line else None
            if line is None or (seen is None and self.working != self.path):
                tidy = False
                continue
            order = seen[1] if seen else number - (1 << 62)
            tidy = tidy and (seen is None or order > latest)
            latest = max(latest, order)
            count += 1
            lines.put(line["source"], order, at, size)
        if tidy and len(lines) == count:
            return
        with blame(self.path), self.working.open("rb") as file:

            def copy(out: IO[bytes]) -> None:
                for _, _, at, size in lines.sorted("order"):
                    file.seek(at)
                    out.write(file.read(size))
                out.flush()
                os.fsync(out.fileno())

            write_whole(self.working, copy)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def whole_lines(descriptor: int) -> int:
    """How long the file is up to the end of its last whole line."""
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        start = max(0, end - (1 << 16))
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
