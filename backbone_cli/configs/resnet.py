"""ResNet: a convolutional stem, then stages of residual layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, check_same_length, doubling
from .fields import bounded


@dataclass(kw_only=True)
class ResNetConfig(BackboneConfig):
    model_type: ClassVar[str] = "resnet"
    supported: ClassVar = {"layer_type": ("basic", "bottleneck")}
    map_description: ClassVar[str] = "each stage's output, after its last activation"
    # Whether the stem has three small convolutions, and shortcuts average: see rt_detr_resnet.
    deep: ClassVar[bool] = False

    num_channels: int = bounded(3)
    embedding_size: int = bounded(64)
    hidden_sizes: Sequence[int] = bounded((256, 512, 1024, 2048))
    depths: Sequence[int] = bounded((3, 4, 6, 3), least=0)
    layer_type: str = "bottleneck"
    hidden_act: str = "relu"
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False

    def check(self) -> None:
        check_same_length(depths=self.depths, hidden_sizes=self.hidden_sizes)

    @property
    def num_features(self) -> list[int]:
        return [self.embedding_size, *self.hidden_sizes]

    @property
    def strides(self) -> list[int]:
        first = 8 if self.downsample_in_first_stage else 4
        return [4, *doubling(first, len(self.depths))]
