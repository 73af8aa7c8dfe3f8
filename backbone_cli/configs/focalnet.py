"""FocalNet: a pyramid in which each position gathers context from growing neighbourhoods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import BackboneConfig, check_long_enough, doubling
from .fields import IntOrPair, bounded, pair


@dataclass(kw_only=True)
class FocalNetConfig(BackboneConfig):
    model_type: ClassVar[str] = "focalnet"
    map_description: ClassVar[str] = "each stage's output after the downsampling at its end (the last stage has none)"

    image_size: IntOrPair = bounded(224)
    patch_size: IntOrPair = bounded(4)
    num_channels: int = bounded(3)
    embed_dim: int = bounded(96)
    use_conv_embed: bool = False
    depths: Sequence[int] = bounded((2, 2, 6, 2), least=0)
    focal_levels: Sequence[int] = bounded((2, 2, 2, 2), least=0)
    focal_windows: Sequence[int] = bounded((3, 3, 3, 3))
    hidden_act: str = "gelu"
    mlp_ratio: float = bounded(4.0, least=0)
    use_layerscale: bool = False
    use_post_layernorm: bool = False
    use_post_layernorm_in_modulation: bool = False
    normalize_modulator: bool = False
    layer_norm_eps: float = bounded(1e-5, least=0)

    def check(self) -> None:
        check_long_enough(len(self.depths), focal_levels=self.focal_levels, focal_windows=self.focal_windows)
        if any(window % 2 == 0 for window in self.focal_windows):
            raise ValueError(f"focal_windows is {list(self.focal_windows)}, but windows must be odd.")

    @property
    def widths(self) -> list[int]:
        return doubling(self.embed_dim, len(self.depths))

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"hidden_sizes": self.num_features[1:]}  # transformers expects the key

    @property
    def num_features(self) -> list[int]:
        return [*self.widths, self.widths[-1]]

    @property
    def strides(self) -> list[int]:
        first = 4 if self.use_conv_embed else pair(self.patch_size)[0]
        strides = doubling(first, len(self.depths))
        return [*strides, strides[-1]]

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        rows, cols = pair(self.patch_size)
        return list(zip(self.side_lengths(height, rows), self.side_lengths(width, cols), strict=True))

    def side_lengths(self, pixels: int, patch: int) -> list[int]:
        """One side of every stage's map: padded to whole patches, then halved at each stage."""
        padded = -(-pixels // patch) * patch
        # The other embedding is a 7x7 convolution with stride 4 and padding 2.
        first = (padded + 1) // 4 if self.use_conv_embed else padded // patch
        lengths = [-(-first // n) for n in doubling(1, len(self.depths))]
        return [*lengths, lengths[-1]]
