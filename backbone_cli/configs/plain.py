"""Plain vision transformers: tokens of one width on one grid, from the first block to the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import UsageError
from .base import BackboneConfig
from .fields import IntOrPair, bounded, pair


@dataclass(kw_only=True)
class PlainConfig(BackboneConfig):
    partial_patches: ClassVar[str] = "cut"
    # Whether unreshaped tokens include the prefix tokens: the class token and registers.
    keeps_prefix_tokens: ClassVar[bool] = True

    hidden_size: int = bounded(768)
    num_hidden_layers: int = bounded(12, least=0)
    num_attention_heads: int = bounded(12)
    hidden_act: str = "gelu"
    layer_norm_eps: float = bounded(1e-6, least=0)
    image_size: IntOrPair = bounded(224)
    patch_size: IntOrPair = bounded(16)
    num_channels: int = bounded(3)
    # If False, a feature map is the token sequence itself: (B, N, C).
    reshape_hidden_states: bool = True

    def check(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by {self.num_attention_heads} attention heads."
            )

    @property
    def num_prefix_tokens(self) -> int:
        """How many tokens precede the patches."""
        return 1

    @property
    def num_suffix_tokens(self) -> int:
        """How many tokens follow the patches."""
        return 0

    @property
    def num_features(self) -> list[int]:
        return [self.hidden_size] * (self.num_hidden_layers + 1)

    @property
    def strides(self) -> list[int]:
        return [pair(self.patch_size)[0]] * len(self.num_features)

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of whole patches in an image of this size."""
        rows, cols = pair(self.patch_size)
        return height // rows, width // cols

    @property
    def takes_any_size(self) -> bool:
        """Whether the model takes images of other sizes than its own; if not, its positions can't be resized."""
        return True

    def check_size(self, height: int, width: int) -> None:
        """Raise UsageError for an image size that the model doesn't take."""
        own = self.default_size()
        if not self.takes_any_size and (height, width) != own:
            raise UsageError(
                f"This {self.model_type} model takes images of {own[0]}x{own[1]} pixels, not of {height}x{width}."
            )

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        self.check_size(height, width)
        return [self.patch_grid(height, width)] * len(self.num_features)

    def map_shapes(self, height: int, width: int) -> list[tuple[int, ...]]:
        if self.reshape_hidden_states:
            return super().map_shapes(height, width)
        rows, cols = self.patch_grid(height, width)
        others = self.num_prefix_tokens + self.num_suffix_tokens
        tokens = rows * cols + (others if self.keeps_prefix_tokens else 0)
        return [(tokens, channels) for channels in self.num_features]


@dataclass(kw_only=True)
class RotaryConfig(PlainConfig):
    """A plain ViT with rotary positions on two axes."""

    rope_theta: float = 10_000.0
    # The same in newer files.
    rope_parameters: dict[str, Any] | None = None

    def check(self) -> None:
        super().check()
        if self.head_dim % 4:
            raise ValueError(f"a head has {self.head_dim} channels; rotary positions on two axes need a multiple of 4.")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def theta(self) -> float:
        """The longest wavelength over the shortest."""
        return float((self.rope_parameters or {}).get("rope_theta", self.rope_theta))
