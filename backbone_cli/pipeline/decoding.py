"""From files to pixels, in child processes: a decoder that crashes costs its image and nothing else.

A child is a bare interpreter without torch. It gets one image at a time, so it is always clear which one crashed it. A
thread of this process waits for each child; with `--workers 0` there are no children, and the thread decodes itself.
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
    from ..output.formats import Array
    from ..output.records import Item


ATTEMPTS = 2
"""A child may have died for another reason than its image: the kernel may kill any process."""


@dataclass(frozen=True)
class Pixels:
    """One image as the model's processor leaves it, before normalizing."""

    array: Array
    """Bytes (H, W, C), or floats (C, H, W) that are model input already."""
    seconds: float

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return image_size(self.array)


@dataclass(frozen=True)
class Decoder:
    """Reads an image and applies the resizing and cropping of a processor."""

    processor: ImageProcessor
    max_pixels: int
    fast: bool = False

    def __call__(self, item: Item) -> Array:
        from ..images.decode import decode

        source = Path(item.path) if item.span is None else read_span(item.path, *item.span)
        image = decode(source, max_pixels=self.max_pixels, draft=self.processor.draft if self.fast else None)
        return self.processor.resize_and_crop(image, fast=self.fast)


def read_span(path: str, offset: int, size: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(size)


class DecoderPool:
    """Decodes several images at a time; `submit` returns a future of Pixels, which may raise ImageError."""

    def __init__(self, decoder: Callable[[Item], Array], children: int) -> None:
        self.decoder = decoder
        self.processes: set[DecoderProcess] = set()
        self.use_children = children > 0
        self.closed = False
        self.local = threading.local()
        self.threads = ThreadPoolExecutor(max(1, children), thread_name_prefix="decode")

    def submit(self, item: Item) -> Future[Pixels]:
        return self.threads.submit(self.read, item)

    def read(self, item: Item) -> Pixels:
        if not self.use_children:
            return decode_timed(self.decoder, item)
        for _ in range(ATTEMPTS):
            child = self.child()
            answer: Pixels | BaseException | None = child.ask(item)
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                return answer
            self.local.child = None
            ended = self.drop(child)
        raise ImageError(f"'{item.source}' can't be decoded: the decoder crashed on it ({ended}).")

    def child(self) -> DecoderProcess:
        """This thread's child process."""
        child: DecoderProcess | None = getattr(self.local, "child", None)
        if child is None:
            child = self.local.child = self.start()
        return child

    def start(self) -> DecoderProcess:
        for _ in range(ATTEMPTS):
            if self.closed:
                raise CancelledError
            child = DecoderProcess()
            self.processes.add(child)
            if child.ask(self.decoder):
                return child
            ended = self.drop(child)
        raise BackboneError(f"The image decoder process can't be started ({ended}); try --workers 0.")

    def drop(self, child: DecoderProcess) -> str:
        """Remove a child that no longer answers, and return how it ended."""
        self.processes.discard(child)
        return child.end()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *error: object) -> None:
        """Stop at once, dropping what is being decoded."""
        self.closed = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        for child in list(self.processes):
            child.process.kill()  # but don't close its pipes: a thread may be reading them
        self.threads.shutdown()
        for child in self.processes:  # including any that a thread was just starting
            child.end()


class DecoderProcess:
    """A child process that decodes. It reads and writes pickles on its standard streams, and ends when they close.

    The first message to it is the decoder; each one after that is an image.
    """

    def __init__(self) -> None:
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        code = f"from {__name__} import serve; serve()"
        self.process = start_interpreter(code, stderr=subprocess.DEVNULL, env=os.environ | one_thread)

    def ask(self, message: object) -> Any:
        """Send a message and return the answer; None if the process has ended."""
        assert self.process.stdout
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            send(self.process.stdin, message)
            return pickle.load(self.process.stdout)
        return None

    def end(self) -> str:
        """End the process, and return how it ended."""
        self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def image_size(pixels: Array) -> tuple[int, int]:
    """(H, W) of an image: bytes are (H, W, C), floats are (C, H, W)."""
    height, width = pixels.shape[:2] if pixels.dtype.kind == "u" else pixels.shape[1:]
    return height, width


def start_interpreter(code: str, **kwargs: Any) -> subprocess.Popen[bytes]:
    """A bare interpreter with this one's module search path."""
    code = f"import sys; sys.path[:] = {sys.path!r}; {code}"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kwargs)


def claim_stdout() -> IO[bytes]:
    """Reserve standard output for answers: anything that a library prints goes to standard error."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def serve() -> None:
    """The main function of a child process: a decoder, then images until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    questions, answers = sys.stdin.buffer, claim_stdout()
    with suppress(EOFError, BrokenPipeError):
        decoder = pickle.load(questions)
        send(answers, "ready")
        while True:
            item = pickle.load(questions)
            try:
                send(answers, decode_timed(decoder, item))
            except (BackboneError, MemoryError) as error:
                send(answers, error)


def send(stream: IO[bytes] | None, message: object) -> None:
    assert stream
    pickle.dump(message, stream, protocol=5)
    stream.flush()


def decode_timed(decoder: Callable[[Item], Array], item: Item) -> Pixels:
    start = time.perf_counter()
    try:
        return Pixels(decoder(item), time.perf_counter() - start)
    except MemoryError as error:
        raise ImageError(f"'{item.source}' can't be decoded: there is not enough memory.") from error
