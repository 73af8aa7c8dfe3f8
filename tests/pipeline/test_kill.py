"""Killed at any moment and started again, a run ends as if nothing had been."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .stub import extract, make_photos, tree

ROOT = Path(__file__).parents[2]


def die_often(*args: object) -> int:
    """How often a run was killed until it came to its end."""
    command = [sys.executable, "-m", "tests.pipeline.doomed", *map(str, args)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return int(process.stdout)


@pytest.mark.parametrize("layout", ["files", "stacked"])
def test_killed_at_twenty_moments(layout, tmp_path, model):
    photos = make_photos(tmp_path / "photos", 300)
    (tmp_path / "photos/a/0000.png").write_bytes(b"no image")
    assert die_often(model, photos, tmp_path / "out", layout, "cpu") > 5
    assert tree(tmp_path / "out") == tree(tmp_path / "out-whole")
    assert len(tree(tmp_path / "out")) == (2 + 3 * 299 if layout == "files" else 5)


@pytest.mark.parametrize("layout", ["files", "stacked"])
def test_killed_before_every_change_of_the_disk(layout, tmp_path, model):
    photos = make_photos(tmp_path / "photos", 6)
    (tmp_path / "photos/b/0001.png").write_bytes(b"no image")
    extract(photos, model=model, output=str(tmp_path / "whole"), layout=layout, batch_size=4, out_indices=("all",))
    assert die_often(model, photos, tmp_path / "out", layout, "calls") > 10
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
