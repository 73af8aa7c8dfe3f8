"""Swin: attention within shifted windows, in a pyramid of stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .fields import IntOrPair, bounded
from .pyramid import PyramidConfig


@dataclass(kw_only=True)
class SwinConfig(PyramidConfig):
    model_type: ClassVar[str] = "swin"
    map_description: ClassVar[str] = "each stage's output before patch merging, normed by the stage's own LayerNorm"

    image_size: IntOrPair = bounded(224)
    window_size: int = bounded(7)
    use_absolute_embeddings: bool = False
