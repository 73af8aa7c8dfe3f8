"""transformers' Pillow-backed processors, and images to hold ours against them."""

from __future__ import annotations

import numpy as np
from PIL import Image
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

from backbone_cli.images.processor import ImageProcessor


def noise(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def theirs(kind, said):
    """The class itself, where need be the torchvision-backed one: some exist in no other form."""
    cls = get_image_processor_class_from_name(f"{kind}Pil") or get_image_processor_class_from_name(kind)
    return cls.from_dict(dict(said))


def pixels(processor, image):
    kind = "np" if type(processor).__name__.endswith("Pil") else "pt"
    return np.asarray(processor(image, return_tensors=kind)["pixel_values"])


def assert_same(kind, said, sizes):
    """Equal to the last bit, and of the size that was foretold."""
    oracle = theirs(kind, said)
    ours = ImageProcessor.from_dict({**said, "image_processor_type": kind})
    for size in sizes:
        image = noise(*size)
        expected, got = pixels(oracle, image), ours(image, return_tensors="np").pixel_values
        assert got.dtype == np.float32
        assert got.shape == expected.shape, (kind, said, size)
        assert np.array_equal(got, expected), (kind, said, size)
        assert ours.output_size(*size) == got.shape[2:]
        assert ours.fixed_size in (None, got.shape[2:])
