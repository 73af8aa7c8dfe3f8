"""AutoConfig and AutoBackbone: the documented keywords and invalid ones."""

import json
from pathlib import Path

import pytest
import torch

from backbone_cli import (
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    MaskFormerConfig,
    ResNetBackbone,
    ResNetConfig,
    SwinBackbone,
    SwinConfig,
    TimmBackbone,
    TimmBackboneConfig,
)
from backbone_cli.errors import ModelNotFound, UnsupportedModel, UsageError
from tests.models.parity import pixels

SMALL = {"embedding_size": 8, "hidden_sizes": [16, 24], "depths": [1, 1]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("net")
    AutoBackbone.from_config(ResNetConfig(**SMALL), seed=4).save_pretrained(path)
    return str(path)


def same_weights(a, b):
    expected = b.state_dict()
    return all(torch.equal(tensor, expected[name]) for name, tensor in a.state_dict().items())


def test_stages_by_index_and_name(folder):
    assert AutoBackbone.from_pretrained(folder).out_features == ["stage2"]
    assert AutoBackbone.from_pretrained(folder, out_indices=(0, 2)).out_features == ["stem", "stage2"]
    assert AutoBackbone.from_pretrained(folder, out_features=["stage1"]).out_indices == [1]
    assert AutoBackbone.from_pretrained(folder, backbone_kwargs={"out_indices": [0]}).channels == [8]
    assert AutoConfig.from_pretrained(folder, out_indices=[-2]).out_features == ["stage1"]
    with pytest.raises(ValueError, match="must name the same stages"):
        AutoBackbone.from_pretrained(folder, out_indices=[0], out_features=["stage1"])


def test_relative_folder(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(f"{folder}/..")
    name = folder.rpartition("/")[2]
    assert same_weights(AutoBackbone.from_pretrained(f"./{name}"), AutoBackbone.from_pretrained(folder))
    assert same_weights(AutoBackbone.from_pretrained(name, local_files_only=True), AutoBackbone.from_pretrained(folder))


def test_config_object_and_single_fields(folder):
    model = AutoBackbone.from_pretrained(folder, config=ResNetConfig(**SMALL, hidden_act="gelu"), out_indices=[1])
    assert model.config.hidden_act == "gelu" and model.out_indices == [1]
    assert AutoBackbone.from_pretrained(folder, hidden_act="silu").config.hidden_act == "silu"
    with pytest.raises(ValueError, match=r"no 'hiden_act'\. Did you mean 'hidden_act'"):
        AutoBackbone.from_pretrained(folder, hiden_act="silu")


def test_dtypes_and_devices(folder, tmp_path):
    assert AutoBackbone.from_pretrained(folder, dtype="bfloat16").dtype == torch.bfloat16
    assert AutoBackbone.from_pretrained(folder, torch_dtype=torch.float16).dtype == torch.float16
    assert AutoBackbone.from_pretrained(folder, dtype="auto", device="cpu").dtype == torch.float32
    assert AutoBackbone.from_pretrained(folder, device="meta").device.type == "meta"
    with pytest.raises(ValueError, match="'float17' is not a dtype"):
        AutoBackbone.from_pretrained(folder, dtype="float17")
    AutoBackbone.from_pretrained(folder).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"torch_dtype": "float16"}))
    assert AutoBackbone.from_pretrained(str(tmp_path), dtype="auto").dtype == torch.float16
    assert AutoBackbone.from_pretrained(str(tmp_path)).dtype == torch.float32


def test_checkpoint_or_random_weights(folder):
    loaded, random = (AutoBackbone.from_pretrained(folder, use_pretrained_backbone=use) for use in (True, False))
    assert same_weights(loaded, AutoBackbone.from_config(ResNetConfig(**SMALL), seed=4))
    assert same_weights(random, AutoBackbone.from_config(ResNetConfig(**SMALL)))
    assert same_weights(loaded, AutoBackbone.from_pretrained(folder, use_pretrained_backbone=False, seed=4))
    assert not loaded.training and ResNetBackbone(ResNetConfig(**SMALL)).training


def test_loading_with_the_class_of_a_family(folder):
    assert ResNetBackbone.from_pretrained(folder, out_indices=[0]).channels == [8]
    assert ResNetConfig.from_pretrained(folder).hidden_sizes == [16, 24]
    with pytest.raises(ValueError, match="is a ResNetBackbone, not a SwinBackbone"):
        SwinBackbone.from_pretrained(folder)


def test_timm_models():
    model = AutoBackbone.from_pretrained(
        "resnet18", use_timm_backbone=True, use_pretrained_backbone=False, out_indices=(1, 2)
    )
    assert isinstance(model, TimmBackbone) and model.out_features == ["layer1", "layer2"]
    config = TimmBackboneConfig("resnet18", out_indices=[1, 2])
    assert same_weights(AutoBackbone.from_config(config), model)
    assert TimmBackbone(config=config).config == config
    assert model(pixels((64, 64))).feature_maps[0].shape == (2, 64, 16, 16)


def test_config_of_a_composite_gives_its_backbone():
    backbone_config = SwinConfig(embed_dim=12, depths=[1, 1], num_heads=[1, 2], out_indices=[1, 2])
    model = AutoBackbone.from_config(MaskFormerConfig(backbone_config=backbone_config))
    assert model.config.model_type == "maskformer-swin" and model.channels == [12, 24]


def test_models_that_are_not_found(folder, tmp_path):
    with pytest.raises(ModelNotFound, match="not in the cache"):
        AutoBackbone.from_pretrained("nobody/nothing", local_files_only=True)
    with pytest.raises(ModelNotFound, match=r"no folder '\./nothing'"):
        AutoConfig.from_pretrained("./nothing")
    (tmp_path / "config.json").write_text('{"model_type": "resnett"}')
    with pytest.raises(UnsupportedModel, match=r"'resnett' are not supported\. Did you mean 'resnet'"):
        AutoConfig.from_pretrained(str(tmp_path))


def test_paths_are_accepted_as_names(folder):
    path = Path(folder)
    assert same_weights(AutoBackbone.from_pretrained(path), AutoBackbone.from_pretrained(folder))
    assert same_weights(ResNetBackbone.from_pretrained(path), AutoBackbone.from_pretrained(folder))
    assert AutoConfig.from_pretrained(path) == ResNetConfig.from_pretrained(path)
    assert AutoImageProcessor.from_pretrained(path) == AutoImageProcessor.from_pretrained(folder)


@pytest.mark.parametrize("name", [None, 5, b"net"])
def test_invalid_types_of_names_are_refused(name):
    for load in (AutoBackbone, AutoConfig, AutoImageProcessor, MaskFormerConfig):
        with pytest.raises(UsageError, match="named by a string or a path"):
            load.from_pretrained(name)
