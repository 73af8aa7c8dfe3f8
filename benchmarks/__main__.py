"""`make bench`: compare with transformers and timm in alternating runs; prints ratios and writes JSON (`--json`).

ARGS="--quick" gives a first impression, ARGS="--only 'swin*'" runs some of the jobs.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import forward
from benchmarks.materials import TIMM_EQUIVALENTS, make_model, make_photos
from benchmarks.measure import Pairs, Run, alternate, run_process

PYTHON = sys.executable
BACKBONE = str(Path(PYTHON).with_name("backbone"))


@dataclass(frozen=True)
class Job:
    """One job for `backbone` and a peer, as complete processes."""

    name: str
    model: str
    photos: int
    size: tuple[int, int]
    floor: float
    """The lowest acceptable ratio."""
    stages: str = ""
    dtype: str = "float32"
    peer: str = "transformers"
    fast: bool = False
    """`backbone` uses `--fast-decode`, which doesn't give the same pixels."""

    def commands(self, folder: Path, exact: bool = False) -> tuple[list[str], list[str]]:
        """The commands of `backbone` and of the peer; `exact` gives comparable outputs, perhaps more slowly."""
        model, photos = str(make_model(self.model, folder)), str(make_photos(folder, self.photos, self.size))
        outputs = [str(folder / name) for name in ("backbone", "peer")]
        backbone = [BACKBONE, "extract", "-q", "-m", model, photos, "-o", outputs[0], "--dtype", self.dtype]
        peer = [PYTHON, "-m", "benchmarks.peers", self.peer, model, photos, outputs[1], "--dtype", self.dtype]
        if self.stages:
            backbone += ["--out-indices", self.stages]
            peer += ["--stages", self.stages]
        return backbone + ["--fast-decode"] * (self.fast and not exact), peer + ["--exact"] * exact


ALL = "0,1,2,3,4"
PHOTO, LARGE = (640, 427), (1920, 1280)
JOBS = [
    Job("one photo, cold, last stage", "swin-tiny", 1, PHOTO, 2.0),
    Job("64 photos, all stages", "swin-tiny", 64, PHOTO, 1.6, ALL),
    Job("64 photos, first two stages", "swin-tiny", 64, PHOTO, 4.0, "0,1"),
    Job("64 photos, all stages, bfloat16", "swin-tiny", 64, PHOTO, 1.5, ALL, "bfloat16"),
    Job("64 large photos, last stage", "swin-tiny", 64, LARGE, 1.6),
    Job("64 large photos, last stage, --fast-decode", "swin-tiny", 64, LARGE, 1.6, fast=True),
    Job("64 photos, all stages, ResNet-50", "resnet-50", 64, PHOTO, 1.6, ALL),
    Job("64 photos, all stages, ConvNext-tiny", "convnext-tiny", 64, PHOTO, 1.6, ALL),
    Job("64 photos, last stage, DINOv2-small", "dinov2-small", 64, PHOTO, 1.6),
    Job("64 photos, last stage, ViT-small, against timm", "vit-small", 64, PHOTO, 1.6, "11", peer="timm"),
]


def run_without_output(output: Path, command: list[str]) -> Run:
    """Delete the output folder of an earlier run, then run the command."""
    shutil.rmtree(output, ignore_errors=True)
    return run_process(command)


def check_equal(folder: Path, job: Job) -> float:
    """Check that both write the same maps; returns the largest difference, in standard deviations."""
    outputs = folder / "backbone", folder / "peer"
    for output, command in zip(outputs, job.commands(folder, exact=True), strict=True):
        run_without_output(output, command)
    largest = 0.0
    files = sorted(outputs[1].glob("*.npy"))
    for path in files:
        expected, actual = np.load(path), np.load(outputs[0] / path.name)
        largest = max(largest, float(np.abs(actual - expected).max() / expected.std()))
    if len(files) < job.photos or (job.dtype == "float32" and largest > 1e-3):
        raise SystemExit(f"{job.name}: the outputs differ by {largest:.2g} standard deviations and can't be compared")
    return largest


def run_jobs(folder: Path, pairs: int, requested: Callable[[str], bool]) -> Iterator[dict[str, object]]:
    if requested("stages"):
        model = str(make_model("swin-tiny", folder))
        backbone = partial(run_process, [BACKBONE, "stages", model])
        peer = partial(run_process, [PYTHON, "-m", "benchmarks.peers", "stages", model])
        yield row("stages", "transformers", alternate(backbone, peer, pairs), 10.0)
    for job in JOBS:
        if requested(job.name) or requested(job.model):
            difference = check_equal(folder, job)
            commands = zip((folder / "backbone", folder / "peer"), job.commands(folder), strict=True)
            backbone, peer = (partial(run_without_output, output, command) for output, command in commands)
            yield row(job.name, job.peer, alternate(backbone, peer, pairs, warm_up=0), job.floor) | {
                "difference": difference
            }


def row(name: str, peer: str, result: Pairs, floor: float) -> dict[str, object]:
    return {
        "job": name,
        "peer": peer,
        "ours_s": round(result.seconds("backbone"), 3),
        "peer_s": round(result.seconds("peer"), 3),
        "ratio": round(result.ratio, 2),
        "floor": floor,
        "ours_mb": round(result.peak_mb("backbone")),
        "peer_mb": round(result.peak_mb("peer")),
        "memory": round(result.memory, 2),
    }


def machine() -> dict[str, str]:
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": f"{len(names)} cores of {names[0]}" if names else platform.processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "torch": f"torch {torch.__version__}",
        "python": f"Python {platform.python_version()}",
    }


def show(row: dict[str, object]) -> None:
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two pairs instead of five")
    parser.add_argument("--only", default="*", help="only run jobs whose name matches this pattern")
    parser.add_argument("--pairs", type=int, default=None)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    args = parser.parse_args()
    pairs = args.pairs or (2 if args.quick else 5)
    with tempfile.TemporaryDirectory(prefix="backbone-bench-") as folder:
        rows = []
        for result in run_jobs(Path(folder), pairs, lambda name: fnmatch.fnmatch(name, args.only)):
            show(result)
            rows.append(result)
        for result in forward.compare(
            Path(folder), pairs, [m for m in TIMM_EQUIVALENTS if fnmatch.fnmatch(m, args.only)]
        ):
            show(result)
            rows.append(result)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
