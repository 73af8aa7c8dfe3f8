"""RT-DETR's ResNet: a deep stem, and shortcuts that average-pool when they halve the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .resnet import ResNetConfig


@dataclass(kw_only=True)
class RTDetrResNetConfig(ResNetConfig):
    """ResNet's settings, for the variant known as ResNet-D."""

    model_type: ClassVar[str] = "rt_detr_resnet"
    deep: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        widens = self.embedding_size != self.hidden_sizes[0]
        if widens and self.layer_type == "basic" and not self.downsample_in_first_stage:
            raise ValueError("basic layers can't widen a stage that does not halve the map.")
