"""From what was named on the command line to images, one by one: nothing here holds more than one folder's names."""

from __future__ import annotations

import atexit
import itertools
import os
import posixpath
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

from ..errors import ImageError, UsageError, reason, refuse_empty
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
# What tarfile raises on damaged headers, each in its own way.
DAMAGE = (
    tarfile.TarError,
    OSError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    MemoryError,
    RecursionError,
)
NO_FILE = "it is not a file (a pipe, a socket or a device)"
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
                shutil.copyfileobj(standard_input(), file)
            self.listed = Path(file.name)

    def paths(self) -> Iterator[str]:
        """What was named on the command line and, for `-`, on standard input."""
        for text in self.inputs:
            if text != "-":
                yield text
                continue
            with self.listed.open("rb") if self.listed else nullcontext(standard_input()) as file:
                yield from read_list(file, self.null)

    def check(self) -> None:
        """Where nothing that was named exists, the command was wrong, not the images."""
        for text in self.inputs:
            refuse_empty("An input", text, " Name `.` for this folder.")
        if not any(text == "-" or os.path.lexists(text) for text in self.inputs):
            others = f" (nor {len(self.inputs) - 1} others)" if len(self.inputs) > 1 else ""
            raise UsageError(f"There is no file or folder '{self.inputs[0]}'{others}.")

    def __iter__(self) -> Iterator[Item]:
        self.skipped = 0
        for path in self.paths():
            yield from self.find(path)

    def find(self, text: str) -> Iterator[Item]:
        """The images of one input."""
        path = Path(text)
        try:
            mode = mode_of(path)
        except ImageError as error:
            yield self.failed(text, str(error))
            return
        if stat.S_ISDIR(mode):
            yield from self.walk(path, path, [])
        elif not stat.S_ISREG(mode):
            yield self.failed(text, NO_FILE)
        elif is_tar(text):
            yield from self.members(text)
        else:
            yield self.found(text, path.parent)

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
            else:
                yield self.listed_file(path, root)

    def listed_file(self, path: Path, root: Path) -> Item:
        try:
            is_file = stat.S_ISREG(mode_of(path))
        except ImageError as error:
            return self.failed(str(path), str(error))
        return self.found(str(path), root) if is_file else self.failed(str(path), NO_FILE)

    def members(self, tar: str) -> Iterator[Item]:
        """Images in a tar, in its order. Only headers are read here; whoever decodes reads the rest."""
        links = HardLinks(tar)
        try:
            size = Path(tar).stat().st_size
            for member in read_headers(tar):
                if member.isreg() and not member.issparse() and member.offset_data + member.size > size:
                    yield self.failed(f"{tar}/{member.name}", "the tar file ends inside it")
                    return
                links.resolve(member)
                if member.isdir() or PurePosixPath(member.name).suffix.lower() not in SUFFIXES:
                    self.skipped += not member.isdir()
                else:
                    yield self.found_in(tar, member)
        except (ImageError, OSError) as error:
            yield self.failed(tar, reason(error))

    def found(self, path: str, root: Path) -> Item:
        return self.named(path, self.relative(path, root), path, None)

    def found_in(self, tar: str, member: tarfile.TarInfo) -> Item:
        source = f"{tar}/{member.name}"
        relative = f"{self.relative(tar, Path(tar).parent)}/{member.name}" if self.root else member.name
        if trouble := why_unreadable(member):
            return self.failed(source, trouble)
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


class HardLinks:
    """Where in a tar the files are that its hard links are other names of.

    Up to the first link, and most tars have none, nothing is remembered; what was before it is read once more then.
    """

    def __init__(self, tar: str) -> None:
        self.tar = tar
        self.places: Ledger | None = None

    def resolve(self, member: tarfile.TarInfo) -> None:
        """Make a hard link the file that it names. It stays a link where there is none before it, or a sparse one."""
        if member.islnk() and self.places is None:
            self.places = Ledger("name", "offset", "size")
            for earlier in itertools.takewhile(lambda earlier: earlier.offset < member.offset, read_headers(self.tar)):
                self.resolve(earlier)
        if self.places is None:
            return
        if member.islnk() and (place := self.places.get("name", posixpath.normpath(member.linkname))):
            member.type = tarfile.REGTYPE
            _, member.offset_data, member.size = place
        if member.isreg() and not member.issparse():
            self.places.put(posixpath.normpath(member.name), member.offset_data, member.size)


def read_headers(tar: str) -> Iterator[tarfile.TarInfo]:
    """A tar's members, in its order. Raises ImageError where it is damaged."""
    try:
        archive = tarfile.open(tar, "r:")  # noqa: SIM115
    except DAMAGE as error:
        raise ImageError(f"it can't be read as a tar file ({damage(error)})") from error
    with archive:
        end = 0
        while member := next_header(archive, end):
            end = archive.offset
            yield member


def next_header(archive: tarfile.TarFile, after: int) -> tarfile.TarInfo | None:
    """The member that begins here, if the tar does not end here; `after` is where it may begin at the earliest."""
    try:
        member = archive.next()
        archive.members = []  # type: ignore[attr-defined]  # or it remembers every member
        if member is None:
            # tarfile takes a damaged header for the end; the true end is a block of zeros, or nothing at all.
            assert archive.fileobj
            archive.fileobj.seek(archive.offset)
            if any(archive.fileobj.read(BLOCK)):
                raise tarfile.ReadError("a header makes no sense")
        elif member.size < 0 or archive.offset <= after:
            raise tarfile.ReadError("a size is below zero")
    except DAMAGE as error:
        raise ImageError(f"it is damaged, and images after the damage are lost ({damage(error)})") from error
    return member


def damage(error: BaseException) -> str:
    """What is wrong with a tar; what else tarfile stumbles over says nothing to people."""
    return reason(error) if isinstance(error, (tarfile.TarError, OSError)) else "a header makes no sense"


def why_unreadable(member: tarfile.TarInfo) -> str | None:
    """Why a member's bytes can't be read where they lie in the tar, if so."""
    if member.issparse():
        return "it is stored as a sparse file, which can't be read in place"
    if member.islnk():
        return f"it is a hard link to '{member.linkname}', which is no file before it in the tar that can be read"
    if member.issym():
        return "it is a symbolic link, and those are not followed in a tar"
    return None if member.isreg() else NO_FILE


def standard_input() -> IO[bytes]:
    if sys.stdin is None:
        raise UsageError("Standard input is closed, so no paths can be read from it; leave out `-`, or feed it.")
    return sys.stdin.buffer


def mode_of(path: Path) -> int:
    """What `stat` says of it; raises ImageError where it says nothing."""
    try:
        return path.stat().st_mode
    except FileNotFoundError as error:
        raise ImageError("it is a link to nothing" if path.is_symlink() else "there is no such file") from error
    except (OSError, ValueError) as error:
        raise ImageError(reason(error)) from error


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
