"""ConvNext: a ResNet's pyramid of layers built like a transformer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, check_long_enough, doubling
from .fields import IntOrPair, bounded, pair


@dataclass(kw_only=True)
class ConvNextShape(BackboneConfig):
    """What ConvNext and ConvNext V2 share."""

    aliases: ClassVar = {"num_hidden_layers": "num_stages"}
    partial_patches: ClassVar[str] = "cut"
    map_description: ClassVar[str] = (
        "each stage's output, before the next stage's downsampling, normed by the stage's own LayerNorm"
    )

    image_size: IntOrPair = bounded(224)
    patch_size: IntOrPair = bounded(4)
    num_channels: int = bounded(3)
    num_stages: int | None = bounded(None, least=0)
    hidden_sizes: Sequence[int] = bounded((96, 192, 384, 768))
    depths: Sequence[int] = bounded((3, 3, 9, 3), least=0)
    hidden_act: str = "gelu"

    def check(self) -> None:
        if self.num_stages is None:
            self.num_stages = len(self.depths)
        if self.num_stages != len(self.depths):
            raise ValueError(f"num_stages is {self.num_stages}, but depths has {len(self.depths)} values.")
        check_long_enough(len(self.depths), hidden_sizes=self.hidden_sizes)

    @property
    def widths(self) -> list[int]:
        return list(self.hidden_sizes[: len(self.depths)])

    @property
    def num_features(self) -> list[int]:
        return [self.widths[0], *self.widths]

    @property
    def strides(self) -> list[int]:
        patch = pair(self.patch_size)[0]
        return [patch, *doubling(patch, len(self.depths))]


@dataclass(kw_only=True)
class ConvNextConfig(ConvNextShape):
    model_type: ClassVar[str] = "convnext"

    layer_scale_init_value: float = 1e-6
