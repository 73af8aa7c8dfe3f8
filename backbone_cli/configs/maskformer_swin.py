"""MaskFormer-Swin: the Swin that MaskFormer's first checkpoints are built on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .fields import IntOrPair, bounded
from .pyramid import PyramidConfig


@dataclass(kw_only=True)
class MaskFormerSwinConfig(PyramidConfig):
    model_type: ClassVar[str] = "maskformer-swin"
    # transformers allocates one position too many, so none of its models run with them.
    supported: ClassVar = {"use_absolute_embeddings": (False,)}
    map_description: ClassVar[str] = (
        "each stage's output before patch merging, normed by the stage's own LayerNorm; the stem is not normed"
    )

    image_size: IntOrPair = bounded(224)
    window_size: int = bounded(7)
    use_absolute_embeddings: bool = False
