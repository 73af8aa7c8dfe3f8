"""Standard streams that are full, closed, closed by their reader, or that can't encode every character."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RESNET = "fixtures/models/resnet-micro"
HOPPER = "fixtures/photos/grace_hopper.jpg"
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def backbone(*args: object, **options) -> subprocess.CompletedProcess[str]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "-m", "backbone_cli", *map(str, args)]
    return subprocess.run(command, encoding="utf-8", errors="surrogateescape", **streams)


COMMANDS = [["extract", "-m", RESNET, HOPPER, "-o", "-", "-q"], ["stages", RESNET], ["--help"], ["stages", "--help"]]


@needs_full
@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_full_standard_output(args):
    with FULL.open("w") as full:
        process = backbone(*args, stdout=full)
    assert process.returncode == 4
    assert process.stderr == "Error: Standard output can't be written (No space left on device).\n"


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_standard_output_closed_by_its_reader(args):
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = backbone(*args, stdout=write_end)
    os.close(write_end)
    assert (process.returncode, process.stderr) == (130, "")


@needs_full
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["extract", "-m", RESNET, "nosuch"], 2),
        (["extract", "--nosuch"], 2),
        (["stages", "/no/model", "--verbose"], 3),
        (["stages", RESNET, "--verbose"], 0),
    ],
)
def test_full_standard_error(args, code):
    with FULL.open("w") as full:
        assert backbone(*args, stderr=full).returncode == code


def test_closed_standard_input():
    process = backbone("extract", "-", "-m", RESNET, preexec_fn=lambda: os.close(0))
    assert process.returncode == 2
    assert process.stderr.startswith("Error: Standard input is closed")


@pytest.mark.parametrize(("encoding", "escaped"), [("ascii", "\\xfc\\u540d\\udcff"), ("utf-8", "\u00fc\u540d\\udcff")])
def test_names_that_standard_output_cannot_encode(encoding, escaped, tmp_path):
    name = "\u00fc\u540d\udcff"
    damaged = tmp_path / f"{name}.npy"
    damaged.write_bytes(b"nothing")
    intact = tmp_path / f"intact-{name}.npy"
    intact.write_bytes(npy())
    process = backbone("inspect", damaged, intact, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert process.returncode == 1
    assert f"intact-{escaped}.npy" in process.stdout and f"/{escaped}.npy is damaged" in process.stderr


def npy() -> bytes:
    from backbone_cli.output.formats import npy_header

    return npy_header((2,), "float32") + bytes(8)
