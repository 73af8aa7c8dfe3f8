"""Memory does not grow with the number of inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .stub import make_photos

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc/self/status")
def test_ten_times_the_images_take_the_same_memory(tmp_path, model):
    image = next(Path(make_photos(tmp_path / "one", 1)).rglob("*.png"))
    peaks = []
    for count in (300, 3000):
        photos = tmp_path / str(count)
        photos.mkdir()
        for i in range(count):
            (photos / f"{i}.png").symlink_to(image)
        command = [sys.executable, "-m", "tests.pipeline.peak_memory", model, photos, tmp_path / f"out-{count}"]
        peaks.append(int(subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True).stdout))
    assert peaks[1] < 1.1 * peaks[0]
