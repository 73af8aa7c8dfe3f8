"""Plain vision transformers: tokens of one width on one grid, from the first block to the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, Size, pair


@dataclass(kw_only=True)
class PlainConfig(BackboneConfig):
    partial_patches: ClassVar[str] = "cut"
    # Whether tokens that are not reshaped keep what stands before the patches: the class token, registers.
    keeps_prefix: ClassVar[bool] = True

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    image_size: Size = 224
    patch_size: Size = 16
    num_channels: int = 3
    # Without it a feature map is the row of tokens itself: (B, N, C).
    reshape_hidden_states: bool = True

    def check(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} does not divide into {self.num_attention_heads} attention heads."
            )

    @property
    def prefix(self) -> int:
        """How many tokens stand before the patches."""
        return 1

    @property
    def num_features(self) -> list[int]:
        return [self.hidden_size] * (self.num_hidden_layers + 1)

    @property
    def strides(self) -> list[int]:
        return [pair(self.patch_size)[0]] * (self.num_hidden_layers + 1)

    def patches(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of whole patches in an image of this size."""
        rows, cols = pair(self.patch_size)
        return height // rows, width // cols

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        return [self.patches(height, width)] * (self.num_hidden_layers + 1)

    def shapes(self, height: int, width: int) -> list[tuple[int, ...]]:
        if self.reshape_hidden_states:
            return super().shapes(height, width)
        rows, cols = self.patches(height, width)
        tokens = rows * cols + (self.prefix if self.keeps_prefix else 0)
        return [(tokens, channels) for channels in self.num_features]
