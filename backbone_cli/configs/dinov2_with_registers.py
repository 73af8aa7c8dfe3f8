"""DINOv2 with registers (Darcet et al. 2023, arXiv 2309.16588): extra tokens that belong to no patch.

Attention stores there what it would otherwise put into uninformative patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .dinov2 import Dinov2Config
from .fields import IntOrPair, bounded


@dataclass(kw_only=True)
class Dinov2WithRegistersConfig(Dinov2Config):
    model_type: ClassVar[str] = "dinov2_with_registers"

    patch_size: IntOrPair = bounded(16)
    num_register_tokens: int = bounded(4, least=0)

    @property
    def num_prefix_tokens(self) -> int:
        return 1 + self.num_register_tokens
