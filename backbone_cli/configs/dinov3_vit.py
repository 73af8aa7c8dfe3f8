"""DINOv3 ViT: a plain ViT with registers, whose patches know their places by rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .plain import PlainConfig


@dataclass(kw_only=True)
class DINOv3ViTConfig(PlainConfig):
    model_type: ClassVar[str] = "dinov3_vit"
    keeps_prefix: ClassVar[bool] = False
    maps_are: ClassVar[str] = (
        "each block's patch tokens, normed by the model's last LayerNorm (where the config says not to, only the last)"
    )

    hidden_size: int = 384
    intermediate_size: int = 1536
    num_attention_heads: int = 6
    layer_norm_eps: float = 1e-5
    rope_theta: float = 100.0
    query_bias: bool = True
    key_bias: bool = False
    value_bias: bool = True
    proj_bias: bool = True
    mlp_bias: bool = True
    use_gated_mlp: bool = False
    num_register_tokens: int = 0
    apply_layernorm: bool = True

    def check(self) -> None:
        super().check()
        if self.head_dim % 4:
            raise ValueError(f"{self.head_dim} channels a head can't be turned in pairs for both rows and columns.")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def prefix(self) -> int:
        return 1 + self.num_register_tokens

    def normed(self, i: int) -> bool:
        """Whether the map of stage i is normed."""
        return self.apply_layernorm or i == self.num_hidden_layers
