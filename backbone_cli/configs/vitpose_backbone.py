"""ViTPose's backbone: a plain ViT, for crops of people of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import UsageError
from .base import Size, pair
from .plain import PlainConfig

# The convolution that makes patches sees this many zeros around the image.
BORDER = 2


@dataclass(kw_only=True)
class VitPoseBackboneConfig(PlainConfig):
    """ViTPose's settings; with several experts, the first (trained on COCO) is the one that is used."""

    model_type: ClassVar[str] = "vitpose_backbone"
    maps_are: ClassVar[str] = "each block's patch tokens, normed by the model's last LayerNorm"

    image_size: Size = (256, 192)
    patch_size: Size = (16, 16)
    mlp_ratio: float = 4
    qkv_bias: bool = True
    layer_norm_eps: float = 1e-12
    num_experts: int = 1
    part_features: int = 256

    def check(self) -> None:
        super().check()
        size, patch = pair(self.image_size), pair(self.patch_size)
        if self.patches(*size) != tuple(n // p for n, p in zip(size, patch, strict=True)):
            raise ValueError(f"patches of {patch} with a border of {BORDER} pixels don't fit an image of {size}.")

    @property
    def prefix(self) -> int:
        return 0

    def patches(self, height: int, width: int) -> tuple[int, int]:
        rows, cols = pair(self.patch_size)
        return (height + 2 * BORDER) // rows, (width + 2 * BORDER) // cols

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        self.check_size(height, width)
        return super().grids(height, width)

    def check_size(self, height: int, width: int) -> None:
        """Raise UsageError for images of any size but the model's own: its positions are of that size alone."""
        if (height, width) != (own := self.default_size()):
            raise UsageError(f"ViTPose takes images of {own[0]}x{own[1]} pixels, not of {height}x{width}.")
