"""NAT: attention of every pixel to its neighbours, in a pyramid of four levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, doubling, same_length


@dataclass(kw_only=True)
class NatConfig(BackboneConfig):
    model_type: ClassVar[str] = "nat"
    aliases: ClassVar = {"num_attention_heads": "num_heads"}
    only: ClassVar = {"patch_size": (4,)}
    maps_are: ClassVar[str] = "each level's output before downsampling, normed by the level's own LayerNorm"

    patch_size: int = 4
    num_channels: int = 3
    embed_dim: int = 64
    depths: Sequence[int] = (3, 4, 6, 5)
    num_heads: Sequence[int] = (2, 4, 8, 16)
    kernel_size: int = 7
    mlp_ratio: float = 3.0
    qkv_bias: bool = True
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    layer_scale_init_value: float = 0.0

    def check(self) -> None:
        same_length(depths=self.depths, num_heads=self.num_heads)
        check_kernel(self.kernel_size)

    @property
    def dilations(self) -> list[list[int]]:
        """One for each layer of each level: here, neighbours are next to one another."""
        return [[1] * depth for depth in self.depths]

    @property
    def widths(self) -> list[int]:
        return doubling(self.embed_dim, len(self.depths))

    @property
    def num_features(self) -> list[int]:
        return [self.embed_dim, *self.widths]

    @property
    def strides(self) -> list[int]:
        return [4, *doubling(4, len(self.depths))]


def check_kernel(kernel: int) -> None:
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel_size must be odd, so that a neighbourhood has a middle, and is {kernel}.")
