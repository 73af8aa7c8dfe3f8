"""The two file formats, npy and safetensors: written whole or not at all, read back without copying.

numpy has no bfloat16. Here such an array is the upper halves of float32 numbers, in uint16, and its dtype is told
beside it.
"""

from __future__ import annotations

import json
import math
import os
import tokenize
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# Our name, safetensors' name, and how numpy holds it.
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


class Damaged(ValueError):
    """A file that is not what its name says, or not all of it."""


# What a header can make numpy, json and the code below raise.
UNREADABLE = (
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
LONGEST_HEADER = 100_000_000
"""Of a safetensors file, as the format has it."""


# --- writing ----------------------------------------------------------------------------------------------------


def npy_header(shape: Sequence[int], dtype: str) -> bytes:
    out = BytesIO()
    about = {"descr": STORED[dtype].str, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(out, about)
    return out.getvalue()


def safetensors_header(shapes: Mapping[str, tuple[int, ...]], dtype: str) -> bytes:
    about, at = {}, 0
    for name, shape in shapes.items():
        end = Entry(dtype, shape, at).end
        about[name] = {"dtype": TAGS[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(about, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_npy(file: IO[bytes], array: Array, dtype: str) -> None:
    file.write(npy_header(array.shape, dtype))
    file.write(np.ascontiguousarray(array).data)


def write_safetensors(file: IO[bytes], arrays: Mapping[str, Array], dtype: str) -> None:
    file.write(safetensors_header({name: array.shape for name, array in arrays.items()}, dtype))
    for array in arrays.values():
        file.write(np.ascontiguousarray(array).data)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside its place and rename it into it; whatever goes wrong, nothing of it stays."""
    part = part_path(path)
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def part_path(path: Path) -> Path:
    """Where a file is written before it is whole: the same in every run, so a killed one leaves no litter."""
    return path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.part")


# --- reading ----------------------------------------------------------------------------------------------------


def read_entries(path: Path, form: str) -> dict[str, Entry]:
    """What arrays a file holds, by name (an npy file's only one has none: ""), once it is sure that they are whole."""
    with path.open("rb") as file:
        try:
            entries = npy_entries(file) if form == "npy" else safetensors_entries(file)
        except UNREADABLE as error:
            raise Damaged(f"its header can't be read ({error})") from error
        size = file.seek(0, os.SEEK_END)
    end = max((entry.end for entry in entries.values()), default=size)
    if size != end:
        raise Damaged(f"it has {size} bytes and should have {end}")
    return entries


def npy_entries(file: IO[bytes]) -> dict[str, Entry]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    names = [name for name, stored in STORED.items() if stored == dtype and name != "bfloat16"]
    if fortran or not names:
        raise ValueError(f"an array of {dtype} is none that backbone writes")
    return {"": checked(Entry(names[0], shape, file.tell()))}


def safetensors_entries(file: IO[bytes]) -> dict[str, Entry]:
    head = file.read(8)
    length = int.from_bytes(head, "little")
    size = os.fstat(file.fileno()).st_size
    if len(head) < 8 or length > size - 8:
        raise ValueError("the file ends inside it")
    if length > LONGEST_HEADER:
        raise ValueError(f"it would have {length} bytes")
    names = {tag: name for name, tag, _ in DTYPES}
    entries = {}
    for name, about in json.loads(file.read(length)).items():
        if name != "__metadata__":
            name.encode()  # half a surrogate pair is no text
            begin, end = about["data_offsets"]
            entry = checked(Entry(names[about["dtype"]], tuple(about["shape"]), begin))
            if end != entry.end:
                raise ValueError(f"{name} does not take the bytes from {begin} to {end}")
            entries[name] = replace(entry, offset=8 + length + begin)
    return entries


def checked(entry: Entry) -> Entry:
    """Raises ValueError where it is none that an array can be."""
    if not all(type(number) is int and number >= 0 for number in (*entry.shape, entry.offset)):
        raise ValueError(f"no array has the shape {entry.shape} and begins at {entry.offset}")
    np.broadcast_to(np.zeros((), STORED[entry.dtype]), entry.shape)  # too many sides, or too long ones
    return entry


def read_array(path: Path, entry: Entry, row: int | None = None) -> Array:
    """One array of a file, or one row of it, mapped; bfloat16 becomes float32, which is exact."""
    if 0 in entry.shape:
        return np.empty(entry.shape, STORED[entry.dtype])
    array: Array = np.memmap(path, STORED[entry.dtype], "r", entry.offset, entry.shape)
    array = array if row is None else array[row]
    return widen(array) if entry.dtype == "bfloat16" else array


def widen(halves: Array) -> Array:
    """bfloat16, as it is held here, in float32."""
    return (halves.astype("<u4") << 16).view("<f4")


def is_whole(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> bool:
    """Whether a file is there, begins as these arrays make it begin, and is as long as they make it."""
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
