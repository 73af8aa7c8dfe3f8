"""Where maps go: files per image, one stack per stage, or standard output. Sinks take arrays and know no model."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from ..errors import ImageError
from .formats import (
    Array,
    DamagedFile,
    Entry,
    is_intact,
    npy_header,
    read_entries,
    safetensors_header,
    temporary_path,
    translate_os_errors,
    write_atomically,
    write_npy,
    write_safetensors,
)
from .records import Item, Outputs

Maps = Mapping[str, Array]
"""One image's maps by stage, in the dtype they are saved in."""


class Sink:
    """Writes the maps of images and says where they are."""

    resuming = False
    """Whether an earlier run with the same settings was here, so that files it may have left can be replaced."""

    def write(self, item: Item, maps: Maps, listed: bool = False) -> Outputs:
        """Write an image's maps. `listed`: the index lists its files already, so they may be replaced."""
        raise NotImplementedError

    def row(self, item: Item) -> int | None:
        """The image's row, if all images share a file."""
        return None

    def is_complete(self, item: Item, outputs: Outputs) -> bool:
        """Whether what the index says about an image is still true on disk."""
        return False

    def finish(self, failed: Iterable[int] = ()) -> None:
        """All images are written except the failed ones, whose rows are given."""

    def close(self) -> None:
        """Nothing more will be written, whether finished or not."""


class FileSink(Sink):
    """`name.stage.npy` for each stage, or `name.safetensors`."""

    def __init__(self, folder: Path, form: str, dtype: str, resuming: bool, overwrite: bool) -> None:
        self.folder, self.form, self.dtype, self.resuming, self.overwrite = folder, form, dtype, resuming, overwrite
        self.checked_folders: set[Path] = set()

    def write(self, item: Item, maps: Maps, listed: bool = False) -> Outputs:
        files = {stage: self.file(item, stage) for stage in maps}
        for file in dict.fromkeys(files.values()):
            path = self.folder / file
            arrays = {stage: array for stage, array in maps.items() if files[stage] == file}
            with translate_os_errors(path, costs_one_image=True):
                self.ensure_parent(path)
                if path.exists() and not (listed or self.may_replace(path, arrays)):
                    raise ImageError(f"{path} already exists and is not from this run; move it away.")
                if self.form == "npy":
                    write_atomically(path, partial(write_npy, array=next(iter(arrays.values())), dtype=self.dtype))
                else:
                    write_atomically(path, partial(write_safetensors, arrays=arrays, dtype=self.dtype))
        return {stage: {"file": files[stage], "shape": list(maps[stage].shape)} for stage in maps}

    def file(self, item: Item, stage: str) -> str:
        return f"{item.name}.{stage}.npy" if self.form == "npy" else f"{item.name}.safetensors"

    def ensure_parent(self, path: Path) -> None:
        """Create the file's folder, which must not lie outside the output folder because of a link."""
        if path.parent not in self.checked_folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self.folder.resolve()):
                raise ImageError(f"{path} would lie outside the output folder: a link leads out of it.")
            if len(self.checked_folders) > 10_000:
                self.checked_folders.clear()
            self.checked_folders.add(path.parent)

    def may_replace(self, path: Path, maps: Maps) -> bool:
        """Whether a file may be replaced: on request, or if a killed run may have left it without listing it."""
        if self.overwrite:
            return True
        return self.resuming and is_intact(path, {stage: array.shape for stage, array in maps.items()}, self.dtype)

    def is_complete(self, item: Item, outputs: Outputs) -> bool:
        """Whether all files exist and are intact, and the image has not changed since they were written."""
        files: dict[str, dict[str, tuple[int, ...]]] = {}
        for stage, output in outputs.items():
            files.setdefault(self.file(item, stage), {})[stage] = tuple(output.get("shape", ()))
        changed = 0
        if item.span is None:
            with suppress(OSError):
                changed = Path(item.path).stat().st_mtime_ns
                changed = 0 if changed > time.time_ns() else changed  # a time in the future means nothing
        paths = {self.folder / file: shapes for file, shapes in files.items()}
        return bool(outputs) and all(
            is_intact(path, shapes, self.dtype) and changed <= path.stat().st_mtime_ns for path, shapes in paths.items()
        )


class StackSink(Sink):
    """`stage.npy`, or `features.safetensors`: (N, C, H, W) with one row per image, NaN if the image failed.

    A stack gets its final name once its last row is written. Until then the rows are in a hidden file next to it.
    """

    def __init__(
        self, folder: Path, form: str, dtype: str, stages: list[str], total: int, shard: tuple[int, int] | None
    ) -> None:
        self.folder, self.form, self.dtype, self.stages = folder, form, dtype, stages
        index, self.step = shard or (1, 1)
        self.rows = len(range(index - 1, total, self.step))
        self.shard_suffix = f".{index}-of-{self.step}" if shard else ""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.offsets: dict[str, tuple[int, int]] = {}
        """Stage -> file descriptor, and the offset of its first row."""
        self.earlier_entries: dict[str, dict[str, Entry]] = {}

    def row(self, item: Item) -> int:
        return item.position // self.step

    def file(self, stage: str) -> str:
        return f"{stage}{self.shard_suffix}.npy" if self.form == "npy" else f"features{self.shard_suffix}.safetensors"

    def files(self) -> list[Path]:
        return [self.folder / file for file in dict.fromkeys(map(self.file, self.stages))]

    def open(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Create the files, or continue with those of an unfinished run."""
        self.shapes = shapes
        stack_shapes = {stage: (self.rows, *shape) for stage, shape in shapes.items()}
        for path in self.files():
            inside = {stage: shape for stage, shape in stack_shapes.items() if self.folder / self.file(stage) == path}
            header = (
                npy_header(next(iter(inside.values())), self.dtype)
                if self.form == "npy"
                else safetensors_header(inside, self.dtype)
            )
            with translate_os_errors(path):
                with suppress(FileNotFoundError):
                    path.replace(temporary_path(path))
                descriptor = os.open(temporary_path(path), os.O_RDWR | os.O_CREAT, 0o666)
                offset = len(header)
                for stage, shape in inside.items():
                    self.offsets[stage] = (descriptor, offset)
                    offset = Entry(self.dtype, shape, offset).end
                write_at(descriptor, header, 0)
                os.ftruncate(descriptor, offset)

    def write(self, item: Item, maps: Maps, listed: bool = False) -> Outputs:
        shapes = {stage: array.shape for stage, array in maps.items()}
        if not self.shapes:
            self.open(shapes)
        for stage, shape in shapes.items():
            if shape != self.shapes[stage]:
                raise ImageError(
                    f"Its {stage} has the shape {shape}, but the stack holds {self.shapes[stage]};"
                    " give --image-size, or use --layout files."
                )
        row = self.row(item)
        for stage, array in maps.items():
            self.write_row(stage, row, np.ascontiguousarray(array).data.cast("B"))
        return {stage: {"file": self.file(stage), "row": row, "shape": list(shape)} for stage, shape in shapes.items()}

    def write_row(self, stage: str, row: int, data: bytes | memoryview) -> None:
        descriptor, offset = self.offsets[stage]
        with translate_os_errors(self.folder / self.file(stage)):
            write_at(descriptor, data, offset + row * len(data))

    def is_complete(self, item: Item, outputs: Outputs) -> bool:
        try:
            return set(outputs) == set(self.stages) and all(
                output["file"] == self.file(stage)
                and output["row"] == self.row(item)
                and self.earlier_entry(stage).shape == (self.rows, *output["shape"])
                for stage, output in outputs.items()
            )
        except (OSError, DamagedFile, KeyError, TypeError):
            return False

    def earlier_entry(self, stage: str) -> Entry:
        """This stage's stack as an earlier run left it, finished or not."""
        file = self.file(stage)
        if file not in self.earlier_entries:
            path = self.folder / file
            self.earlier_entries[file] = read_entries(path if path.exists() else temporary_path(path), self.form)
        return self.earlier_entries[file]["" if self.form == "npy" else stage]

    def finish(self, failed: Iterable[int] = ()) -> None:
        if not self.shapes and any(temporary_path(path).exists() for path in self.files()):
            self.open({stage: self.earlier_entry(stage).shape[1:] for stage in self.stages})
        for row in failed if self.shapes else ():
            for stage, shape in self.shapes.items():
                self.write_row(stage, row, NAN_BYTES[self.dtype] * math.prod(shape))
        for descriptor in self.descriptors():
            with translate_os_errors(self.folder):
                os.fsync(descriptor)
        for path in self.files():
            if temporary_path(path).exists():
                with translate_os_errors(path):
                    temporary_path(path).replace(path)

    def descriptors(self) -> set[int]:
        return {descriptor for descriptor, _ in self.offsets.values()}

    def close(self) -> None:
        for descriptor in self.descriptors():
            os.close(descriptor)
        self.offsets = {}


NAN_BYTES = {
    "float32": np.array(np.nan, "<f4").tobytes(),
    "float16": np.array(np.nan, "<f2").tobytes(),
    "bfloat16": np.array(np.nan, "<f4").tobytes()[2:],
}


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it; a single system call may write less."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


class StdoutSink(Sink):
    """One image's result as a single npy or safetensors file on standard output."""

    def __init__(self, form: str, dtype: str) -> None:
        self.form, self.dtype = form, dtype

    def write(self, item: Item, maps: Maps, listed: bool = False) -> Outputs:
        out = BytesIO()
        if self.form == "npy":
            write_npy(out, next(iter(maps.values())), self.dtype)
        else:
            write_safetensors(out, maps, self.dtype)
        sys.stdout.buffer.write(out.getbuffer())
        sys.stdout.buffer.flush()
        return {stage: {"file": "-", "shape": list(array.shape)} for stage, array in maps.items()}
