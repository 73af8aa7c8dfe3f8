"""From what was named on the command line to images, one by one: nothing here holds more than one folder's names."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import ImageError, UsageError, reason
from .ledger import Ledger

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".j2k",
        ".jpx",
        ".avif",
        ".tga",
        ".ico",
    ]
)
BLOCK = 512  # what tar files are made of
IN_MEMORY = 4_000  # names of a folder that are sorted there


@dataclass
class Item:
    """One input: where to read it, and what its output is called."""

    source: str
    """What the index calls it."""
    name: str
    """Its output's path inside the output folder, without a suffix."""
    path: str
    span: tuple[int, int] | None = None
    """Of a tar member: where in `path` it begins, and how long it is."""
    error: str | None = None
    """Why it can't be used, where that is known without opening it."""
    position: int = -1
    """Its place among all inputs of the run, from when it is known."""
    listed: bool = False
    """Whether an earlier run had done it, and its files are ours to replace."""


@dataclass
class Sources:
    """The inputs of a run. Iterating walks the folders and reads the lists anew; standard input is read once."""

    inputs: tuple[str, ...]
    root: str | None = None
    null: bool = False
    listed: Path | None = field(default=None, init=False)
    """A copy of what came through standard input."""
    skipped: int = field(default=0, init=False)
    """Files in folders and tars that are no images by their suffix, in the latest walk."""

    @property
    def countable(self) -> bool:
        """Whether a walk before the run is cheap: it opens no tar, and nothing comes through a pipe."""
        return not any(text == "-" or is_tar(text) for text in self.inputs)

    def keep_list(self) -> None:
        """Read standard input now, into a file, so that its paths can be walked twice."""
        if "-" in self.inputs and self.listed is None:
            with tempfile.NamedTemporaryFile(prefix="backbone-", delete=False) as file:
                atexit.register(Path(file.name).unlink, missing_ok=True)
                shutil.copyfileobj(sys.stdin.buffer, file)
            self.listed = Path(file.name)

    def paths(self) -> Iterator[str]:
        """What was named on the command line and, for `-`, on standard input."""
        for text in self.inputs:
            if text != "-":
                yield text
                continue
            with self.listed.open("rb") if self.listed else nullcontext(sys.stdin.buffer) as file:
                yield from read_list(file, self.null)

    def check(self) -> None:
        """Where nothing that was named exists, the command was wrong, not the images."""
        if not any(text == "-" or os.path.lexists(text) for text in self.inputs):
            others = f" (nor {len(self.inputs) - 1} others)" if len(self.inputs) > 1 else ""
            raise UsageError(f"There is no file or folder '{self.inputs[0]}'{others}.")

    def __iter__(self) -> Iterator[Item]:
        self.skipped = 0
        for path in self.paths():
            yield from self.find(path)

    def find(self, text: str) -> Iterator[Item]:
        """The images of one input."""
        try:
            mode = Path(text).stat().st_mode
        except (OSError, ValueError) as error:
            yield self.failed(text, "there is no such file" if isinstance(error, FileNotFoundError) else reason(error))
            return
        if stat.S_ISDIR(mode):
            yield from self.walk(Path(text), Path(text), [])
        elif not stat.S_ISREG(mode):
            yield self.failed(text, "it is not a file (a pipe, a socket or a device)")
        elif is_tar(text):
            yield from self.members(text)
        else:
            yield self.found(text, Path(text).parent)

    def walk(self, folder: Path, root: Path, above: list[tuple[int, int]]) -> Iterator[Item]:
        """Images below a folder, sorted by name at every level. Links are followed, but never in a circle."""
        try:
            about = folder.stat()
            entries = list_folder(folder)
        except OSError as error:
            yield self.failed(str(folder), reason(error))
            return
        here = (about.st_dev, about.st_ino)
        if here in above:
            return
        for name, is_folder in entries:
            path = folder / name
            if is_folder:
                yield from self.walk(path, root, [*above, here])
            elif path.suffix.lower() not in SUFFIXES:
                self.skipped += 1
            elif path.is_file():
                yield self.found(str(path), root)
            elif path.is_symlink() and not path.exists():
                yield self.failed(str(path), "it is a link to nothing")
            else:
                yield self.failed(str(path), "it is not a file (a pipe, a socket or a device)")

    def members(self, tar: str) -> Iterator[Item]:
        """Images in a tar, in its order. Only headers are read here; whoever decodes reads the rest."""
        try:
            archive = tarfile.open(tar, "r:")  # noqa: SIM115
        except (OSError, tarfile.TarError) as error:
            yield self.failed(tar, f"it can't be read as a tar file ({reason(error)})")
            return
        with archive:
            size = Path(tar).stat().st_size
            try:
                while member := archive.next():
                    archive.members = []  # type: ignore[attr-defined]  # or it remembers every member
                    if not member.isfile() or PurePosixPath(member.name).suffix.lower() not in SUFFIXES:
                        self.skipped += not member.isdir()
                    elif member.offset_data + member.size > size:
                        yield self.failed(f"{tar}/{member.name}", "the tar file ends inside it")
                        return
                    else:
                        yield self.found_in(tar, member)
            except tarfile.TarError as error:
                yield self.failed(tar, f"it is damaged, and images after the damage are lost ({reason(error)})")
                return
            # tarfile takes a damaged header for the end; the true end is a block of zeros, or nothing at all.
            with Path(tar).open("rb") as file:
                file.seek(min(archive.offset, size))
                if any(file.read(BLOCK)):
                    yield self.failed(tar, "it is damaged, and images after the damage are lost")

    def found(self, path: str, root: Path) -> Item:
        return self.named(path, self.relative(path, root), path, None)

    def found_in(self, tar: str, member: tarfile.TarInfo) -> Item:
        source = f"{tar}/{member.name}"
        relative = f"{self.relative(tar, Path(tar).parent)}/{member.name}" if self.root else member.name
        if member.issparse():
            return self.failed(source, "it is stored as a sparse file, which can't be read in place")
        return self.named(source, relative, tar, (member.offset_data, member.size))

    def named(self, source: str, relative: str, path: str, span: tuple[int, int] | None) -> Item:
        try:
            return Item(source, output_name(relative), path, span)
        except ImageError as error:
            return self.failed(source, str(error))

    def relative(self, path: str, root: Path) -> str:
        return os.path.relpath(path, self.root if self.root is not None else root)

    def failed(self, source: str, error: str) -> Item:
        return Item(source, source, source, error=f"'{source}' can't be used: {error}.")


def list_folder(folder: Path) -> Iterable[tuple[str, bool]]:
    """Names in a folder, sorted, and whether they are folders; of a folder with millions, not all at once."""
    with os.scandir(folder) as found:
        first = list(itertools.islice(found, IN_MEMORY))
        if len(first) < IN_MEMORY:
            return sorted((entry.name, is_folder(entry)) for entry in first)
        ledger = Ledger("name", "is_folder")
        for entry in itertools.chain(first, found):
            ledger.add(entry.name, int(is_folder(entry)))
    return ((name, bool(folder)) for name, folder in ledger.sorted("name"))


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def output_name(relative: str) -> str:
    """An image's path without its suffix, where it stays inside the folder that it is put into."""
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in relative:
        raise ImageError(f"its output would lie outside the output folder ('{relative}' is not below the root)")
    return str(path.with_suffix(""))


def read_list(file: IO[bytes], null: bool) -> Iterator[str]:
    """Paths, one a line or separated by NUL."""
    for line in read_until_null(file) if null else file:
        path = line if null else line.rstrip(b"\r\n")
        if path:
            yield os.fsdecode(path)


def read_until_null(file: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while piece := file.read1(1 << 16) if hasattr(file, "read1") else file.read(1 << 16):
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole
    yield rest


def is_tar(path: str) -> bool:
    return path.lower().endswith(".tar")


def part_of(items: Iterable[Item], shard: tuple[int, int] | None) -> Iterator[Item]:
    """The I-th of N parts: every N-th item."""
    index, count = shard or (1, 1)
    return (item for item in items if item.position % count == index - 1)
