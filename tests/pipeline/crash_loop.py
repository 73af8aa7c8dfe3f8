"""Run the same command again and again in child processes that are killed part-way.

    python -m tests.pipeline.crash_loop MODEL PHOTOS OUTPUT LAYOUT WHEN

`WHEN` is `cpu`: kill twenty children, each after a random share of the processor time that a whole run takes. Or it is
`calls`: kill the first child before its first call that changes the disk, the second before its second such call, and
so on, until a run has no calls left. Prints how many children were killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

from backbone_cli.output.formats import is_intact
from backbone_cli.output.index import index_files, read_lines

from .stub import extract


def check(folder: Path, images: int) -> None:
    """Check that every file under its final name is intact, and that every line in an index has its files."""
    for path in folder.rglob("[!.]*.npy"):
        assert path.read_bytes()[:6] == b"\x93NUMPY", path
    for path in index_files(folder):
        for line in read_lines(path):
            for stage, output in line["outputs"].items():
                rows = [images] if "row" in output else []
                assert is_intact(folder / output["file"], {stage: (*rows, *output["shape"])}, "float32"), output


def run_in_child(run, arrange_kill) -> bool:
    """Whether the child reached its end."""
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] == 0
    arrange_kill()
    run()
    os._exit(0)


def kill_at_call(number: int) -> None:
    """Kill this process before its call with this number (from 0) that changes the disk."""
    remaining = [number]

    def counted(call):
        def kill_or_call(*args, **kwargs):
            if not remaining[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            remaining[0] -= 1
            return call(*args, **kwargs)

        return kill_or_call

    for name in ("replace", "rename", "write", "pwrite", "ftruncate", "unlink", "mkdir", "fsync"):
        setattr(os, name, counted(getattr(os, name)))


def kill_at_cpu_time(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process that doesn't handle it


def main() -> None:
    model, photos, output, layout, when = sys.argv[1:]
    images = sum(path.is_file() for path in Path(photos).rglob("*"))
    kills = 0

    def run(folder=output) -> None:
        extract(photos, model=model, output=folder, layout=layout, batch_size=4, out_indices=("all",))

    if when == "calls":
        while not run_in_child(run, partial(kill_at_call, kills)):
            kills += 1
            check(Path(output), images)
    else:
        start = time.process_time()
        run(f"{output}-uninterrupted")
        duration = time.process_time() - start
        generator = random.Random(layout)
        for _ in range(20):
            kills += not run_in_child(run, partial(kill_at_cpu_time, duration * generator.uniform(0.02, 0.3)))
            check(Path(output), images)
        run()
    check(Path(output), images)
    print(kills)


if __name__ == "__main__":
    main()
