"""The two file formats, npy and safetensors: written atomically, read back without copying.

numpy has no bfloat16. Such an array is held as uint16, the upper halves of float32 numbers, with its dtype passed
alongside.
"""

from __future__ import annotations

import errno
import json
import math
import os
import tokenize
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import ImageError, OutputError, reason

Array = np.ndarray[Any, np.dtype[Any]]

# Name, safetensors' tag, and numpy's storage type.
DTYPES = (("float32", "F32", "<f4"), ("float16", "F16", "<f2"), ("bfloat16", "BF16", "<u2"))
TAGS = {name: tag for name, tag, _ in DTYPES}
STORED = {name: np.dtype(stored) for name, _, stored in DTYPES}


@dataclass(frozen=True)
class Entry:
    """One array in a file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape) * STORED[self.dtype].itemsize


class DamagedFile(ValueError):
    """A file that is not what its name says, or is incomplete."""


# What numpy, json and the code below raise on damaged headers.
HEADER_ERRORS = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    SyntaxError,
    EOFError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)
MAX_HEADER_BYTES = 100_000_000
"""The safetensors format's own limit."""


# --- writing ----------------------------------------------------------------------------------------------------


def npy_header(shape: Sequence[int], dtype: str) -> bytes:
    out = BytesIO()
    meta = {"descr": STORED[dtype].str, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(out, meta)
    return out.getvalue()


def safetensors_header(shapes: Mapping[str, tuple[int, ...]], dtype: str) -> bytes:
    meta, at = {}, 0
    for name, shape in shapes.items():
        end = Entry(dtype, shape, at).end
        meta[name] = {"dtype": TAGS[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(meta, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_npy(file: IO[bytes], array: Array, dtype: str) -> None:
    file.write(npy_header(array.shape, dtype))
    file.write(np.ascontiguousarray(array).data)


def write_safetensors(file: IO[bytes], arrays: Mapping[str, Array], dtype: str) -> None:
    file.write(safetensors_header({name: array.shape for name, array in arrays.items()}, dtype))
    for array in arrays.values():
        file.write(np.ascontiguousarray(array).data)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file next to its final place, then rename it; if anything goes wrong, nothing is left behind."""
    part = temporary_path(path)
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def temporary_path(path: Path) -> Path:
    """Where a file is written until it is complete: the same in every run, so a killed run leaves no litter."""
    return path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.part")


# Errors about a single name, not about the folder or the disk.
NAME_ERRORS = {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ELOOP}


@contextmanager
def translate_os_errors(path: Path, costs_one_image: bool = False) -> Iterator[None]:
    """Turn an OSError into an OutputError, or an ImageError if only this image's name can't be used."""
    try:
        yield
    except OSError as error:
        if costs_one_image and error.errno in NAME_ERRORS:
            raise ImageError(f"{path} can't be written: {reason(error)}") from error
        fix = "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Fix this"
        raise OutputError(
            f"{path} can't be written: {reason(error)}. {fix} and run the same command again; the run will resume."
        ) from error


# --- reading ----------------------------------------------------------------------------------------------------


def read_entries(path: Path, form: str) -> dict[str, Entry]:
    """The arrays in a file by name ("" for npy). Raises DamagedFile if the file is not intact."""
    with path.open("rb") as file:
        try:
            entries = npy_entries(file) if form == "npy" else safetensors_entries(file)
        except HEADER_ERRORS as error:
            raise DamagedFile(f"its header can't be read ({error})") from error
        size = file.seek(0, os.SEEK_END)
    end = max((entry.end for entry in entries.values()), default=size)
    if size != end:
        raise DamagedFile(f"it has {size} bytes instead of {end}")
    return entries


def npy_entries(file: IO[bytes]) -> dict[str, Entry]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    names = [name for name, stored in STORED.items() if stored == dtype and name != "bfloat16"]
    if fortran or not names:
        raise ValueError(f"backbone does not write arrays of {dtype}")
    return {"": validate_entry(Entry(names[0], shape, file.tell()))}


def safetensors_entries(file: IO[bytes]) -> dict[str, Entry]:
    """The arrays that a safetensors header declares, with offsets in the file.

    Raises one of HEADER_ERRORS if the header is malformed or an array's bytes don't fit its shape and dtype.
    """
    head = file.read(8)
    length = int.from_bytes(head, "little")
    size = os.fstat(file.fileno()).st_size
    if len(head) < 8 or length > size - 8:
        raise ValueError("the file ends inside it")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its length is given as {length} bytes")
    names = {tag: name for name, tag, _ in DTYPES}
    entries = {}
    for name, meta in json.loads(file.read(length)).items():
        if name != "__metadata__":
            name.encode()  # fails on half a surrogate pair
            begin, end = meta["data_offsets"]
            entry = validate_entry(Entry(names[meta["dtype"]], tuple(meta["shape"]), begin))
            if end != entry.end:
                raise ValueError(f"{name} does not fit the bytes from {begin} to {end}")
            entries[name] = replace(entry, offset=8 + length + begin)
    return entries


def validate_entry(entry: Entry) -> Entry:
    """Raise ValueError if no array can have this shape and offset."""
    if not all(type(number) is int and number >= 0 for number in (*entry.shape, entry.offset)):
        raise ValueError(f"an array can't have the shape {entry.shape} at offset {entry.offset}")
    np.broadcast_to(np.zeros((), STORED[entry.dtype]), entry.shape)  # fails on too many or too long axes
    return entry


def read_array(path: Path, entry: Entry, row: int | None = None) -> Array:
    """One array of a file, or one row of it, memory-mapped; bfloat16 becomes float32, which is exact."""
    if 0 in entry.shape:
        return np.empty(entry.shape, STORED[entry.dtype])
    array: Array = np.memmap(path, STORED[entry.dtype], "r", entry.offset, entry.shape)
    array = array if row is None else array[row]
    return bfloat16_to_float32(array) if entry.dtype == "bfloat16" else array


def bfloat16_to_float32(halves: Array) -> Array:
    """bfloat16, held as uint16, as float32."""
    return (halves.astype("<u4") << 16).view("<f4")


def is_intact(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> bool:
    """Whether a file exists with the header and the length that these arrays give it."""
    header = expected_header(path.suffix, tuple(shapes.items()), dtype)
    size = len(header) + sum(Entry(dtype, shape, 0).end for shape in shapes.values())
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(len(header)) == header and os.fstat(file.fileno()).st_size == size
    except OSError:
        return False


@lru_cache(maxsize=256)
def expected_header(suffix: str, shapes: tuple[tuple[str, tuple[int, ...]], ...], dtype: str) -> bytes:
    return npy_header(shapes[0][1], dtype) if suffix == ".npy" else safetensors_header(dict(shapes), dtype)
