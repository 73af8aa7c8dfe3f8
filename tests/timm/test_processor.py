"""timm's preprocessing, equal to its own transforms to the last bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform

from backbone_cli.auto import AutoImageProcessor
from backbone_cli.errors import UnsupportedModel
from backbone_cli.timm.catalog import zoo
from backbone_cli.timm.processor import TimmImageProcessor
from tests.timm.oracle import MODELS

SIZES = [(300, 400), (201, 97), (33, 64), (224, 224), (17, 301)]
WINDOWS = [(224, 224), (192, 256), (65, 33), (160, 160)]


def photo(height, width):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def config(window, mode, interpolation, crop_pct):
    return {
        "input_size": (3, *window),
        "interpolation": interpolation,
        "crop_pct": crop_pct,
        "crop_mode": mode,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    }


def assert_equal(processor, said, image):
    requested = create_transform(**said, is_training=False)(image).numpy()
    got = processor.normalize(processor.geometry(image)[None])[0]
    assert np.array_equal(got, requested)
    assert processor.output_size(image.height, image.width) == processor.fixed_size == tuple(said["input_size"][1:])


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_every_mode(mode, interpolation):
    for size, window, crop_pct in itertools.product(SIZES, WINDOWS, (0.875, 0.965, 1.0)):
        said = config(window, mode, interpolation, crop_pct)
        assert_equal(TimmImageProcessor.from_dict(said), said, photo(*size))


def test_every_config_of_the_zoo():
    names = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
    rows = [dict(zip(names, row, strict=True)) for row in zoo()["pixels"]]
    image = photo(150, 210)
    for said in rows[:: max(1, len(rows) // 20)]:
        assert_equal(TimmImageProcessor.from_dict(said), said, image)


def test_by_the_name_of_a_model_and_from_its_folder(tmp_path):
    processor = AutoImageProcessor.from_pretrained("resnet50.a1_in1k")
    assert processor.to_dict()["crop_pct"] == 0.95 and processor.fixed_size == (224, 224)
    folder = AutoImageProcessor.from_pretrained(str(MODELS["ResNet"].save(tmp_path)))
    assert folder.fixed_size == (160, 160)
    assert TimmImageProcessor.from_dict(folder.to_dict()) == folder


def test_another_size_keeps_the_share_that_is_cut_away():
    said = config((224, 224), "center", "bicubic", 0.9)
    processor = TimmImageProcessor.from_dict(said).with_size((96, 128))
    assert_equal(processor, said | {"input_size": (3, 96, 128)}, photo(300, 400))


def test_what_is_not_known_is_refused():
    with pytest.raises(UnsupportedModel, match="interpolation=random"):
        TimmImageProcessor.from_dict({"interpolation": "random"})
