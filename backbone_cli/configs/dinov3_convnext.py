"""DINOv3 ConvNext: a ConvNext distilled from DINOv3's ViT, whose stem is the image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, check_same_length, doubling
from .fields import IntOrPair, bounded


@dataclass(kw_only=True)
class DINOv3ConvNextConfig(BackboneConfig):
    model_type: ClassVar[str] = "dinov3_convnext"
    partial_patches: ClassVar[str] = "cut"
    map_description: ClassVar[str] = (
        "each stage's output, before the next stage's downsampling; the stem is the image itself"
    )

    image_size: IntOrPair = bounded(224)
    num_channels: int = bounded(3)
    hidden_sizes: Sequence[int] = bounded((96, 192, 384, 768))
    depths: Sequence[int] = bounded((3, 3, 9, 3), least=0)
    hidden_act: str = "gelu"
    layer_norm_eps: float = bounded(1e-6, least=0)

    def check(self) -> None:
        check_same_length(depths=self.depths, hidden_sizes=self.hidden_sizes)

    @property
    def num_features(self) -> list[int]:
        return [self.num_channels, *self.hidden_sizes]

    @property
    def strides(self) -> list[int]:
        return [1, *doubling(4, len(self.depths))]
