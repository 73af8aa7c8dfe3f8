"""What happens in a run, as one stream: progress, `--json` and the summary all observe it."""

from __future__ import annotations

from dataclasses import dataclass

from ..output.records import Finished


@dataclass(frozen=True)
class Started:
    """The run is about to compute."""

    total: int | None
    """The number of inputs, if it is known before reading them all."""


Event = Started | Finished
