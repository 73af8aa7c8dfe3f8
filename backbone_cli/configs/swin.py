"""Swin: windows that shift, in a pyramid of four stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Size
from .pyramid import PyramidConfig


@dataclass(kw_only=True)
class SwinConfig(PyramidConfig):
    model_type: ClassVar[str] = "swin"
    maps_are: ClassVar[str] = "each stage's output before patch merging, normed by the stage's own LayerNorm"

    image_size: Size = 224
    window_size: int = 7
    use_absolute_embeddings: bool = False
