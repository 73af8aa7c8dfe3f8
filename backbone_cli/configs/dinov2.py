"""DINOv2 (Oquab et al. 2023, arXiv 2304.07193): a plain ViT trained by self-distillation between views of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .fields import IntOrPair, bounded
from .plain_vit import MlpRatioConfig


@dataclass(kw_only=True)
class Dinov2Config(MlpRatioConfig):
    model_type: ClassVar[str] = "dinov2"
    map_description: ClassVar[str] = (
        "each block's patch tokens, normed by the model's last LayerNorm unless the config says not to"
    )

    patch_size: IntOrPair = bounded(14)
    qkv_bias: bool = True
    use_swiglu_ffn: bool = False
