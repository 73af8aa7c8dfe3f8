"""Swin v2: Swin with attention by cosine, and biases that a small network gives for any window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, Size, doubling, enough, pair, same_length


@dataclass(kw_only=True)
class Swinv2Config(BackboneConfig):
    model_type: ClassVar[str] = "swinv2"
    aliases: ClassVar = {"num_attention_heads": "num_heads"}
    # transformers keeps a position too many, so that none of its models can run with them.
    only: ClassVar = {"use_absolute_embeddings": (False,)}
    maps_are: ClassVar[str] = "each stage's output, before patch merging"

    image_size: Size = 224
    patch_size: Size = 4
    num_channels: int = 3
    embed_dim: int = 96
    depths: Sequence[int] = (2, 2, 6, 2)
    num_heads: Sequence[int] = (3, 6, 12, 24)
    window_size: int = 7
    pretrained_window_sizes: Sequence[int] = (0, 0, 0, 0)
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    hidden_act: str = "gelu"
    use_absolute_embeddings: bool = False
    layer_norm_eps: float = 1e-5

    def check(self) -> None:
        stages = len(self.depths)
        same_length(depths=self.depths, num_heads=self.num_heads)
        enough(stages, pretrained_window_sizes=self.pretrained_window_sizes)
        if self.window(stages - 1)[0] < 1:
            raise ValueError(f"an image of {self.image_size} leaves nothing of {stages} stages.")

    @property
    def widths(self) -> list[int]:
        return doubling(self.embed_dim, len(self.depths))

    @property
    def num_features(self) -> list[int]:
        return [self.embed_dim, *self.widths]

    @property
    def strides(self) -> list[int]:
        patch = pair(self.patch_size)[0]
        return [patch, *doubling(patch, len(self.depths))]

    def window(self, i: int) -> tuple[int, int]:
        """The window of a stage, and its shift. Both are fixed by the rows of the image size named here, whatever the
        image at hand: where they are no more than a window, they are the window, and it doesn't shift."""
        rows = pair(self.image_size)[0] // pair(self.patch_size)[0] // 2**i
        return (rows, 0) if rows <= self.window_size else (self.window_size, self.window_size // 2)
