"""MaskFormer-Swin: the Swin that MaskFormer's first checkpoints are built on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Size
from .pyramid import PyramidConfig


@dataclass(kw_only=True)
class MaskFormerSwinConfig(PyramidConfig):
    model_type: ClassVar[str] = "maskformer-swin"
    # transformers keeps a position too many, so that none of its models can run with them.
    only: ClassVar = {"use_absolute_embeddings": (False,)}
    maps_are: ClassVar[str] = (
        "each stage's output before patch merging, normed by the stage's own LayerNorm; the stem is not normed"
    )

    image_size: Size = 224
    window_size: int = 7
    use_absolute_embeddings: bool = False
