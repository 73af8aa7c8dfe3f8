"""Decoding in child processes: each image gives pixels or an error, even if a child crashes."""

from __future__ import annotations

import os
import signal
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from backbone_cli.errors import BackboneError, ImageError
from backbone_cli.output.records import Item
from backbone_cli.pipeline.decoding import DecoderPool

from .stub import extract, tree


def decoder(item: Item) -> np.ndarray:
    """Behaves as the item's name tells it to."""
    if item.name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item.name == "exit":
        os._exit(3)
    if item.name == "hang":
        signal.pause()
    if item.name == "image error":
        raise ImageError("It is not an image.")
    if item.name == "bug":
        raise ZeroDivisionError
    if item.name == "print":
        print("libsomething: warning", flush=True)
    if item.name == "out of memory":
        raise MemoryError
    return np.full((4, 4, 3), len(item.name), np.uint8)


class UnreadableDecoder:
    """A decoder that can be pickled but not unpickled."""

    def __reduce__(self):
        return int, ("not a number",)


def item(name: str) -> Item:
    return Item(name, name, name)


@pytest.mark.parametrize("children", [0, 2])
def test_errors_of_an_image_reach_the_caller(children):
    with DecoderPool(decoder, children) as decoders:
        futures = [decoders.submit(item(name)) for name in ("good", "image error", "out of memory", "print")]
        assert futures[0].result().array.tolist() == np.full((4, 4, 3), 4).tolist()
        with pytest.raises(ImageError, match=r"It is not an image\."):
            futures[1].result()
        with pytest.raises(ImageError, match="not enough memory"):
            futures[2].result()
        assert futures[3].result().array.shape == (4, 4, 3)


def test_crash_only_affects_its_image():
    names = ["good", "crash", "other", "exit", "fine", "bug", "last"]
    with DecoderPool(decoder, 2) as decoders:
        futures = {name: decoders.submit(item(name)) for name in names}
        for name, future in futures.items():
            if name in ("crash", "exit", "bug"):
                with pytest.raises(ImageError, match=f"'{name}' can't be decoded: the decoder crashed on it"):
                    future.result()
            else:
                assert future.result().array.max() == len(name)
        assert "signal 11" in str(futures["crash"].exception())


def test_decoder_killed_from_outside_is_restarted():
    with DecoderPool(decoder, 1) as decoders:
        assert decoders.submit(item("good")).result().array.max() == 4
        (child,) = decoders.processes
        child.process.kill()
        assert decoders.submit(item("better")).result().array.max() == 6
        assert decoders.processes != {child}


class DecoderKilledOnce:
    """A decoder that kills the first child process that receives it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __setstate__(self, state):
        self.__dict__.update(state)
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, item: Item) -> np.ndarray:
        return decoder(item)


def test_decoder_killed_while_starting_is_restarted(tmp_path):
    with DecoderPool(DecoderKilledOnce(tmp_path / "marker"), 1) as decoders:
        assert decoders.submit(item("good")).result().array.max() == 4
    assert (tmp_path / "marker").exists()


def test_decoder_that_can_not_start_is_an_error():
    with DecoderPool(UnreadableDecoder(), 1) as decoders, pytest.raises(BackboneError, match="--workers 0"):
        decoders.submit(item("a")).result()


def test_closing_does_not_wait_for_pending_images():
    with DecoderPool(decoder, 1) as decoders:
        first, endless, next_one = (decoders.submit(item(name)) for name in ("good", "hang", "good"))
        first.result()
    assert isinstance(endless.exception(), CancelledError)
    assert next_one.cancelled()


def test_number_of_workers_does_not_change_the_output(model, photos, out):
    extract(photos, model=model, output=str(out))
    extract(photos, model=model, output=f"{out}-2", workers=2)
    assert tree(out) == tree(f"{out}-2")
