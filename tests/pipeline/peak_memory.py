"""How much memory a run takes at most: `python -m tests.pipeline.frugal MODEL PHOTOS OUTPUT` prints kilobytes."""

from __future__ import annotations

import sys
from pathlib import Path

from backbone_cli.pipeline.prepare import prepare
from backbone_cli.pipeline.request import Request
from backbone_cli.pipeline.run import run

from .stub import Engine


def main() -> None:
    model, photos, output = sys.argv[1:]
    job = prepare(Request(model=model, inputs=(photos,), output=output, random_init=True, workers=0))
    for _ in run(job, lambda: Engine(job.stages)):
        pass
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()
