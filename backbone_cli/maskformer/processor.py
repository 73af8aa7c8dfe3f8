"""MaskFormer's image processor, which also post-processes the model's outputs."""

from __future__ import annotations

from ..images.load import load_settings
from ..images.processor import ImageProcessor
from ..resolve import Resolved
from .segmentation import SegmentationMixin


class MaskFormerImageProcessor(SegmentationMixin, ImageProcessor):
    """MaskFormer's image processor, with its post-processing methods."""


def load_processor(resolved: Resolved) -> ImageProcessor:
    """The image processor of a MaskFormer."""
    return load_settings(resolved, MaskFormerImageProcessor)
