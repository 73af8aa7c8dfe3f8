"""NAT: attention of every pixel to its neighbours, in a pyramid of four levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .pyramid import PyramidConfig


@dataclass(kw_only=True)
class NatConfig(PyramidConfig):
    model_type: ClassVar[str] = "nat"
    only: ClassVar = {"patch_size": (4,)}
    maps_are: ClassVar[str] = "each level's output before downsampling, normed by the level's own LayerNorm"

    embed_dim: int = 64
    depths: Sequence[int] = (3, 4, 6, 5)
    num_heads: Sequence[int] = (2, 4, 8, 16)
    kernel_size: int = 7
    mlp_ratio: float = 3.0
    layer_scale_init_value: float = 0.0

    def check(self) -> None:
        super().check()
        check_kernel(self.kernel_size)

    @property
    def dilations(self) -> list[list[int]]:
        """One for each layer of each level: here, neighbours are next to one another."""
        return [[1] * depth for depth in self.depths]


def check_kernel(kernel: int) -> None:
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel_size must be odd, so that a neighbourhood has a middle, and is {kernel}.")
