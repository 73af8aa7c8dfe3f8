"""From files to pixels, in child processes: a decoder that crashes takes its image with it, and nothing else.

A child is a bare interpreter without torch. It gets one image at a time, so there is never a doubt which one it died
of. A thread of ours waits for each child; with no children (`--workers 0`) the thread decodes by itself.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import BackboneError, ImageError

if TYPE_CHECKING:
    from ..images.processor import ImageProcessor
    from .formats import Array
    from .sources import Item


ATTEMPTS = 2
"""A child may have died of something else than what it was given: the kernel kills whom it likes."""


@dataclass(frozen=True)
class Pixels:
    """One image as the model's processor leaves it, before normalising."""

    array: Array
    """H W C, of bytes; of floats where the processor leaves nothing to be done."""
    seconds: float


@dataclass(frozen=True)
class Decoder:
    processor: ImageProcessor
    max_pixels: int
    fast: bool = False

    def __call__(self, item: Item) -> Array:
        from ..images.decode import decode

        source = Path(item.path) if item.span is None else read_span(item.path, *item.span)
        image = decode(source, max_pixels=self.max_pixels, draft=self.processor.draft if self.fast else None)
        return self.processor.geometry(image, fast=self.fast)


def read_span(path: str, offset: int, size: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(size)


class Decoding:
    """Several images at a time; `submit` hands over a Future of Pixels, or of the ImageError."""

    def __init__(self, decoder: Callable[[Item], Array], children: int) -> None:
        self.decoder = decoder
        self.children: set[Child] = set()
        self.use_children = children > 0
        self.closed = False
        self.mine = threading.local()
        self.threads = ThreadPoolExecutor(max(1, children), thread_name_prefix="decode")

    def submit(self, item: Item) -> Future[Pixels]:
        return self.threads.submit(self.read, item)

    def read(self, item: Item) -> Pixels:
        if not self.use_children:
            return timed(self.decoder, item)
        for _ in range(ATTEMPTS):
            child = self.child()
            answer: Pixels | BaseException | None = child.ask(item)
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                return answer
            self.mine.child = None
            ended = self.drop(child)
        raise ImageError(f"'{item.source}' can't be decoded: the decoder crashed on it ({ended}).")

    def child(self) -> Child:
        """The one of this thread."""
        child: Child | None = getattr(self.mine, "child", None)
        if child is None:
            child = self.mine.child = self.start()
        return child

    def start(self) -> Child:
        for _ in range(ATTEMPTS):
            if self.closed:
                raise CancelledError
            child = Child()
            self.children.add(child)
            if child.ask(self.decoder):
                return child
            ended = self.drop(child)
        raise BackboneError(f"The process that decodes images can't be started ({ended}); try --workers 0.")

    def drop(self, child: Child) -> str:
        """Let go of one that does not answer any more, and say how it ended."""
        self.children.discard(child)
        return child.end()

    def __enter__(self) -> Decoding:
        return self

    def __exit__(self, *error: object) -> None:
        """Stop at once; what is being decoded is dropped."""
        self.closed = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        for child in list(self.children):
            child.process.kill()  # and no more: a thread may be reading what it says
        self.threads.shutdown()
        for child in self.children:  # with those that a thread was just starting
            child.end()


class Child:
    """A process that decodes. It speaks pickle through its standard streams, and ends when ours do.

    The first thing that it is told is the decoder; what follows are images.
    """

    def __init__(self) -> None:
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        code = f"from {__name__} import serve; serve()"
        self.process = child_process(code, stderr=subprocess.DEVNULL, env=os.environ | one_thread)

    def ask(self, what: object) -> Any:
        """The answer; None where there is none any more."""
        assert self.process.stdout
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            tell(self.process.stdin, what)
            return pickle.load(self.process.stdout)
        return None

    def end(self) -> str:
        """End it, and say how it ended."""
        self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def child_process(code: str, **kwargs: Any) -> subprocess.Popen[bytes]:
    """A bare interpreter that finds the modules that this one does."""
    code = f"import sys; sys.path[:] = {sys.path!r}; {code}"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kwargs)


def take_stdout() -> IO[bytes]:
    """Standard output for our answers alone: what a library prints must not get between them."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def serve() -> None:
    """The life of a child: a decoder, then images until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; our parent decides
    questions, answers = sys.stdin.buffer, take_stdout()
    with suppress(EOFError, BrokenPipeError):
        decoder = pickle.load(questions)
        tell(answers, "ready")
        while True:
            item = pickle.load(questions)
            try:
                tell(answers, timed(decoder, item))
            except (BackboneError, MemoryError) as error:
                tell(answers, error)


def tell(stream: IO[bytes] | None, what: object) -> None:
    assert stream
    pickle.dump(what, stream, protocol=5)
    stream.flush()


def timed(decoder: Callable[[Item], Array], item: Item) -> Pixels:
    start = time.perf_counter()
    try:
        return Pixels(decoder(item), time.perf_counter() - start)
    except MemoryError as error:
        raise ImageError(f"'{item.source}' can't be decoded: there is not enough memory for it.") from error
