"""The main job as one call: images in, features on disk, a result to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..hub import ModelName, model_name
from ..output.records import Finished
from .events import Event
from .prepare import Job, prepare
from .request import Request
from .start import start

if TYPE_CHECKING:
    from ..output.reader import Features

Paths = str | Path | Sequence[str | Path]


@dataclass
class ExtractResult:
    """What came of a run."""

    output: str
    counts: Counter[str] = field(default_factory=Counter)
    """Status (`done`, `failed`, `skipped`) -> number of images."""
    failures: dict[str, str] = field(default_factory=dict)
    """Source -> error, for the images that failed."""
    bytes: Counter[str] = field(default_factory=Counter)
    """Stage -> bytes written."""

    @property
    def done(self) -> int:
        return self.counts["done"]

    @property
    def failed(self) -> int:
        return self.counts["failed"]

    @property
    def skipped(self) -> int:
        """Images that an earlier run had done."""
        return self.counts["skipped"]

    def add(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.counts[event.status] += 1
            self.bytes.update(event.bytes)
            if event.error:
                self.failures[event.source] = event.error

    def open_features(self) -> Features:
        """The features that the run, and earlier runs in the same folder, wrote."""
        from ..output.reader import open_features

        return open_features(self.output)


def extract(
    model: ModelName,
    inputs: Paths,
    *,
    out_indices: Sequence[int] | str | None = None,
    out_features: Sequence[str] | str | None = None,
    output: str | Path = Request.output,
    on_event: Callable[[Event], object] | None = None,
    **options: Any,
) -> ExtractResult:
    """Extract feature maps of images and write them to files, like `backbone extract`.

    >>> result = extract("facebook/dinov2-small", "photos/", out_indices=[3, 6, 9, 12], output="features")
    >>> result.done, result.failures
    >>> result.open_features()["a/1"]["stage12"]

    `inputs` are images, folders or .tar files. `options` are the fields of `Request`, which are the options of
    `backbone extract`: `format="safetensors"`, `dtype="bfloat16"`, `batch_size=16`, ... Running the same call again
    resumes. `on_event` is called with each event of the run: a `Started`, then a `Finished` for each image.

    An image that can't be read doesn't stop the run; it is counted in `failed`, with its error in `failures`. Whatever
    makes the run itself impossible raises a `BackboneError`.
    """
    request = Request(
        model=model_name(model),
        inputs=(str(inputs),) if isinstance(inputs, str | Path) else tuple(map(str, inputs)),
        out_indices=as_texts(out_indices),
        out_features=as_texts(out_features),
        output=str(output),
        **options,
    )
    return run_job(prepare(request), on_event)


def run_job(job: Job, on_event: Callable[[Event], object] | None = None) -> ExtractResult:
    """Run a prepared job to its end."""
    result = ExtractResult(job.request.output)
    with closing(start(job)) as events:
        for event in events:
            result.add(event)
            if on_event:
                on_event(event)
    return result


def as_texts(choice: Sequence[int] | Sequence[str] | str | None) -> tuple[str, ...]:
    """A choice of stages in the form of the command line: a string, or a sequence of names or indices."""
    if choice is None:
        return ()
    return (choice,) if isinstance(choice, str) else tuple(map(str, choice))
