"""Children that decode: they come back with pixels or an error, or not at all."""

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
    """Does what the item's name says."""
    if item.name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item.name == "exit":
        os._exit(3)
    if item.name == "hang":
        signal.pause()
    if item.name == "refuse":
        raise ImageError("It is no image.")
    if item.name == "stumble":
        raise ZeroDivisionError
    if item.name == "talk":
        print("libsomething: warning", flush=True)
    if item.name == "fill":
        raise MemoryError
    return np.full((4, 4, 3), len(item.name), np.uint8)


class Broken:
    """A decoder that can be sent to a child, and not be received there."""

    def __reduce__(self):
        return int, ("no number",)


def item(name: str) -> Item:
    return Item(name, name, name)


@pytest.mark.parametrize("children", [0, 2])
def test_errors_are_values(children):
    with DecoderPool(decoder, children) as decoding:
        futures = [decoding.submit(item(name)) for name in ("good", "refuse", "fill", "talk")]
        assert futures[0].result().array.tolist() == np.full((4, 4, 3), 4).tolist()
        with pytest.raises(ImageError, match=r"It is no image\."):
            futures[1].result()
        with pytest.raises(ImageError, match="not enough memory"):
            futures[2].result()
        assert futures[3].result().array.shape == (4, 4, 3)


def test_a_crash_takes_its_image_and_nothing_else():
    names = ["good", "crash", "other", "exit", "fine", "stumble", "last"]
    with DecoderPool(decoder, 2) as decoding:
        futures = {name: decoding.submit(item(name)) for name in names}
        for name, future in futures.items():
            if name in ("crash", "exit", "stumble"):
                with pytest.raises(ImageError, match=f"'{name}' can't be decoded: the decoder crashed on it"):
                    future.result()
            else:
                assert future.result().array.max() == len(name)
        assert "signal 11" in str(futures["crash"].exception())


def test_a_child_that_is_killed_from_outside():
    with DecoderPool(decoder, 1) as decoding:
        assert decoding.submit(item("good")).result().array.max() == 4
        (child,) = decoding.children
        child.process.kill()
        assert decoding.submit(item("better")).result().array.max() == 6
        assert decoding.children != {child}


class KilledOnce:
    """A decoder that takes the first child down with it when it arrives there."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __setstate__(self, state):
        self.__dict__.update(state)
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, item: Item) -> np.ndarray:
        return decoder(item)


def test_a_child_that_is_killed_while_it_starts(tmp_path):
    with DecoderPool(KilledOnce(tmp_path / "mark"), 1) as decoding:
        assert decoding.submit(item("good")).result().array.max() == 4
    assert (tmp_path / "mark").exists()


def test_children_that_cannot_start():
    with DecoderPool(Broken(), 1) as decoding, pytest.raises(BackboneError, match="--workers 0"):
        decoding.submit(item("a")).result()


def test_closing_does_not_wait():
    with DecoderPool(decoder, 1) as decoding:
        first, endless, next_one = (decoding.submit(item(name)) for name in ("good", "hang", "good"))
        first.result()
    assert isinstance(endless.exception(), CancelledError)
    assert next_one.cancelled()


def test_workers_do_not_change_what_is_written(model, photos, out):
    extract(photos, model=model, output=str(out))
    extract(photos, model=model, output=f"{out}-2", workers=2)
    assert tree(out) == tree(f"{out}-2")
