"""Standard streams that are full, closed, left by their reader, or that can't take every letter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RESNET = "fixtures/models/resnet-micro"
HOPPER = "fixtures/photos/grace_hopper.jpg"
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


def backbone(*args: object, **options) -> subprocess.CompletedProcess[str]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "-m", "backbone_cli", *map(str, args)]
    return subprocess.run(command, encoding="utf-8", errors="surrogateescape", **streams)


WRITES = [["extract", "-m", RESNET, HOPPER, "-o", "-", "-q"], ["stages", RESNET], ["--help"], ["stages", "--help"]]


@needs_full
@pytest.mark.parametrize("args", WRITES, ids=" ".join)
def test_standard_output_is_full(args):
    with FULL.open("w") as full:
        done = backbone(*args, stdout=full)
    assert done.returncode == 4
    assert done.stderr == "Error: Standard output can't be written (No space left on device).\n"


@pytest.mark.parametrize("args", WRITES, ids=" ".join)
def test_the_reader_of_standard_output_is_gone(args):
    reading, writing = os.pipe()
    os.close(reading)
    done = backbone(*args, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (130, "")


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
def test_standard_error_is_full(args, code):
    with FULL.open("w") as full:
        assert backbone(*args, stderr=full).returncode == code


def test_standard_input_is_closed():
    done = backbone("extract", "-", "-m", RESNET, preexec_fn=lambda: os.close(0))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Standard input is closed")


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "\\xfc\\u540d\\udcff"), ("utf-8", "\u00fc\u540d\\udcff")])
def test_names_that_standard_output_can_not_encode(encoding, shown, tmp_path):
    name = "\u00fc\u540d\udcff"
    path = tmp_path / f"{name}.npy"
    path.write_bytes(b"nothing")
    whole = tmp_path / f"whole-{name}.npy"
    whole.write_bytes(npy())
    done = backbone("inspect", path, whole, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert done.returncode == 1
    assert f"whole-{shown}.npy" in done.stdout and f"/{shown}.npy is damaged" in done.stderr


def npy() -> bytes:
    from backbone_cli.output.formats import npy_header

    return npy_header((2,), "float32") + bytes(8)
