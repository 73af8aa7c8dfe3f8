"""The oracle: transformers' Pillow-backed processors, and random images to compare on."""

from __future__ import annotations

import numpy as np
from PIL import Image
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

from backbone_cli.images.processor import ImageProcessor


def noise(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def oracle_processor(kind, raw_config):
    """transformers' processor of this class; torchvision-backed if it has no Pillow-backed form."""
    cls = get_image_processor_class_from_name(f"{kind}Pil") or get_image_processor_class_from_name(kind)
    return cls.from_dict(dict(raw_config))


def pixels(processor, image):
    kind = "np" if type(processor).__name__.endswith("Pil") else "pt"
    output = processor(image, return_tensors=kind)
    values = np.asarray(output["pixel_values"])
    if "spatial_shapes" in output:  # SigLIP 2 cuts the image into patches and pads their number
        (rows, cols), side = output["spatial_shapes"][0], processor.patch_size
        patches = values[0, : rows * cols].reshape(rows, cols, side, side, 3)
        return patches.transpose(4, 0, 2, 1, 3).reshape(1, 3, rows * side, cols * side)
    return values[:, 0] if values.ndim == 5 else values  # Idefics2 returns several images for each text


def assert_same(kind, raw_config, sizes):
    """Equal to the last bit, and of the size that was predicted."""
    oracle = oracle_processor(kind, raw_config)
    processor = ImageProcessor.from_dict({**raw_config, "image_processor_type": kind})
    for size in sizes:
        image = noise(*size)
        expected, actual = pixels(oracle, image), processor(image, return_tensors="np").pixel_values
        assert actual.dtype == np.float32
        assert actual.shape == expected.shape, (kind, raw_config, size)
        assert np.array_equal(actual, expected), (kind, raw_config, size)
        assert processor.output_size(*size) == actual.shape[2:]
        assert processor.fixed_size in (None, actual.shape[2:])
