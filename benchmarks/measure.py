"""Timing that can be trusted on a machine whose speed drifts: in turns, medians, and ratios pair by pair."""

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
    """Runs of ours and of the peer's, in turns."""

    ours: list[Run]
    peer: list[Run]

    @property
    def ratio(self) -> float:
        """How many times longer the peer takes: the median over the pairs."""
        return statistics.median(p.seconds / o.seconds for o, p in zip(self.ours, self.peer, strict=True))

    @property
    def memory(self) -> float:
        """Our peak memory as a share of the peer's."""
        return statistics.median(o.peak_mb / max(p.peak_mb, 1e-9) for o, p in zip(self.ours, self.peer, strict=True))

    def seconds(self, who: str) -> float:
        return statistics.median(run.seconds for run in getattr(self, who))

    def peak_mb(self, who: str) -> float:
        return statistics.median(run.peak_mb for run in getattr(self, who))


# A process starts with the peak memory of the one that it was forked from, so a small one has to stand between.
BETWEEN = """
import os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss / 1024)
sys.exit(status != 0)
"""


def environment() -> dict[str, str]:
    """Ours, off the network; what is imported is kept compiled, as it is where a package was installed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | NO_NETWORK


def process(command: Sequence[str]) -> Run:
    """A whole process: wall time from start to exit, and the peak of its memory."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", BETWEEN, *command],
        capture_output=True,
        text=True,
        env=environment(),
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    seconds, peak = map(float, done.stdout.split())
    return Run(seconds, peak)


def call(function: Callable[[], object]) -> Run:
    started = time.perf_counter()
    function()
    return Run(time.perf_counter() - started, 0.0)


def in_turns(ours: Callable[[], Run], peer: Callable[[], Run], pairs: int, warm_up: int = 1) -> Pairs:
    """A B A B ..., after runs that are not counted."""
    for _ in range(warm_up):
        ours(), peer()
    results = Pairs([], [])
    for _ in range(pairs):
        results.ours.append(ours())
        results.peer.append(peer())
    return results
