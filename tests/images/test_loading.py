"""From a model's folder to its processor."""

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
from backbone_cli.images.load import load_processor, load_settings
from backbone_cli.images.settings import ProcessorSettings
from backbone_cli.resolve import resolve
from tests.images.oracle import noise, pixels, theirs

LEGACY = {"feature_extractor_type": "ViTFeatureExtractor", "size": 50, "resample": 3, "image_mean": [0.4, 0.5, 0.6]}


def model(folder, model_type="swin", files=(), **config):
    files = {"config.json": {"model_type": model_type, **config}, **dict(files)}
    for name, said in files.items():
        (folder / name).write_text(json.dumps(said))
    return str(folder)


def test_the_repositorys_own(tmp_path, caplog):
    name = model(tmp_path, files={"preprocessor_config.json": LEGACY})
    processor = AutoImageProcessor.from_pretrained(name)
    expected = pixels(theirs("ViTImageProcessor", LEGACY), noise(60, 70))
    assert np.array_equal(processor(noise(60, 70), return_tensors="np").pixel_values, expected)
    assert resolve(name).image_size() == (50, 50)
    assert not caplog.records


def test_settings_win_over_the_file(tmp_path):
    name = model(tmp_path, files={"preprocessor_config.json": LEGACY})
    assert AutoImageProcessor.from_pretrained(name, size=64).fixed_size == (64, 64)
    with pytest.raises(UsageError, match="no setting sise"):
        AutoImageProcessor.from_pretrained(name, sise=64)


def test_a_processor_nested_in_a_larger_one_wins(tmp_path):
    nested = {"processor_class": "X", "image_processor": {"image_processor_type": "BitImageProcessor", "crop_size": 96}}
    name = model(tmp_path, files={"preprocessor_config.json": LEGACY, "processor_config.json": nested})
    assert AutoImageProcessor.from_pretrained(name).fixed_size == (96, 96)
    (tmp_path / "processor_config.json").write_text('{"processor_class": "X"}')
    assert AutoImageProcessor.from_pretrained(name).fixed_size == (50, 50)


def test_a_class_that_is_unsaid_is_the_familys(tmp_path):
    name = model(tmp_path, "resnet", files={"preprocessor_config.json": {"size": 224}})
    assert load_processor(resolve(name)).image_processor_type == "ConvNextImageProcessor"


INSIDE_DETR = {"use_timm_backbone": False, "backbone_config": {"model_type": "resnet"}}


def test_a_class_that_is_unsaid_in_a_composite_is_the_composites(tmp_path):
    said = {"size": {"shortest_edge": 80, "longest_edge": 100}}
    name = model(tmp_path, "detr", {"preprocessor_config.json": said}, **INSIDE_DETR)
    processor = AutoImageProcessor.from_pretrained(name)
    assert processor.image_processor_type == "DetrImageProcessor"
    expected = pixels(transformers.AutoImageProcessor.from_pretrained(name, backend="pil"), noise(60, 90))
    assert np.array_equal(processor(noise(60, 90), return_tensors="np").pixel_values, expected)
    name = model(tmp_path, "vitmatte", {"preprocessor_config.json": {"do_rescale": True}})
    with pytest.raises(UnsupportedModel, match="VitMatteImageProcessor"):
        AutoImageProcessor.from_pretrained(name)


def test_the_class_of_a_composite_is_the_one_that_transformers_has_for_it():
    known = {kind: names.get("torchvision") for kind, names in IMAGE_PROCESSOR_MAPPING_NAMES.items() if names}
    ours = {composite.model_type: composite.processor for composite in composites()}
    assert {kind: known.get(kind, ours[kind]) for kind in ours} == ours


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [("detr", "DetrImageProcessor"), ("upernet", "SegformerImageProcessor"), ("tvp", "ConvNextImageProcessor")],
)
def test_none_at_all_in_a_composite_is_the_composites_where_that_is_known(model_type, kind, tmp_path, caplog):
    plan = load_settings(resolve(model(tmp_path, model_type, **INSIDE_DETR)), ProcessorSettings)
    assert (plan.image_processor_type, plan.fixed_size) == (kind, (224, 224))
    assert kind in caplog.text


def test_the_usual_keywords_are_taken(tmp_path):
    name = model(tmp_path, files={"preprocessor_config.json": LEGACY})
    usual = {"use_fast": True, "token": None, "trust_remote_code": False, "backend": "pil"}
    assert AutoImageProcessor.from_pretrained(name, **usual) == AutoImageProcessor.from_pretrained(name)
    with pytest.raises(UsageError, match="no code of a repository is run"):
        AutoImageProcessor.from_pretrained(name, trust_remote_code=True)
    with pytest.raises(UsageError, match="set HF_TOKEN"):
        AutoImageProcessor.from_pretrained(name, token="t")


@pytest.mark.parametrize(("model_type", "kind"), [("resnet", "ConvNextImageProcessor"), ("swin", "ViTImageProcessor")])
def test_none_at_all_is_the_familys_and_said(model_type, kind, tmp_path, caplog):
    found = resolve(model(tmp_path, model_type))
    with caplog.at_level(logging.WARNING, "backbone_cli"):
        plan = load_settings(found, ProcessorSettings)
    assert (plan.image_processor_type, plan.fixed_size) == (kind, (224, 224))
    assert "no preprocessor_config.json" in caplog.text and kind in caplog.text


def test_files_that_make_no_sense(tmp_path):
    name = model(tmp_path, files={"preprocessor_config.json": {"size": {"edge": 3}}})
    with pytest.raises(UnsupportedModel, match="makes no sense"):
        AutoImageProcessor.from_pretrained(name)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match="can't be read as JSON"):
        AutoImageProcessor.from_pretrained(name)


def test_sizes_are_known_without_numpy_pillow_and_torch(tmp_path):
    name = model(tmp_path, files={"preprocessor_config.json": LEGACY})
    script = f"""
import sys
from backbone_cli.resolve import resolve
assert resolve({name!r}).image_size() == (50, 50)
assert not {{"numpy", "PIL", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_pixels_are_made_without_torch(tmp_path):
    script = """
import sys
from PIL import Image
from backbone_cli.images.processor import ImageProcessor
ImageProcessor.from_dict({})(Image.new("RGB", (30, 20)), return_tensors="np")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "said",
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
def test_settings_that_make_no_sense(said, tmp_path):
    with pytest.raises(UnsupportedModel, match="makes no sense"):
        AutoImageProcessor.from_pretrained(model(tmp_path, files={"preprocessor_config.json": said}))
