"""The image encoders of SAM (Kirillov et al. 2023), SAM-HQ (Ke et al. 2023) and SAM 3 (Carion et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .fields import IntOrPair, bounded
from .plain import PlainConfig, RotaryConfig


@dataclass(kw_only=True)
class WindowedConfig(PlainConfig):
    """A plain ViT for images of one size, most of whose blocks attend within windows."""

    map_description: ClassVar[str] = "each block's output, with no norm after it"
    supported: ClassVar = {"reshape_hidden_states": (True,)}

    window_size: int = bounded(14, least=0)
    global_attn_indexes: Sequence[int] | None = None
    usual_global_blocks: ClassVar[tuple[int, ...]] = (2, 5, 8, 11)

    @property
    def num_prefix_tokens(self) -> int:
        return 0

    @property
    def takes_any_size(self) -> bool:
        return False

    def window(self, i: int) -> int:
        """The window side of block i in patches; 0 for global attention."""
        indexes = self.usual_global_blocks if self.global_attn_indexes is None else self.global_attn_indexes
        return 0 if i in indexes else self.window_size


@dataclass(kw_only=True)
class SamVisionConfig(WindowedConfig):
    """SAM's image encoder; its last stage, `neck`, is what the mask decoder is given."""

    model_type: ClassVar[str] = "sam_vision_model"
    map_description: ClassVar[str] = "each block's output, with no norm after it; then that of the neck's convolutions"

    image_size: IntOrPair = bounded(1024)
    output_channels: int = bounded(256)
    qkv_bias: bool = True
    mlp_ratio: float = bounded(4, least=0)
    mlp_dim: int | None = bounded(None)
    use_abs_pos: bool = True
    use_rel_pos: bool = True

    @property
    def stage_names(self) -> list[str]:  # type: ignore[override]  # an attribute of the mixin; derived here
        return ["stem", *(f"stage{i + 1}" for i in range(self.num_hidden_layers)), "neck"]

    @property
    def num_features(self) -> list[int]:
        return [*super().num_features, self.output_channels]

    @property
    def mlp_size(self) -> int:
        """Channels inside an MLP."""
        return int(self.hidden_size * self.mlp_ratio) if self.mlp_dim is None else self.mlp_dim

    @property
    def use_relative_position_embeddings(self) -> bool:
        return self.use_rel_pos


@dataclass(kw_only=True)
class SamHQVisionConfig(SamVisionConfig):
    """SAM-HQ's image encoder."""

    model_type: ClassVar[str] = "sam_hq_vision_model"


@dataclass(kw_only=True)
class Sam3ViTConfig(WindowedConfig, RotaryConfig):
    """SAM 3's ViT: rotary positions, and a table of positions that is repeated across the image."""

    model_type: ClassVar[str] = "sam3_vit_model"
    usual_global_blocks: ClassVar[tuple[int, ...]] = (7, 15, 23, 31)

    hidden_size: int = bounded(1024)
    intermediate_size: int = bounded(4736)
    num_hidden_layers: int = bounded(32, least=0)
    num_attention_heads: int = bounded(16)
    image_size: IntOrPair = bounded(1008)
    patch_size: IntOrPair = bounded(14)
    pretrain_image_size: IntOrPair = bounded(336)
    window_size: int = bounded(24, least=0)
