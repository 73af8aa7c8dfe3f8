"""From the inputs on the command line to images, one by one; at most one folder's names are in memory."""

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

from ..disk_table import DiskTable
from ..errors import ImageError, UsageError, reason, reject_empty
from ..output.records import Item

IMAGE_SUFFIXES = frozenset(
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
TAR_BLOCK = 512
# What tarfile raises on damaged headers.
TAR_ERRORS = (
    tarfile.TarError,
    OSError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    MemoryError,
    RecursionError,
)
NOT_A_FILE = "it is not a file (a pipe, a socket or a device)"
MAX_SORTED_IN_MEMORY = 4_000  # names in a folder


@dataclass
class Sources:
    """The inputs of a run. Each iteration walks folders and reads lists again; standard input is read once."""

    inputs: tuple[str, ...]
    root: str | None = None
    null: bool = False
    stdin_copy: Path | None = field(default=None, init=False)
    """A copy of what was read from standard input."""
    skipped: int = field(default=0, init=False)
    """Files in folders and tars without an image extension, in the latest iteration."""

    @property
    def countable(self) -> bool:
        """Whether counting the inputs before the run is cheap: no tars, and nothing from standard input."""
        return not any(text == "-" or is_tar(text) for text in self.inputs)

    def buffer_stdin(self) -> None:
        """Copy standard input to a file, so that its paths can be iterated twice."""
        if "-" in self.inputs and self.stdin_copy is None:
            with tempfile.NamedTemporaryFile(prefix="backbone-", delete=False) as file:
                atexit.register(Path(file.name).unlink, missing_ok=True)
                shutil.copyfileobj(standard_input(), file)
            self.stdin_copy = Path(file.name)

    def paths(self) -> Iterator[str]:
        """The inputs as given; for `-`, the paths on standard input."""
        for text in self.inputs:
            if text != "-":
                yield text
                continue
            with self.stdin_copy.open("rb") if self.stdin_copy else nullcontext(standard_input()) as file:
                yield from read_list(file, self.null)

    def check(self) -> None:
        """Raise UsageError if none of the inputs exists: then the command is wrong, not the images."""
        for text in self.inputs:
            reject_empty("An input", text, " Use `.` for the current folder.")
        if not any(text == "-" or os.path.lexists(text) for text in self.inputs):
            others = f" (nor {len(self.inputs) - 1} others)" if len(self.inputs) > 1 else ""
            raise UsageError(f"There is no file or folder '{self.inputs[0]}'{others}.")

    def __iter__(self) -> Iterator[Item]:
        self.skipped = 0
        for path in self.paths():
            yield from self.find(path)

    def find(self, text: str) -> Iterator[Item]:
        """The images in one input."""
        path = Path(text)
        try:
            mode = mode_of(path)
        except ImageError as error:
            yield self.failed_item(text, str(error))
            return
        if stat.S_ISDIR(mode):
            yield from self.walk(path, path, [])
        elif not stat.S_ISREG(mode):
            yield self.failed_item(text, NOT_A_FILE)
        elif is_tar(text):
            yield from self.members(text)
        else:
            yield self.file_item(text, path.parent)

    def walk(self, folder: Path, root: Path, above: list[tuple[int, int]]) -> Iterator[Item]:
        """Images below a folder, sorted by name at every level. Links are followed, but not in circles."""
        try:
            info = folder.stat()
            entries = list_folder(folder)
        except OSError as error:
            yield self.failed_item(str(folder), reason(error))
            return
        here = (info.st_dev, info.st_ino)
        if here in above:
            return
        for name, is_folder in entries:
            path = folder / name
            if is_folder:
                yield from self.walk(path, root, [*above, here])
            elif path.suffix.lower() not in IMAGE_SUFFIXES:
                self.skipped += 1
            else:
                yield self.folder_item(path, root)

    def folder_item(self, path: Path, root: Path) -> Item:
        try:
            is_file = stat.S_ISREG(mode_of(path))
        except ImageError as error:
            return self.failed_item(str(path), str(error))
        return self.file_item(str(path), root) if is_file else self.failed_item(str(path), NOT_A_FILE)

    def members(self, tar: str) -> Iterator[Item]:
        """Images in a tar, in its order. Only headers are read here; the decoder reads the rest."""
        links = HardLinks(tar)
        try:
            size = Path(tar).stat().st_size
            for member in read_headers(tar):
                if member.isreg() and not member.issparse() and member.offset_data + member.size > size:
                    yield self.failed_item(f"{tar}/{member.name}", "the tar file ends inside it")
                    return
                links.resolve(member)
                if member.isdir() or PurePosixPath(member.name).suffix.lower() not in IMAGE_SUFFIXES:
                    self.skipped += not member.isdir()
                else:
                    yield self.member_item(tar, member)
        except (ImageError, OSError) as error:
            yield self.failed_item(tar, reason(error))

    def file_item(self, path: str, root: Path) -> Item:
        return self.make_item(path, self.relative(path, root), path, None)

    def member_item(self, tar: str, member: tarfile.TarInfo) -> Item:
        source = f"{tar}/{member.name}"
        relative = f"{self.relative(tar, Path(tar).parent)}/{member.name}" if self.root else member.name
        if trouble := unreadable_reason(member):
            return self.failed_item(source, trouble)
        return self.make_item(source, relative, tar, (member.offset_data, member.size))

    def make_item(self, source: str, relative: str, path: str, span: tuple[int, int] | None) -> Item:
        try:
            return Item(source, output_name(relative), path, span)
        except ImageError as error:
            return self.failed_item(source, str(error))

    def relative(self, path: str, root: Path) -> str:
        return os.path.relpath(path, self.root if self.root is not None else root)

    def failed_item(self, source: str, error: str) -> Item:
        return Item(source, source, source, error=f"'{source}' can't be used: {error}.")


class HardLinks:
    """Finds the files in a tar that its hard links refer to.

    Nothing is remembered up to the first hard link, since most tars have none; then earlier headers are read again.
    """

    def __init__(self, tar: str) -> None:
        self.tar = tar
        self.places: DiskTable | None = None

    def resolve(self, member: tarfile.TarInfo) -> None:
        """Turn a hard link into the file that it names. It stays a link if that file is sparse or not before it."""
        if member.islnk() and self.places is None:
            self.places = DiskTable("name", "offset", "size")
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
    """A tar's members, in its order. Raises ImageError if it is damaged."""
    try:
        archive = tarfile.open(tar, "r:")  # noqa: SIM115
    except TAR_ERRORS as error:
        raise ImageError(f"it can't be read as a tar file ({damage(error)})") from error
    with archive:
        end = 0
        while member := next_header(archive, end):
            end = archive.offset
            yield member


def next_header(archive: tarfile.TarFile, after: int) -> tarfile.TarInfo | None:
    """The next member, or None at the end of the tar; `after` is the earliest offset at which it may begin."""
    try:
        member = archive.next()
        archive.members = []  # type: ignore[attr-defined]  # otherwise it remembers every member
        if member is None:
            # tarfile takes a damaged header for the end; the real end is a block of zeros, or the end of the file.
            assert archive.fileobj
            archive.fileobj.seek(archive.offset)
            if any(archive.fileobj.read(TAR_BLOCK)):
                raise tarfile.ReadError("a header is invalid")
        elif member.size < 0 or archive.offset <= after:
            raise tarfile.ReadError("a size is negative")
    except TAR_ERRORS as error:
        raise ImageError(f"it is damaged, and images after the damage are lost ({damage(error)})") from error
    return member


def damage(error: BaseException) -> str:
    """What is wrong with a tar; tarfile's accidental exceptions would tell users nothing."""
    return reason(error) if isinstance(error, (tarfile.TarError, OSError)) else "a header is invalid"


def unreadable_reason(member: tarfile.TarInfo) -> str | None:
    """Why a member's bytes can't be read directly from the tar; None if they can."""
    if member.issparse():
        return "it is stored as a sparse file, which can't be read in place"
    if member.islnk():
        return f"it is a hard link to '{member.linkname}', which is not a readable file before it in the tar"
    if member.issym():
        return "it is a symbolic link, and links in a tar are not followed"
    return None if member.isreg() else NOT_A_FILE


def standard_input() -> IO[bytes]:
    if sys.stdin is None:
        raise UsageError(
            "Standard input is closed, so no paths can be read from it; remove `-`, or pipe paths into the command."
        )
    return sys.stdin.buffer


def mode_of(path: Path) -> int:
    """A path's mode from `stat`. Raises ImageError if it can't be read."""
    try:
        return path.stat().st_mode
    except FileNotFoundError as error:
        raise ImageError("it is a broken link" if path.is_symlink() else "there is no such file") from error
    except (OSError, ValueError) as error:
        raise ImageError(reason(error)) from error


def list_folder(folder: Path) -> Iterable[tuple[str, bool]]:
    """Sorted names in a folder, and whether each is a folder; large folders are sorted on disk."""
    with os.scandir(folder) as entries:
        first = list(itertools.islice(entries, MAX_SORTED_IN_MEMORY))
        if len(first) < MAX_SORTED_IN_MEMORY:
            return sorted((entry.name, is_folder(entry)) for entry in first)
        table = DiskTable("name", "is_folder")
        for entry in itertools.chain(first, entries):
            table.add(entry.name, int(is_folder(entry)))
    return ((name, bool(folder)) for name, folder in table.sorted("name"))


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def output_name(relative: str) -> str:
    """An image's path without its suffix. Raises ImageError if that would lie outside the output folder."""
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in relative:
        raise ImageError(f"its output would lie outside the output folder ('{relative}' is not below the root)")
    return str(path.with_suffix(""))


def read_list(file: IO[bytes], null: bool) -> Iterator[str]:
    """Paths, one per line or separated by NUL."""
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


def select_shard(items: Iterable[Item], shard: tuple[int, int] | None) -> Iterator[Item]:
    """Every N-th item, beginning with the I-th."""
    index, count = shard or (1, 1)
    return (item for item in items if item.position % count == index - 1)
