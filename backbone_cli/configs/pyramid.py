"""What Swin, Swin v2, NAT and DiNAT share: a transformer whose stages halve the map and double the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, check_same_length, doubling
from .fields import IntOrPair, bounded, pair


@dataclass(kw_only=True)
class PyramidConfig(BackboneConfig):
    aliases: ClassVar = {"num_attention_heads": "num_heads"}

    patch_size: IntOrPair = bounded(4)
    num_channels: int = bounded(3)
    embed_dim: int = bounded(96)
    depths: Sequence[int] = bounded((2, 2, 6, 2), least=0)
    num_heads: Sequence[int] = bounded((3, 6, 12, 24))
    mlp_ratio: float = bounded(4.0, least=0)
    qkv_bias: bool = True
    hidden_act: str = "gelu"
    layer_norm_eps: float = bounded(1e-5, least=0)

    def check(self) -> None:
        check_same_length(depths=self.depths, num_heads=self.num_heads)

    @property
    def widths(self) -> list[int]:
        return doubling(self.embed_dim, len(self.depths))

    @property
    def num_features(self) -> list[int]:
        return [self.embed_dim, *self.widths]

    @property
    def strides(self) -> list[int]:
        patch = pair(self.patch_size)[0]
        return [patch, *doubling(patch, len(self.depths))]
