"""timm's preprocessing equals timm's own transforms to the last bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform

from backbone_cli.auto import AutoImageProcessor
from backbone_cli.errors import UnsupportedModel
from backbone_cli.timm.catalog import catalog
from backbone_cli.timm.processor import TimmImageProcessor
from tests.timm.oracle import MODELS

SIZES = [(300, 400), (201, 97), (33, 64), (224, 224), (17, 301)]
WINDOWS = [(224, 224), (192, 256), (65, 33), (160, 160)]


def photo(height, width):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def make_data_config(window, mode, interpolation, crop_pct):
    return {
        "input_size": (3, *window),
        "interpolation": interpolation,
        "crop_pct": crop_pct,
        "crop_mode": mode,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    }


def assert_equal(processor, data_config, image):
    expected = create_transform(**data_config, is_training=False)(image).numpy()
    actual = processor.normalize(processor.resize_and_crop(image)[None])[0]
    assert np.array_equal(actual, expected)
    size = tuple(data_config["input_size"][1:])
    assert processor.output_size(image.height, image.width) == processor.fixed_size == size


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_every_crop_mode(mode, interpolation):
    for size, window, crop_pct in itertools.product(SIZES, WINDOWS, (0.875, 0.965, 1.0)):
        data_config = make_data_config(window, mode, interpolation, crop_pct)
        assert_equal(TimmImageProcessor.from_dict(data_config), data_config, photo(*size))


def test_data_configs_of_the_catalog():
    names = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
    rows = [dict(zip(names, row, strict=True)) for row in catalog()["pixels"]]
    image = photo(150, 210)
    for data_config in rows[:: max(1, len(rows) // 20)]:
        assert_equal(TimmImageProcessor.from_dict(data_config), data_config, image)


def test_processor_of_a_name_and_of_a_folder(tmp_path):
    processor = AutoImageProcessor.from_pretrained("resnet50.a1_in1k")
    assert processor.to_dict()["crop_pct"] == 0.95 and processor.fixed_size == (224, 224)
    folder = AutoImageProcessor.from_pretrained(str(MODELS["ResNet"].save(tmp_path)))
    assert folder.fixed_size == (160, 160)
    assert TimmImageProcessor.from_dict(folder.to_dict()) == folder


def test_with_size_keeps_the_cropped_share():
    data_config = make_data_config((224, 224), "center", "bicubic", 0.9)
    processor = TimmImageProcessor.from_dict(data_config).with_size((96, 128))
    assert_equal(processor, data_config | {"input_size": (3, 96, 128)}, photo(300, 400))


def test_unknown_interpolation_is_refused():
    with pytest.raises(UnsupportedModel, match="interpolation=random"):
        TimmImageProcessor.from_dict({"interpolation": "random"})
