"""Swin v2: Swin with cosine attention, and position biases that a small network computes for any window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import check_long_enough
from .fields import IntOrPair, bounded, pair
from .pyramid import PyramidConfig


@dataclass(kw_only=True)
class Swinv2Config(PyramidConfig):
    model_type: ClassVar[str] = "swinv2"
    # transformers allocates one position too many, so none of its models run with them.
    supported: ClassVar = {"use_absolute_embeddings": (False,)}
    map_description: ClassVar[str] = "each stage's output, before patch merging"

    image_size: IntOrPair = bounded(224)
    window_size: int = bounded(7)
    pretrained_window_sizes: Sequence[int] = bounded((0, 0, 0, 0), least=0)
    use_absolute_embeddings: bool = False

    def check(self) -> None:
        stages = len(self.depths)
        super().check()
        check_long_enough(stages, pretrained_window_sizes=self.pretrained_window_sizes)
        if self.window(stages - 1)[0] < 1:
            raise ValueError(f"an image of {self.image_size} is too small for {stages} stages.")

    def window(self, i: int) -> tuple[int, int]:
        """A stage's window and shift. Both follow from the config's image height, whatever the actual image is.

        A stage with no more rows than a window has one window of that many rows, which doesn't shift.
        """
        rows = pair(self.image_size)[0] // pair(self.patch_size)[0] // 2**i
        return (rows, 0) if rows <= self.window_size else (self.window_size, self.window_size // 2)
