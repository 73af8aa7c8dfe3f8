"""Timing that is reliable on a machine whose speed drifts: alternating runs, medians, and one ratio per pair."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NO_NETWORK = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Pairs:
    """Alternating runs of this package and of a peer."""

    backbone: list[Run]
    peer: list[Run]

    @property
    def ratio(self) -> float:
        """How many times longer the peer takes: the median over the pairs."""
        return statistics.median(p.seconds / b.seconds for b, p in zip(self.backbone, self.peer, strict=True))

    @property
    def memory(self) -> float:
        """This package's peak memory as a share of the peer's: the median over the pairs."""
        pairs = zip(self.backbone, self.peer, strict=True)
        return statistics.median(b.peak_mb / max(p.peak_mb, 1e-9) for b, p in pairs)

    def seconds(self, side: str) -> float:
        return statistics.median(run.seconds for run in getattr(self, side))

    def peak_mb(self, side: str) -> float:
        return statistics.median(run.peak_mb for run in getattr(self, side))


# A process inherits the peak memory of the process it was forked from, so a small one starts the measured one.
LAUNCHER = """
import os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss / 1024)
sys.exit(status != 0)
"""


def environment() -> dict[str, str]:
    """This process's environment without the network; compiled modules are kept, as with an installed package."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | NO_NETWORK


def run_process(command: Sequence[str]) -> Run:
    """Run a complete process: its wall time from start to exit, and its peak memory."""
    result = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        capture_output=True,
        text=True,
        env=environment(),
    )
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    seconds, peak = map(float, result.stdout.split())
    return Run(seconds, peak)


def time_call(function: Callable[[], object]) -> Run:
    started = time.perf_counter()
    function()
    return Run(time.perf_counter() - started, 0.0)


def alternate(backbone: Callable[[], Run], peer: Callable[[], Run], pairs: int, warm_up: int = 1) -> Pairs:
    """A B A B ..., after some pairs that are not counted."""
    for _ in range(warm_up):
        backbone(), peer()
    results = Pairs([], [])
    for _ in range(pairs):
        results.backbone.append(backbone())
        results.peer.append(peer())
    return results
