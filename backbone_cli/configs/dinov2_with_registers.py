"""DINOv2 with registers: tokens that stand for no patch, and keep the maps clean of outliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Size
from .dinov2 import Dinov2Config


@dataclass(kw_only=True)
class Dinov2WithRegistersConfig(Dinov2Config):
    model_type: ClassVar[str] = "dinov2_with_registers"

    patch_size: Size = 16
    num_register_tokens: int = 4

    @property
    def prefix(self) -> int:
        return 1 + self.num_register_tokens
