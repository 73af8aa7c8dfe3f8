"""DINOv2: a plain ViT, trained without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Size
from .plain import PlainConfig


@dataclass(kw_only=True)
class Dinov2Config(PlainConfig):
    model_type: ClassVar[str] = "dinov2"
    maps_are: ClassVar[str] = (
        "each block's patch tokens, normed by the model's last LayerNorm unless the config says not to"
    )

    patch_size: Size = 14
    mlp_ratio: float = 4
    qkv_bias: bool = True
    use_swiglu_ffn: bool = False
    apply_layernorm: bool = True
