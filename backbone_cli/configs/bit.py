"""BiT: a ResNet with GroupNorm and standardized weights, in two orders of norm and convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import ClassVar

from .base import BackboneConfig, enough


@dataclass(kw_only=True)
class BitConfig(BackboneConfig):
    model_type: ClassVar[str] = "bit"
    # "VALID" would shrink a layer's map beside the input that it is added to.
    only: ClassVar = {"layer_type": ("preactivation", "bottleneck"), "global_padding": (None, "same", "SAME")}
    maps_are: ClassVar[str] = "each stage's output; preactivation layers leave it without a norm and an activation"

    num_channels: int = 3
    embedding_size: int = 64
    hidden_sizes: Sequence[int] = (256, 512, 1024, 2048)
    depths: Sequence[int] = (3, 4, 6, 3)
    layer_type: str = "preactivation"
    hidden_act: str = "relu"
    global_padding: str | None = None
    num_groups: int = 32
    embedding_dynamic_padding: bool = False
    output_stride: int = 32
    width_factor: int = 1

    def check(self) -> None:
        enough(len(self.depths), hidden_sizes=self.hidden_sizes)
        for width in (self.embedding_size, *self.widths, *map(narrow, self.widths)):
            if width % self.num_groups:
                raise ValueError(f"num_groups is {self.num_groups}, which does not divide a width of {width}.")

    @property
    def pads_same(self) -> bool:
        """Whether maps are padded as TensorFlow does: only where they must be, and more to the right and below."""
        return self.global_padding is not None

    @property
    def widths(self) -> list[int]:
        return [to_eights(width * self.width_factor) for width in self.hidden_sizes[: len(self.depths)]]

    @property
    def steps(self) -> list[tuple[int, int]]:
        """Stride and dilation of every stage: once `output_stride` is reached, dilation grows in place of strides."""
        steps, total, dilation = [], 4, 1
        for i in range(len(self.depths)):
            stride = 2 if i else 1
            if total >= self.output_stride:
                stride, dilation = 1, dilation * stride
            steps.append((stride, dilation))
            total *= stride
        return steps

    @property
    def num_features(self) -> list[int]:
        return [self.embedding_size, *self.widths]

    @property
    def strides(self) -> list[int]:
        return list(accumulate((stride for stride, _ in self.steps), mul, initial=4))

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        return list(zip(self.lengths(height), self.lengths(width), strict=True))

    def lengths(self, pixels: int) -> list[int]:
        """One side of every stage's map, for an image of so many pixels."""
        pooled = -(-pixels // 2) + (0 if self.pads_same else 2)
        stem = -(-pooled // 2) if self.embedding_dynamic_padding else (pooled - 1) // 2
        return [-(-stem * 4 // stride) for stride in self.strides]


def to_eights(value: float) -> int:
    """The nearest multiple of 8 that is not less than nine tenths of the value."""
    nearest = max(8, int(value + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * value else nearest + 8


def narrow(width: int) -> int:
    """The width inside a layer."""
    return to_eights(width / 4)
