"""DINOv2: a plain ViT, trained without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .fields import IntOrPair, bounded
from .plain import PlainConfig


@dataclass(kw_only=True)
class Dinov2Config(PlainConfig):
    model_type: ClassVar[str] = "dinov2"
    map_description: ClassVar[str] = (
        "each block's patch tokens, normed by the model's last LayerNorm unless the config says not to"
    )

    patch_size: IntOrPair = bounded(14)
    mlp_ratio: float = bounded(4, least=0)
    qkv_bias: bool = True
    use_swiglu_ffn: bool = False
    apply_layernorm: bool = True
