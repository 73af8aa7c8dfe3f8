"""`make bench`: side by side with transformers and timm, in turns, in one run; ratios, and a JSON file (`--json`).

ARGS="--quick" for a first look, ARGS="--only 'swin*'" for some of it.
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
from benchmarks.materials import SAME_IN_TIMM, make_model, make_photos
from benchmarks.measure import Pairs, in_turns, process

PYTHON = sys.executable
BACKBONE = str(Path(PYTHON).with_name("backbone"))


@dataclass(frozen=True)
class Job:
    """One job for both, as whole processes."""

    name: str
    model: str
    photos: int
    size: tuple[int, int]
    floor: float
    stages: str = ""
    dtype: str = "float32"
    peer: str = "transformers"
    fast: bool = False
    """Ours decodes fast, and so not to the same pixels."""

    def commands(self, where: Path, exact: bool = False) -> tuple[list[str], list[str]]:
        """Ours and the peer's; `exact` for outputs that can be compared, whatever time they take."""
        model, photos = str(make_model(self.model, where)), str(make_photos(where, self.photos, self.size))
        ours = [BACKBONE, "extract", "-q", "-m", model, photos, "-o", str(where / "ours"), "--dtype", self.dtype]
        peer = [PYTHON, "-m", "benchmarks.peers", self.peer, model, photos, str(where / "peer"), "--dtype", self.dtype]
        if self.stages:
            ours += ["--out-indices", self.stages]
            peer += ["--stages", self.stages]
        return ours + ["--fast-decode"] * (self.fast and not exact), peer + ["--exact"] * exact


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


def fresh(where: Path, who: str, command: list[str]) -> object:
    """Run a command whose output folder is not there yet."""
    shutil.rmtree(where / who, ignore_errors=True)
    return process(command)


def check_equal(where: Path, job: Job) -> float:
    """Both wrote the same maps, from the same pixels; the largest difference in standard deviations."""
    for who, command in zip(("ours", "peer"), job.commands(where, exact=True), strict=True):
        fresh(where, who, command)
    worst = 0.0
    files = sorted((where / "peer").glob("*.npy"))
    for path in files:
        wanted, got = np.load(path), np.load(where / "ours" / path.name)
        worst = max(worst, float(np.abs(got - wanted).max() / wanted.std()))
    if len(files) < job.photos or (job.dtype == "float32" and worst > 1e-3):
        raise SystemExit(f"{job.name}: the outputs differ by {worst:.2g} standard deviations; nothing to compare")
    return worst


def run_jobs(where: Path, pairs: int, wanted: Callable[[str], bool]) -> Iterator[dict[str, object]]:
    if wanted("stages"):
        model = str(make_model("swin-tiny", where))
        ours = partial(process, [BACKBONE, "stages", model])
        peer = partial(process, [PYTHON, "-m", "benchmarks.peers", "stages", model])
        yield row("stages", "transformers", in_turns(ours, peer, pairs), 10.0)
    for job in JOBS:
        if wanted(job.name) or wanted(job.model):
            difference = check_equal(where, job)
            ours, peer = job.commands(where)
            result = in_turns(
                partial(fresh, where, "ours", ours), partial(fresh, where, "peer", peer), pairs, warm_up=0
            )
            yield row(job.name, job.peer, result, job.floor) | {"difference": difference}


def row(name: str, peer: str, result: Pairs, floor: float) -> dict[str, object]:
    return {
        "job": name,
        "peer": peer,
        "ours_s": round(result.seconds("ours"), 3),
        "peer_s": round(result.seconds("peer"), 3),
        "ratio": round(result.ratio, 2),
        "floor": floor,
        "ours_mb": round(result.peak_mb("ours")),
        "peer_mb": round(result.peak_mb("peer")),
        "memory": round(result.memory, 2),
    }


def machine() -> dict[str, str]:
    import torch

    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
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
    parser.add_argument("--only", default="*", help="a pattern for the names of jobs")
    parser.add_argument("--pairs", type=int, default=None)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    args = parser.parse_args()
    pairs = args.pairs or (2 if args.quick else 5)
    with tempfile.TemporaryDirectory(prefix="backbone-bench-") as folder:
        rows = []
        for result in run_jobs(Path(folder), pairs, lambda name: fnmatch.fnmatch(name, args.only)):
            show(result)
            rows.append(result)
        for result in forward.compare(Path(folder), pairs, [m for m in SAME_IN_TIMM if fnmatch.fnmatch(m, args.only)]):
            show(result)
            rows.append(result)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
