"""NAT: attention of every pixel to its neighbours, in a pyramid of four levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .fields import bounded
from .pyramid import PyramidConfig


@dataclass(kw_only=True)
class NatConfig(PyramidConfig):
    model_type: ClassVar[str] = "nat"
    supported: ClassVar = {"patch_size": (4,)}
    map_description: ClassVar[str] = "each level's output before downsampling, normed by the level's own LayerNorm"

    embed_dim: int = bounded(64)
    depths: Sequence[int] = bounded((3, 4, 6, 5), least=0)
    num_heads: Sequence[int] = bounded((2, 4, 8, 16))
    kernel_size: int = bounded(7)
    mlp_ratio: float = bounded(3.0, least=0)
    layer_scale_init_value: float = 0.0

    def check(self) -> None:
        super().check()
        check_kernel(self.kernel_size)

    @property
    def dilations(self) -> list[list[int]]:
        """One per layer of each level; NAT's neighbourhoods are not dilated."""
        return [[1] * depth for depth in self.depths]


def check_kernel(kernel: int) -> None:
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel_size must be odd, not {kernel}.")
