"""A run that is killed at any moment and started again leaves the same files as an uninterrupted one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .stub import extract, make_photos, tree

ROOT = Path(__file__).parents[2]


def count_kills(*args: object) -> int:
    """How often a run was killed before it was finished."""
    command = [sys.executable, "-m", "tests.pipeline.crash_loop", *map(str, args)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return int(process.stdout)


@pytest.mark.parametrize("layout", ["files", "stacked"])
def test_run_killed_at_twenty_random_moments(layout, tmp_path, model):
    photos = make_photos(tmp_path / "photos", 300)
    (tmp_path / "photos/a/0000.png").write_bytes(b"not an image")
    assert count_kills(model, photos, tmp_path / "out", layout, "cpu") > 5
    assert tree(tmp_path / "out") == tree(tmp_path / "out-uninterrupted")
    assert len(tree(tmp_path / "out")) == (2 + 3 * 299 if layout == "files" else 5)


@pytest.mark.parametrize("layout", ["files", "stacked"])
def test_run_killed_before_every_change_to_the_disk(layout, tmp_path, model):
    photos = make_photos(tmp_path / "photos", 6)
    (tmp_path / "photos/b/0001.png").write_bytes(b"not an image")
    extract(
        photos, model=model, output=str(tmp_path / "uninterrupted"), layout=layout, batch_size=4, out_indices=("all",)
    )
    assert count_kills(model, photos, tmp_path / "out", layout, "calls") > 10
    assert tree(tmp_path / "out") == tree(tmp_path / "uninterrupted")
