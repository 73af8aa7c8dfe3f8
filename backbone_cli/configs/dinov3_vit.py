"""DINOv3 ViT: a plain ViT with registers and rotary position embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .fields import bounded
from .plain import RotaryConfig


@dataclass(kw_only=True)
class DINOv3ViTConfig(RotaryConfig):
    model_type: ClassVar[str] = "dinov3_vit"
    keeps_prefix_tokens: ClassVar[bool] = False
    map_description: ClassVar[str] = (
        "each block's patch tokens, normed by the model's last LayerNorm (where the config says not to, only the last)"
    )

    hidden_size: int = bounded(384)
    intermediate_size: int = bounded(1536)
    num_attention_heads: int = bounded(6)
    layer_norm_eps: float = bounded(1e-5, least=0)
    rope_theta: float = 100.0
    query_bias: bool = True
    key_bias: bool = False
    value_bias: bool = True
    proj_bias: bool = True
    mlp_bias: bool = True
    use_gated_mlp: bool = False
    num_register_tokens: int = bounded(0, least=0)
    apply_layernorm: bool = True

    @property
    def num_prefix_tokens(self) -> int:
        return 1 + self.num_register_tokens

    def normed(self, i: int) -> bool:
        """Whether the map of stage i is normed."""
        return self.apply_layernorm or i == self.num_hidden_layers
