"""Loading a model's image processor from its folder."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import transformers
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

from backbone_cli import AutoImageProcessor
from backbone_cli.composites import composites
from backbone_cli.errors import ModelError, UnsupportedModel, UsageError
from backbone_cli.images.load import input_size, load_processor, load_settings
from backbone_cli.images.settings import ProcessorSettings
from backbone_cli.resolve import resolve
from tests.images.oracle import noise, oracle_processor, pixels

LEGACY = {"feature_extractor_type": "ViTFeatureExtractor", "size": 50, "resample": 3, "image_mean": [0.4, 0.5, 0.6]}


def save_model(folder, model_type="swin", files=(), **config):
    files = {"config.json": {"model_type": model_type, **config}, **dict(files)}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return str(folder)


def test_processor_comes_from_the_repository(tmp_path, caplog):
    name = save_model(tmp_path, files={"preprocessor_config.json": LEGACY})
    processor = AutoImageProcessor.from_pretrained(name)
    expected = pixels(oracle_processor("ViTImageProcessor", LEGACY), noise(60, 70))
    assert np.array_equal(processor(noise(60, 70), return_tensors="np").pixel_values, expected)
    assert input_size(resolve(name)) == (50, 50)
    assert not caplog.records


def test_keyword_settings_override_the_file(tmp_path):
    name = save_model(tmp_path, files={"preprocessor_config.json": LEGACY})
    assert AutoImageProcessor.from_pretrained(name, size=64).fixed_size == (64, 64)
    with pytest.raises(UsageError, match=r"ViTImageProcessor has no setting named sise\."):
        AutoImageProcessor.from_pretrained(name, sise=64)


def test_processor_config_takes_precedence_over_preprocessor_config(tmp_path):
    nested = {"processor_class": "X", "image_processor": {"image_processor_type": "BitImageProcessor", "crop_size": 96}}
    name = save_model(tmp_path, files={"preprocessor_config.json": LEGACY, "processor_config.json": nested})
    assert AutoImageProcessor.from_pretrained(name).fixed_size == (96, 96)
    (tmp_path / "processor_config.json").write_text('{"processor_class": "X"}')
    assert AutoImageProcessor.from_pretrained(name).fixed_size == (50, 50)


def test_missing_class_name_defaults_to_the_familys(tmp_path):
    name = save_model(tmp_path, "resnet", files={"preprocessor_config.json": {"size": 224}})
    assert load_processor(resolve(name)).image_processor_type == "ConvNextImageProcessor"


RESNET_BACKBONE = {"use_timm_backbone": False, "backbone_config": {"model_type": "resnet"}}


def test_missing_class_name_in_a_composite_defaults_to_the_composites(tmp_path):
    raw_config = {"size": {"shortest_edge": 80, "longest_edge": 100}}
    name = save_model(tmp_path, "detr", {"preprocessor_config.json": raw_config}, **RESNET_BACKBONE)
    processor = AutoImageProcessor.from_pretrained(name)
    assert processor.image_processor_type == "DetrImageProcessor"
    expected = pixels(transformers.AutoImageProcessor.from_pretrained(name, backend="pil"), noise(60, 90))
    assert np.array_equal(processor(noise(60, 90), return_tensors="np").pixel_values, expected)
    name = save_model(tmp_path, "vitmatte", {"preprocessor_config.json": {"do_rescale": True}})
    with pytest.raises(UnsupportedModel, match="VitMatteImageProcessor"):
        AutoImageProcessor.from_pretrained(name)


def test_processor_classes_of_composites_match_transformers():
    known = {
        model_type: names.get("torchvision") for model_type, names in IMAGE_PROCESSOR_MAPPING_NAMES.items() if names
    }
    classes = {composite.model_type: composite.processor for composite in composites()}
    assert {model_type: known.get(model_type, classes[model_type]) for model_type in classes} == classes


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [("detr", "DetrImageProcessor"), ("upernet", "SegformerImageProcessor"), ("tvp", "ConvNextImageProcessor")],
)
def test_composite_without_preprocessor_config_uses_its_default_class(model_type, kind, tmp_path, caplog):
    settings = load_settings(resolve(save_model(tmp_path, model_type, **RESNET_BACKBONE)), ProcessorSettings)
    assert (settings.image_processor_type, settings.fixed_size) == (kind, (224, 224))
    assert kind in caplog.text


def test_transformers_loading_keywords_are_accepted(tmp_path):
    name = save_model(tmp_path, files={"preprocessor_config.json": LEGACY})
    usual = {"use_fast": True, "token": None, "trust_remote_code": False, "backend": "pil"}
    assert AutoImageProcessor.from_pretrained(name, **usual) == AutoImageProcessor.from_pretrained(name)
    with pytest.raises(UsageError, match="code from a repository is never run"):
        AutoImageProcessor.from_pretrained(name, trust_remote_code=True)
    with pytest.raises(UsageError, match="set HF_TOKEN"):
        AutoImageProcessor.from_pretrained(name, token="t")


@pytest.mark.parametrize(("model_type", "kind"), [("resnet", "ConvNextImageProcessor"), ("swin", "ViTImageProcessor")])
def test_missing_preprocessor_config_uses_the_familys_default_and_warns(model_type, kind, tmp_path, caplog):
    resolved = resolve(save_model(tmp_path, model_type))
    with caplog.at_level(logging.WARNING, "backbone_cli"):
        settings = load_settings(resolved, ProcessorSettings)
    assert (settings.image_processor_type, settings.fixed_size) == (kind, (224, 224))
    assert "no preprocessor_config.json" in caplog.text and kind in caplog.text


def test_invalid_files_are_refused(tmp_path):
    name = save_model(tmp_path, files={"preprocessor_config.json": {"size": {"edge": 3}}})
    with pytest.raises(UnsupportedModel, match=r"'s preprocessor_config\.json is invalid: images can't be resized"):
        AutoImageProcessor.from_pretrained(name)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match="can't be read as JSON"):
        AutoImageProcessor.from_pretrained(name)


def test_input_size_needs_no_numpy_pillow_or_torch(tmp_path):
    name = save_model(tmp_path, files={"preprocessor_config.json": LEGACY})
    script = f"""
import sys
from backbone_cli.images.load import input_size
from backbone_cli.resolve import resolve
assert input_size(resolve({name!r})) == (50, 50)
assert not {{"numpy", "PIL", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_processing_images_needs_no_torch(tmp_path):
    script = """
import sys
from PIL import Image
from backbone_cli.images.processor import ImageProcessor
ImageProcessor.from_dict({})(Image.new("RGB", (30, 20)), return_tensors="np")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "raw_config",
    [
        {"crop_pct": "x", "image_processor_type": "ConvNextImageProcessor"},
        {"crop_pct": [1], "image_processor_type": "PoolFormerImageProcessor"},
        {"crop_pct": float("nan"), "image_processor_type": "ConvNextImageProcessor"},
        {"image_mean": "x"},
        {"image_mean": {}},
        {"image_std": {}},
        {"image_std": [0.5, 0.5, float("inf")]},
        {"rescale_factor": "x"},
        {"do_center_crop": True, "crop_size": True},
        {"do_center_crop": True, "crop_size": 10**30},
        {"size": float("inf")},
        {"size": {"shortest_edge": 20}, "image_processor_type": "DPTImageProcessor"},
        {"size": {"shortest_edge": 20}, "image_processor_type": "PromptDepthAnythingImageProcessor"},
        *(
            {"size": {"longest_edge": 20}, "crop_pct": 0.9, "image_processor_type": f"{kind}ImageProcessor"}
            for kind in ("ConvNext", "PoolFormer", "Levit")
        ),
    ],
)
def test_invalid_settings_are_refused(raw_config, tmp_path):
    with pytest.raises(UnsupportedModel, match=r"'s preprocessor_config\.json is invalid"):
        AutoImageProcessor.from_pretrained(save_model(tmp_path, files={"preprocessor_config.json": raw_config}))
