"""Where maps go: a file (or some) an image, one array a stage for all, or standard output. Sinks know no model."""

from __future__ import annotations

import errno
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from ..errors import ImageError, OutputError, reason
from .events import Outputs
from .formats import (
    Array,
    Damaged,
    Entry,
    is_whole,
    npy_header,
    part_path,
    read_entries,
    safetensors_header,
    write_npy,
    write_safetensors,
    write_whole,
)
from .sources import Item

Maps = Mapping[str, Array]
"""One image's maps by stage, in the dtype that they are saved in."""

# What is wrong with one name, and not with the folder or the disk.
OF_A_NAME = {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ELOOP}


class Sink:
    """`write` says where the image's maps are now."""

    ours = False
    """Whether a run like this one was here before, so that files it may have left are ours to replace."""

    def write(self, item: Item, maps: Maps) -> Outputs:
        raise NotImplementedError

    def row(self, item: Item) -> int | None:
        """The image's row, where all images share a file."""
        return None

    def holds(self, item: Item, outputs: Outputs) -> bool:
        """Whether what the index says of an image is still true on the disk."""
        return False

    def finish(self, failed: Iterable[int] = ()) -> None:
        """All images are written but those that failed, whose rows these are."""

    def close(self) -> None:
        """No more will be written, finished or not."""


@contextmanager
def blame(path: Path, of_an_image: bool = False) -> Iterator[None]:
    """Turn what a file system says into a sentence. A name that can't be used costs no more than the image."""
    try:
        yield
    except OSError as error:
        if of_an_image and error.errno in OF_A_NAME:
            raise ImageError(f"{path} can't be written: {reason(error)}") from error
        hint = {errno.ENOSPC: " Free some space", errno.EDQUOT: " Free some space"}.get(error.errno or 0, " Mend that")
        raise OutputError(f"{path} can't be written: {reason(error)}.{hint} and run again; it goes on.") from error


class Files(Sink):
    """`name.stage.npy` for each stage, or `name.safetensors`."""

    def __init__(self, folder: Path, form: str, dtype: str, ours: bool, overwrite: bool) -> None:
        self.folder, self.form, self.dtype, self.ours, self.overwrite = folder, form, dtype, ours, overwrite
        self.known: set[Path] = set()

    def write(self, item: Item, maps: Maps) -> Outputs:
        files = {stage: self.file(item, stage) for stage in maps}
        for file in dict.fromkeys(files.values()):
            path = self.folder / file
            inside = {stage: array for stage, array in maps.items() if files[stage] == file}
            with blame(path, of_an_image=True):
                self.make_room(path)
                if path.exists() and not self.may_replace(item, path, inside):
                    raise ImageError(f"{path} is there already, and is not of this run; move it away.")
                if self.form == "npy":
                    write_whole(path, partial(write_npy, array=next(iter(inside.values())), dtype=self.dtype))
                else:
                    write_whole(path, partial(write_safetensors, arrays=inside, dtype=self.dtype))
        return {stage: {"file": files[stage], "shape": list(maps[stage].shape)} for stage in maps}

    def file(self, item: Item, stage: str) -> str:
        return f"{item.name}.{stage}.npy" if self.form == "npy" else f"{item.name}.safetensors"

    def make_room(self, path: Path) -> None:
        """The folder that the file goes into, which no link may lead out of the output folder."""
        if path.parent not in self.known:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self.folder.resolve()):
                raise ImageError(f"{path} would lie outside the output folder: a link leads out of it.")
            if len(self.known) > 10_000:
                self.known.clear()
            self.known.add(path.parent)

    def may_replace(self, item: Item, path: Path, maps: Maps) -> bool:
        """Whether a file was listed in the index, or can be what a killed run left that had no time to list it."""
        if self.overwrite or item.listed:
            return True
        return self.ours and is_whole(path, {stage: array.shape for stage, array in maps.items()}, self.dtype)

    def holds(self, item: Item, outputs: Outputs) -> bool:
        """Whether all files are there and whole, and the image has not changed since."""
        files: dict[str, dict[str, tuple[int, ...]]] = {}
        for stage, about in outputs.items():
            files.setdefault(self.file(item, stage), {})[stage] = tuple(about.get("shape", ()))
        changed = 0
        if item.span is None:
            with suppress(OSError):
                changed = Path(item.path).stat().st_mtime_ns
                changed = 0 if changed > time.time_ns() else changed  # a clock was wrong, and nothing follows from it
        paths = {self.folder / file: shapes for file, shapes in files.items()}
        return bool(outputs) and all(
            is_whole(path, shapes, self.dtype) and changed <= path.stat().st_mtime_ns for path, shapes in paths.items()
        )


class Stacks(Sink):
    """`stage.npy`, or `features.safetensors`: (N, C, H, W) for all images, a row each, NaN where an image failed.

    A stack gets its final name when its last row is written. Until then the rows are in a hidden file beside it.
    """

    def __init__(
        self, folder: Path, form: str, dtype: str, stages: list[str], total: int, shard: tuple[int, int] | None
    ) -> None:
        self.folder, self.form, self.dtype, self.stages = folder, form, dtype, stages
        index, self.step = shard or (1, 1)
        self.rows = len(range(index - 1, total, self.step))
        self.tag = f".{index}-of-{self.step}" if shard else ""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.places: dict[str, tuple[int, int]] = {}
        """Stage -> open file, and where its first row begins."""
        self.known: dict[str, dict[str, Entry]] = {}

    def row(self, item: Item) -> int:
        return item.position // self.step

    def file(self, stage: str) -> str:
        return f"{stage}{self.tag}.npy" if self.form == "npy" else f"features{self.tag}.safetensors"

    def files(self) -> list[Path]:
        return [self.folder / file for file in dict.fromkeys(map(self.file, self.stages))]

    def open(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Begin the files, or go on with those of a run that did not come to its end."""
        self.shapes = shapes
        whole = {stage: (self.rows, *shape) for stage, shape in shapes.items()}
        for path in self.files():
            inside = {stage: shape for stage, shape in whole.items() if self.folder / self.file(stage) == path}
            header = (
                npy_header(next(iter(inside.values())), self.dtype)
                if self.form == "npy"
                else safetensors_header(inside, self.dtype)
            )
            with blame(path):
                with suppress(FileNotFoundError):
                    path.replace(part_path(path))
                descriptor = os.open(part_path(path), os.O_RDWR | os.O_CREAT, 0o666)
                at = len(header)
                for stage, shape in inside.items():
                    self.places[stage] = (descriptor, at)
                    at = Entry(self.dtype, shape, at).end
                put(descriptor, header, 0)
                os.ftruncate(descriptor, at)

    def write(self, item: Item, maps: Maps) -> Outputs:
        shapes = {stage: array.shape for stage, array in maps.items()}
        if not self.shapes:
            self.open(shapes)
        for stage, shape in shapes.items():
            if shape != self.shapes[stage]:
                raise ImageError(
                    f"Its {stage} has the shape {shape}, and the stack is of {self.shapes[stage]};"
                    " give --image-size, or use --layout files."
                )
        row = self.row(item)
        for stage, array in maps.items():
            self.put_row(stage, row, np.ascontiguousarray(array).data.cast("B"))
        return {stage: {"file": self.file(stage), "row": row, "shape": list(shape)} for stage, shape in shapes.items()}

    def put_row(self, stage: str, row: int, data: bytes | memoryview) -> None:
        descriptor, offset = self.places[stage]
        with blame(self.folder / self.file(stage)):
            put(descriptor, data, offset + row * len(data))

    def holds(self, item: Item, outputs: Outputs) -> bool:
        try:
            return set(outputs) == set(self.stages) and all(
                about["file"] == self.file(stage)
                and about["row"] == self.row(item)
                and self.entry(stage).shape == (self.rows, *about["shape"])
                for stage, about in outputs.items()
            )
        except (OSError, Damaged, KeyError, TypeError):
            return False

    def entry(self, stage: str) -> Entry:
        """What an earlier run left of this stage's stack, finished or not."""
        file = self.file(stage)
        if file not in self.known:
            path = self.folder / file
            self.known[file] = read_entries(path if path.exists() else part_path(path), self.form)
        return self.known[file]["" if self.form == "npy" else stage]

    def finish(self, failed: Iterable[int] = ()) -> None:
        if not self.shapes and any(part_path(path).exists() for path in self.files()):
            self.open({stage: self.entry(stage).shape[1:] for stage in self.stages})
        for row in failed if self.shapes else ():
            for stage, shape in self.shapes.items():
                self.put_row(stage, row, NAN[self.dtype] * math.prod(shape))
        for descriptor in self.descriptors():
            with blame(self.folder):
                os.fsync(descriptor)
        for path in self.files():
            if part_path(path).exists():
                with blame(path):
                    part_path(path).replace(path)

    def descriptors(self) -> set[int]:
        return {descriptor for descriptor, _ in self.places.values()}

    def close(self) -> None:
        for descriptor in self.descriptors():
            os.close(descriptor)
        self.places = {}


NAN = {
    "float32": np.array(np.nan, "<f4").tobytes(),
    "float16": np.array(np.nan, "<f2").tobytes(),
    "bfloat16": np.array(np.nan, "<f4").tobytes()[2:],
}


def put(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it; a system call may write less."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


class Stdout(Sink):
    """One image's result, as one npy or safetensors file on standard output."""

    def __init__(self, form: str, dtype: str) -> None:
        self.form, self.dtype = form, dtype

    def write(self, item: Item, maps: Maps) -> Outputs:
        out = BytesIO()
        if self.form == "npy":
            write_npy(out, next(iter(maps.values())), self.dtype)
        else:
            write_safetensors(out, maps, self.dtype)
        sys.stdout.buffer.write(out.getbuffer())
        sys.stdout.buffer.flush()
        return {stage: {"file": "-", "shape": list(array.shape)} for stage, array in maps.items()}
