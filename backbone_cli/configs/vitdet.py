"""ViTDet: a plain ViT for detection, most of whose blocks look through windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import LEAST, Size
from .plain import PlainConfig


@dataclass(kw_only=True)
class VitDetConfig(PlainConfig):
    model_type: ClassVar[str] = "vitdet"
    maps_are: ClassVar[str] = "each block's output, with no norm after it"
    only: ClassVar = {"reshape_hidden_states": (True,)}
    least: ClassVar = LEAST | {"window_size": 0}

    pretrain_image_size: Size = 224
    mlp_ratio: float = 4
    qkv_bias: bool = True
    window_block_indices: Sequence[int] = ()
    residual_block_indices: Sequence[int] = ()
    use_absolute_position_embeddings: bool = True
    use_relative_position_embeddings: bool = False
    window_size: int = 0

    def window(self, i: int) -> int:
        """The side of the windows of block i, in patches; 0 where it sees the whole image."""
        return self.window_size if i in self.window_block_indices else 0
