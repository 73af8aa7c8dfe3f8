"""Swin v2: Swin with attention by cosine, and biases that a small network gives for any window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import Size, enough, pair
from .pyramid import PyramidConfig


@dataclass(kw_only=True)
class Swinv2Config(PyramidConfig):
    model_type: ClassVar[str] = "swinv2"
    # transformers keeps a position too many, so that none of its models can run with them.
    only: ClassVar = {"use_absolute_embeddings": (False,)}
    maps_are: ClassVar[str] = "each stage's output, before patch merging"

    image_size: Size = 224
    window_size: int = 7
    pretrained_window_sizes: Sequence[int] = (0, 0, 0, 0)
    use_absolute_embeddings: bool = False

    def check(self) -> None:
        stages = len(self.depths)
        super().check()
        enough(stages, pretrained_window_sizes=self.pretrained_window_sizes)
        if self.window(stages - 1)[0] < 1:
            raise ValueError(f"an image of {self.image_size} leaves nothing of {stages} stages.")

    def window(self, i: int) -> tuple[int, int]:
        """The window of a stage, and its shift. Both are fixed by the rows of the image size named here, whatever the
        image at hand: where they are no more than a window, they are the window, and it doesn't shift."""
        rows = pair(self.image_size)[0] // pair(self.patch_size)[0] // 2**i
        return (rows, 0) if rows <= self.window_size else (self.window_size, self.window_size // 2)
