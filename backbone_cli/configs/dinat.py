"""DiNAT: NAT with dilated neighbourhoods in every second layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import check_long_enough
from .fields import bounded
from .nat import check_kernel
from .pyramid import PyramidConfig

DILATIONS = ((1, 8, 1), (1, 4, 1, 4), (1, 2, 1, 2, 1, 2), (1, 1, 1, 1, 1))


@dataclass(kw_only=True)
class DinatConfig(PyramidConfig):
    model_type: ClassVar[str] = "dinat"
    supported: ClassVar = {"patch_size": (4,)}
    map_description: ClassVar[str] = "each level's output before downsampling, normed by the level's own LayerNorm"

    embed_dim: int = bounded(64)
    depths: Sequence[int] = bounded((3, 4, 6, 5), least=0)
    num_heads: Sequence[int] = bounded((2, 4, 8, 16))
    kernel_size: int = bounded(7)
    dilations: Sequence[Sequence[int]] = DILATIONS
    mlp_ratio: float = bounded(3.0, least=0)
    layer_scale_init_value: float = 0.0

    def __post_init__(self, out_features: list[str] | None, out_indices: Sequence[int] | None) -> None:
        self.dilations = self.dilations or DILATIONS  # null in a config.json means the default
        super().__post_init__(out_features, out_indices)

    def check(self) -> None:
        super().check()
        check_kernel(self.kernel_size)
        check_long_enough(len(self.depths), dilations=self.dilations)
        for depth, dilations in zip(self.depths, self.dilations, strict=False):
            if len(dilations) < depth or min(dilations) < 1:
                raise ValueError(f"dilations {list(dilations)} should be {depth} numbers, none below 1.")
