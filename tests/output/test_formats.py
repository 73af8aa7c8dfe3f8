"""npy and safetensors files: intact ones are read, and damaged ones are recognized, even with invalid headers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backbone_cli.output.formats import DamagedFile, read_array, read_entries, write_npy, write_safetensors

from ..pipeline.stub import extract, tree


def make_npy(path: Path, header: str, data: bytes = bytes(16)) -> Path:
    text = header.encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data)
    return path


def make_safetensors(path: Path, header: object, data: bytes = bytes(16)) -> Path:
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def make_header(**changes: object) -> dict[str, object]:
    return {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | changes}


def test_intact_files_are_read(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with (tmp_path / "x.npy").open("wb") as file:
        write_npy(file, array, "float32")
    with (tmp_path / "x.safetensors").open("wb") as file:
        write_safetensors(file, {"a": array, "empty": array[:0], "b": array * 2}, "float32")
    assert np.array_equal(read_array(tmp_path / "x.npy", read_entries(tmp_path / "x.npy", "npy")[""]), array)
    entries = read_entries(tmp_path / "x.safetensors", "safetensors")
    assert list(entries) == ["a", "empty", "b"]
    assert np.array_equal(read_array(tmp_path / "x.safetensors", entries["b"]), array * 2)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + str((1,) * 99) + "}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 400 + ")" * 400 + "}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "-" * 9000 + "1}",
        "{'descr': [], 'fortran_order': False, 'shape': (2, 2)}",
        "{[]: 1}",
        "((((",
    ],
)
def test_invalid_npy_headers_are_refused(header, tmp_path):
    with pytest.raises(DamagedFile, match="its header can't be read"):
        read_entries(make_npy(tmp_path / "x.npy", header), "npy")


@pytest.mark.parametrize(
    "header",
    [
        make_header(data_offsets=[]),
        make_header(data_offsets=[0]),
        make_header(data_offsets=[16, 0]),
        make_header(data_offsets=[-16, 0]),
        make_header(data_offsets=[0, 8]),
        make_header(data_offsets=[0.0, 16]),
        make_header(shape="x"),
        make_header(shape=[1.5]),
        make_header(shape=[[1]]),
        make_header(shape=[-1, -1]),
        make_header(shape=[True, 4]),
        make_header(shape=[0, 1 << 70], data_offsets=[0, 0]),
        make_header(shape=[1] * 99, data_offsets=[0, 4]),
        make_header(dtype="I64"),
        make_header(dtype=[]),
        {"a": 3},
        ["a"],
        "[" * 100_000,
        '{"\\ud800": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}',
        "not JSON",
    ],
    ids=lambda header: str(header)[:60],
)
def test_invalid_safetensors_headers_are_refused(header, tmp_path):
    with pytest.raises(DamagedFile, match="its header can't be read"):
        read_entries(make_safetensors(tmp_path / "x.safetensors", header), "safetensors")


@pytest.mark.parametrize("form", ["npy", "safetensors"])
def test_damaged_stack_is_written_again(form, model, photos, out):
    options = {"model": model, "output": str(out), "layout": "stacked", "format": form}
    extract(photos, **options)
    before = tree(out)
    if form == "npy":
        make_npy(out / "stage2.npy", "((((")
    else:
        make_safetensors(out / "features.safetensors", make_header(shape=[[1]]))
    assert {event.status for event in extract(photos, **options)} == {"done"}
    assert tree(out) == before
