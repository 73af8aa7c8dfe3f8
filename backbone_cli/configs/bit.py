"""BiT: a ResNet with GroupNorm and standardized weights, with norms before or after convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import ClassVar

from .base import BackboneConfig, check_long_enough
from .fields import bounded


@dataclass(kw_only=True)
class BitConfig(BackboneConfig):
    model_type: ClassVar[str] = "bit"
    # "VALID" padding would make a layer's map smaller than the input it is added to.
    supported: ClassVar = {"layer_type": ("preactivation", "bottleneck"), "global_padding": (None, "same", "SAME")}
    map_description: ClassVar[str] = (
        "each stage's output; preactivation layers leave it without a norm and an activation"
    )

    num_channels: int = bounded(3)
    embedding_size: int = bounded(64)
    hidden_sizes: Sequence[int] = bounded((256, 512, 1024, 2048))
    depths: Sequence[int] = bounded((3, 4, 6, 3), least=0)
    layer_type: str = "preactivation"
    hidden_act: str = "relu"
    global_padding: str | None = None
    num_groups: int = bounded(32)
    embedding_dynamic_padding: bool = False
    output_stride: int = bounded(32)
    width_factor: int = bounded(1)

    def check(self) -> None:
        check_long_enough(len(self.depths), hidden_sizes=self.hidden_sizes)
        for width in (self.embedding_size, *self.widths, *map(bottleneck_width, self.widths)):
            if width % self.num_groups:
                raise ValueError(f"num_groups is {self.num_groups}, but a width of {width} is not divisible by it.")

    @property
    def pads_same(self) -> bool:
        """Whether padding follows TensorFlow: only as much as needed, and more at the bottom and right."""
        return self.global_padding is not None

    @property
    def widths(self) -> list[int]:
        return [round_to_8(width * self.width_factor) for width in self.hidden_sizes[: len(self.depths)]]

    @property
    def steps(self) -> list[tuple[int, int]]:
        """Stride and dilation of every stage: once `output_stride` is reached, dilation grows instead of the stride."""
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

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        return list(zip(self.side_lengths(height), self.side_lengths(width), strict=True))

    def side_lengths(self, pixels: int) -> list[int]:
        """One side of every stage's map, for an image side of this many pixels."""
        pooled = -(-pixels // 2) + (0 if self.pads_same else 2)
        stem = -(-pooled // 2) if self.embedding_dynamic_padding else (pooled - 1) // 2
        return [-(-stem * 4 // stride) for stride in self.strides]


def round_to_8(value: float) -> int:
    """The nearest multiple of 8 that is at least 90% of the value."""
    nearest = max(8, int(value + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * value else nearest + 8


def bottleneck_width(width: int) -> int:
    """The width inside a bottleneck."""
    return round_to_8(width / 4)
