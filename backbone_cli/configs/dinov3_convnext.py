"""DINOv3 ConvNext: a ConvNext distilled from DINOv3's ViT, whose stem is the image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, Size, doubling, same_length


@dataclass(kw_only=True)
class DINOv3ConvNextConfig(BackboneConfig):
    model_type: ClassVar[str] = "dinov3_convnext"
    partial_patches: ClassVar[str] = "cut"
    maps_are: ClassVar[str] = "each stage's output, before the next stage's downsampling; the stem is the image itself"

    image_size: Size = 224
    num_channels: int = 3
    hidden_sizes: Sequence[int] = (96, 192, 384, 768)
    depths: Sequence[int] = (3, 3, 9, 3)
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6

    def check(self) -> None:
        same_length(depths=self.depths, hidden_sizes=self.hidden_sizes)

    @property
    def num_features(self) -> list[int]:
        return [self.num_channels, *self.hidden_sizes]

    @property
    def strides(self) -> list[int]:
        return [1, *doubling(4, len(self.depths))]
