"""FocalNet: a pyramid whose places gather context from ever larger surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import BackboneConfig, Size, doubling, enough, pair


@dataclass(kw_only=True)
class FocalNetConfig(BackboneConfig):
    model_type: ClassVar[str] = "focalnet"
    maps_are: ClassVar[str] = "each stage's output after the downsampling at its end (the last stage has none)"

    image_size: Size = 224
    patch_size: Size = 4
    num_channels: int = 3
    embed_dim: int = 96
    use_conv_embed: bool = False
    depths: Sequence[int] = (2, 2, 6, 2)
    focal_levels: Sequence[int] = (2, 2, 2, 2)
    focal_windows: Sequence[int] = (3, 3, 3, 3)
    hidden_act: str = "gelu"
    mlp_ratio: float = 4.0
    use_layerscale: bool = False
    use_post_layernorm: bool = False
    use_post_layernorm_in_modulation: bool = False
    normalize_modulator: bool = False
    layer_norm_eps: float = 1e-5

    def check(self) -> None:
        enough(len(self.depths), focal_levels=self.focal_levels, focal_windows=self.focal_windows)
        if any(window % 2 == 0 for window in self.focal_windows):
            raise ValueError(f"focal_windows is {list(self.focal_windows)}, and windows have a middle: they are odd.")

    @property
    def widths(self) -> list[int]:
        return doubling(self.embed_dim, len(self.depths))

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"hidden_sizes": self.num_features[1:]}  # transformers counts on them

    @property
    def num_features(self) -> list[int]:
        return [*self.widths, self.widths[-1]]

    @property
    def strides(self) -> list[int]:
        first = 4 if self.use_conv_embed else pair(self.patch_size)[0]
        strides = doubling(first, len(self.depths))
        return [*strides, strides[-1]]

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        rows, cols = pair(self.patch_size)
        return list(zip(self.lengths(height, rows), self.lengths(width, cols), strict=True))

    def lengths(self, pixels: int, patch: int) -> list[int]:
        """One side of every stage's map: whole patches, padded where need be, then half as many at each stage."""
        padded = -(-pixels // patch) * patch
        # The other embedding is a 7x7 convolution of stride 4, with a border of 2.
        first = (padded + 1) // 4 if self.use_conv_embed else padded // patch
        lengths = [-(-first // n) for n in doubling(1, len(self.depths))]
        return [*lengths, lengths[-1]]
