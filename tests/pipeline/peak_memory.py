"""Print the peak memory of a run in kilobytes: `python -m tests.pipeline.peak_memory MODEL PHOTOS OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path

from backbone_cli.pipeline.prepare import prepare
from backbone_cli.pipeline.request import Request
from backbone_cli.pipeline.run import run

from .stub import StubEngine


def main() -> None:
    model, photos, output = sys.argv[1:]
    job = prepare(Request(model=model, inputs=(photos,), output=output, random_init=True, workers=0))
    for _ in run(job, lambda: StubEngine(job.stages)):
        pass
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()
