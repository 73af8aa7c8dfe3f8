"""DiNAT: NAT with every second neighbourhood spread out over the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import enough
from .nat import check_kernel
from .pyramid import PyramidConfig

DILATIONS = ((1, 8, 1), (1, 4, 1, 4), (1, 2, 1, 2, 1, 2), (1, 1, 1, 1, 1))


@dataclass(kw_only=True)
class DinatConfig(PyramidConfig):
    model_type: ClassVar[str] = "dinat"
    only: ClassVar = {"patch_size": (4,)}
    maps_are: ClassVar[str] = "each level's output before downsampling, normed by the level's own LayerNorm"

    embed_dim: int = 64
    depths: Sequence[int] = (3, 4, 6, 5)
    num_heads: Sequence[int] = (2, 4, 8, 16)
    kernel_size: int = 7
    dilations: Sequence[Sequence[int]] = DILATIONS
    mlp_ratio: float = 3.0
    layer_scale_init_value: float = 0.0

    def check(self) -> None:
        super().check()
        check_kernel(self.kernel_size)
        self.dilations = self.dilations or DILATIONS
        enough(len(self.depths), dilations=self.dilations)
        for depth, dilations in zip(self.depths, self.dilations, strict=False):
            if len(dilations) < depth or min(dilations) < 1:
                raise ValueError(f"dilations {list(dilations)} should be {depth} numbers, none below 1.")
