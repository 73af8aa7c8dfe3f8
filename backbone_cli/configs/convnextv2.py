"""ConvNext V2: ConvNext with a response norm over channels (GRN) instead of a layer scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .convnext import ConvNextShape


@dataclass(kw_only=True)
class ConvNextV2Config(ConvNextShape):
    model_type: ClassVar[str] = "convnextv2"
