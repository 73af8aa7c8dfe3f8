"""ViTDet: a plain ViT for detection, most of whose blocks attend within windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .fields import IntOrPair, bounded
from .plain import PlainConfig


@dataclass(kw_only=True)
class VitDetConfig(PlainConfig):
    model_type: ClassVar[str] = "vitdet"
    map_description: ClassVar[str] = "each block's output, with no norm after it"
    supported: ClassVar = {"reshape_hidden_states": (True,)}

    pretrain_image_size: IntOrPair = bounded(224)
    mlp_ratio: float = bounded(4, least=0)
    qkv_bias: bool = True
    window_block_indices: Sequence[int] = ()
    residual_block_indices: Sequence[int] = ()
    use_absolute_position_embeddings: bool = True
    use_relative_position_embeddings: bool = False
    window_size: int = bounded(0, least=0)

    def window(self, i: int) -> int:
        """The window side of block i in patches; 0 for global attention."""
        return self.window_size if i in self.window_block_indices else 0
