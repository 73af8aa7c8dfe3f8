"""ViTPose's backbone: a plain ViT for person crops of one fixed size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .fields import IntOrPair, bounded, pair
from .plain import PlainConfig

# Zero padding of the patch convolution.
PADDING = 2


@dataclass(kw_only=True)
class VitPoseBackboneConfig(PlainConfig):
    """ViTPose's settings; with several experts, the first (trained on COCO) is used."""

    model_type: ClassVar[str] = "vitpose_backbone"
    map_description: ClassVar[str] = "each block's patch tokens, normed by the model's last LayerNorm"

    image_size: IntOrPair = bounded((256, 192))
    patch_size: IntOrPair = bounded((16, 16))
    mlp_ratio: float = bounded(4, least=0)
    qkv_bias: bool = True
    layer_norm_eps: float = bounded(1e-12, least=0)
    num_experts: int = bounded(1)
    part_features: int = bounded(256, least=0)

    def check(self) -> None:
        super().check()
        size, patch = pair(self.image_size), pair(self.patch_size)
        if self.patch_grid(*size) != tuple(n // p for n, p in zip(size, patch, strict=True)):
            raise ValueError(f"patches of {patch} with a padding of {PADDING} pixels don't fit an image of {size}.")

    @property
    def num_prefix_tokens(self) -> int:
        return 0

    @property
    def takes_any_size(self) -> bool:
        return False

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        rows, cols = pair(self.patch_size)
        return (height + 2 * PADDING) // rows, (width + 2 * PADDING) // cols
