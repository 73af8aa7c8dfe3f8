"""A process that starts the same run again and again, each time in a child that dies on the way.

    python -m tests.pipeline.doomed MODEL PHOTOS OUTPUT LAYOUT HOW

`HOW` is `cpu`: after some share of the processor time that a whole run takes, twenty times. Or it is `calls`: before
each single call that changes the disk, in order, until a run has none left. Prints how often a child died.
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
    """Every file under a final name is whole, and every line in an index has its files."""
    for path in folder.rglob("[!.]*.npy"):
        assert path.read_bytes()[:6] == b"\x93NUMPY", path
    for path in index_files(folder):
        for line in read_lines(path):
            for stage, about in line["outputs"].items():
                rows = [images] if "row" in about else []
                assert is_intact(folder / about["file"], {stage: (*rows, *about["shape"])}, "float32"), about


def in_a_child(run, doom) -> bool:
    """Whether the child lived to the end."""
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] == 0
    doom()
    run()
    os._exit(0)


def at_call(number: int) -> None:
    """Die before the call of this number that changes the disk."""
    left = [number]

    def dying(call):
        def die_or_do(*args, **kwargs):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*args, **kwargs)

        return die_or_do

    for name in ("replace", "rename", "write", "pwrite", "ftruncate", "unlink", "mkdir", "fsync"):
        setattr(os, name, dying(getattr(os, name)))


def at_cpu_time(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process that does not ask for it


def main() -> None:
    model, photos, output, layout, how = sys.argv[1:]
    images = sum(path.is_file() for path in Path(photos).rglob("*"))
    deaths = 0

    def run(where=output) -> None:
        extract(photos, model=model, output=where, layout=layout, batch_size=4, out_indices=("all",))

    if how == "calls":
        while not in_a_child(run, partial(at_call, deaths)):
            deaths += 1
            check(Path(output), images)
    else:
        began = time.process_time()
        run(f"{output}-whole")
        duration = time.process_time() - began
        moments = random.Random(layout)
        for _ in range(20):
            deaths += not in_a_child(run, partial(at_cpu_time, duration * moments.uniform(0.02, 0.3)))
            check(Path(output), images)
        run()
    check(Path(output), images)
    print(deaths)


if __name__ == "__main__":
    main()
