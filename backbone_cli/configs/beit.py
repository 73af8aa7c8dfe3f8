"""BEiT: a plain ViT with a learned attention bias for each offset between two patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .fields import bounded
from .plain import PlainConfig


@dataclass(kw_only=True)
class BeitConfig(PlainConfig):
    model_type: ClassVar[str] = "beit"
    aliases: ClassVar = {"segmentation_indices": "out_indices"}
    map_description: ClassVar[str] = (
        "each block's patch tokens, with no norm after it; with add_fpn, resized by the pyramid"
    )

    layer_norm_eps: float = bounded(1e-12, least=0)
    intermediate_size: int = bounded(3072)
    use_absolute_position_embeddings: bool = False
    use_relative_position_bias: bool = False
    use_shared_relative_position_bias: bool = False
    layer_scale_init_value: float = 0.1
    add_fpn: bool = False

    def check(self) -> None:
        super().check()
        if self.add_fpn and not self.reshape_hidden_states:
            raise ValueError("add_fpn resizes maps, so it needs reshape_hidden_states=True.")

    @property
    def scales(self) -> list[float]:
        """The scale of each stage's map relative to the patch grid: add_fpn makes a pyramid of the four requested maps.

        For any other number of stages, which no model accepts, nothing is resized.
        """
        scales = [1.0] * (self.num_hidden_layers + 1)
        if self.add_fpn and len(self.requested) == 4:
            for index, scale in zip(self.requested, (4.0, 2.0, 1.0, 0.5), strict=True):
                scales[index] = scale
        return scales

    @property
    def strides(self) -> list[int]:
        return [int(stride / scale) for stride, scale in zip(super().strides, self.scales, strict=True)]

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        rows, cols = self.patch_grid(height, width)
        return [(int(rows * scale), int(cols * scale)) for scale in self.scales]


@dataclass(kw_only=True)
class Data2VecVisionConfig(BeitConfig):
    """data2vec's image encoder (Baevski et al. 2022): BEiT with a final norm, unless it pools the mean."""

    model_type: ClassVar[str] = "data2vec-vision"
    aliases: ClassVar = {}
    supported: ClassVar = {"add_fpn": (False,)}
    map_description: ClassVar[str] = (
        "each block's patch tokens, normed by the model's last LayerNorm (if it has one) unless the config says not to"
    )

    use_mean_pooling: bool = True
    apply_layernorm: bool = True

    @classmethod
    def from_dict(cls, raw_config: Mapping[str, Any], **overrides: Any) -> Data2VecVisionConfig:
        """In files that transformers wrote, `out_indices` are what a segmentation head takes."""
        if "stage_names" not in raw_config:
            raw_config = {key: value for key, value in raw_config.items() if key != "out_indices"}
        return super().from_dict(raw_config, **overrides)
