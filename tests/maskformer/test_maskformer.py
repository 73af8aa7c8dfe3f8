"""MaskFormer on several backbones with random weights, compared with transformers, including saving and loading."""

import copy
import json

import numpy as np
import pytest
import torch
import transformers
import transformers.models.maskformer.modeling_maskformer as modeling
from huggingface_hub import constants
from torch import nn

from backbone_cli import (
    AutoBackbone,
    AutoImageProcessor,
    BackboneConfig,
    BeitConfig,
    ConvNextConfig,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    ResNetBackbone,
    ResNetConfig,
    SwinConfig,
)
from backbone_cli.errors import ModelNotFound, StageError
from backbone_cli.hub import HubRepo
from tests.models.parity import distance, pixels, randomized

STAGES = ["stage1", "stage2", "stage3", "stage4"]
BACKBONES = {
    "swin": {"image_size": 64, "embed_dim": 24, "depths": [1, 2, 1, 1], "num_heads": [1, 2, 3, 4], "window_size": 4},
    "resnet": {"embedding_size": 8, "hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 2, 1]},
    "convnext": {"hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 2, 1]},
}
SMALL = {
    "fpn_feature_size": 32,
    "mask_feature_size": 16,
    "decoder_config": {
        "model_type": "detr",
        "d_model": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 48,
        "num_queries": 9,
    },
    "num_labels": 5,
}


class NoLoss(nn.Module):
    """Replaces the oracle's loss, which needs scipy; its buffer is part of the checkpoints that the oracle saves."""

    def __init__(self, num_labels, eos_coef, **kwargs):
        super().__init__()
        self.num_labels, self.eos_coef = num_labels, eos_coef
        self.register_buffer("empty_weight", torch.ones(num_labels + 1))


@pytest.fixture(autouse=True)
def without_loss(monkeypatch):
    monkeypatch.setattr(modeling, "MaskFormerLoss", NoLoss)


def build_oracle(kind, **changes):
    config = transformers.CONFIG_MAPPING[kind](**BACKBONES[kind], out_features=STAGES)
    config = transformers.MaskFormerConfig(**{**SMALL, **changes}, backbone_config=config)
    return randomized(transformers.MaskFormerForInstanceSegmentation(config).eval())


def small(**backbone):
    return MaskFormerConfig(**SMALL, **backbone)


def tiny_resnet():
    return ResNetConfig(**BACKBONES["resnet"])


def assert_same(model, oracle, x):
    with torch.no_grad():
        actual, expected = model(x, output_hidden_states=True), oracle(x, output_hidden_states=True)
    assert actual.keys() == list(expected.keys())
    for key in actual:
        is_tensor = torch.is_tensor(actual[key])
        pairs = [(actual[key], expected[key])] if is_tensor else zip(actual[key], expected[key], strict=True)
        for a, b in pairs:
            if b.any():
                assert distance(a, b) < 1e-4, key
            else:
                assert not a.any()


@pytest.mark.parametrize("size", [(64, 96), (97, 131)])
@pytest.mark.parametrize("kind", BACKBONES)
def test_all_outputs_equal_the_oracle(kind, size, tmp_path):
    oracle = build_oracle(kind)
    oracle.save_pretrained(tmp_path)
    model = MaskFormerForInstanceSegmentation.from_pretrained(str(tmp_path))
    assert not model.training
    assert_same(model, oracle, pixels(size))


def test_checkpoint_with_newer_tensor_names_loads(tmp_path):
    from safetensors.torch import load_file, save_file

    oracle = build_oracle("resnet")
    oracle.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    renamed = {}
    for name, tensor in load_file(file).items():
        name = name.replace("out_proj", "o_proj")
        renamed[name.replace(".fc", ".mlp.fc") if ".decoder.layers." in name else name] = tensor
    save_file(renamed, file)
    assert_same(MaskFormerForInstanceSegmentation.from_pretrained(str(tmp_path)), oracle, pixels((64, 64)))


def test_old_config_and_model_without_projection(tmp_path):
    """Old configs on the Hub name a plain Swin; without a difference in width there is no projection."""
    oracle = build_oracle("resnet", decoder_config={**SMALL["decoder_config"], "d_model": 40})
    oracle.save_pretrained(tmp_path)
    model = MaskFormerForInstanceSegmentation.from_pretrained(str(tmp_path))
    assert isinstance(model.project, nn.Identity)
    assert_same(model, oracle, pixels((64, 64)))
    raw_backbone = SwinConfig(**BACKBONES["swin"]).to_dict()
    config = MaskFormerConfig.from_dict({"model_type": "maskformer", "backbone_config": raw_backbone, "backbone": None})
    assert config.backbone_config.model_type == "maskformer-swin" and config.backbone_config.out_features == STAGES
    assert MaskFormerConfig().backbone_config.embed_dim == 128


@pytest.mark.parametrize("kind", BACKBONES)
def test_saved_models_load_here_and_in_transformers(kind, tmp_path):
    config_class = {"swin": SwinConfig, "resnet": ResNetConfig, "convnext": ConvNextConfig}[kind]
    model = MaskFormerForInstanceSegmentation(small(backbone_config=config_class(**BACKBONES[kind]))).eval()
    model.save_pretrained(tmp_path)
    oracle, info = transformers.MaskFormerForInstanceSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    not_saved = ("criterion.empty_weight", "encoder.model.layernorm.weight", "encoder.model.layernorm.bias")
    assert not [key for key in info["missing_keys"] if not key.endswith(not_saved) and "relative_position" not in key]
    assert not info["unexpected_keys"]
    x = pixels((64, 96))
    assert_same(model, oracle.eval(), x)
    loaded = MaskFormerForInstanceSegmentation.from_pretrained(str(tmp_path), dtype="float64")
    assert loaded.config == model.config
    assert distance(loaded(x.double()).masks_queries_logits.float(), model(x).masks_queries_logits) < 1e-4


def test_beit_backbone_with_a_pyramid(tmp_path):
    """The saved config has the head's four stages, but the backbone alone doesn't use them: it must be given four."""
    options = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64, "add_fpn": True}
    config = small(backbone_config=BeitConfig(**options, out_indices=[1, 2, 3, 4]))
    model = MaskFormerForInstanceSegmentation(config).eval()
    model.save_pretrained(tmp_path)
    loaded = MaskFormerForInstanceSegmentation.from_pretrained(str(tmp_path))
    assert_same(loaded, model, pixels((64, 64)))
    assert AutoImageProcessor.from_pretrained(str(tmp_path)).image_processor_type == "MaskFormerImageProcessor"
    backbone = AutoBackbone.from_pretrained(str(tmp_path), out_indices=[1, 2, 3, 4])
    assert backbone.strides == [4, 8, 16, 32]
    with pytest.raises(StageError, match="exactly four stages, not 1; give four out_indices"):
        AutoBackbone.from_pretrained(str(tmp_path))
    with pytest.raises(StageError, match="not 2"):
        backbone.out_indices = [1, 2]
    assert backbone.out_indices == [1, 2, 3, 4]


def test_backbone_alone_equals_the_oracle(tmp_path):
    oracle = build_oracle("swin")
    oracle.save_pretrained(tmp_path)
    x = pixels((64, 64))
    with torch.no_grad():
        maps = AutoBackbone.from_pretrained(str(tmp_path), out_features=STAGES)(x).feature_maps
        expected = oracle(x, output_hidden_states=True).encoder_hidden_states
    assert all(distance(a, b) < 1e-4 for a, b in zip(maps, expected, strict=True))


def test_model_from_a_config_has_random_weights():
    model = MaskFormerForInstanceSegmentation(small(backbone_config=tiny_resnet()))
    assert isinstance(model.encoder, ResNetBackbone) and model.encoder.out_features == STAGES
    output = model(pixels((64, 64)), pixel_mask=torch.ones(2, 64, 64))
    assert output.class_queries_logits.shape == (2, 9, 6) and output.masks_queries_logits.shape == (2, 9, 16, 16)
    assert output.hidden_states is None and len(model(pixels((64, 64)), return_dict=False)) == 5
    sum(value.mean() for value in output.to_tuple()).backward()
    assert all(p.grad is not None for p in model.parameters())
    duplicate = copy.deepcopy(model)
    assert torch.equal(duplicate(pixels((64, 64)))[0], output[0])


def test_backbone_weights_from_another_model(tmp_path):
    source = AutoBackbone.from_config(tiny_resnet(), seed=3)
    source.save_pretrained(tmp_path)
    config = small(backbone=str(tmp_path), use_pretrained_backbone=True)
    model = MaskFormerForInstanceSegmentation(config)
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], tensor)
    assert "backbone" not in config.to_dict()
    random = MaskFormerForInstanceSegmentation(small(backbone=str(tmp_path)))
    assert not torch.equal(next(random.encoder.parameters()), next(source.parameters()))
    with_options = small(backbone=str(tmp_path), backbone_kwargs={"out_indices": [1, 3]})
    assert with_options.backbone_config.out_features == ["stage1", "stage3"]
    assert MaskFormerForInstanceSegmentation(with_options)(pixels((64, 64))).masks_queries_logits.shape[-1] == 16


def test_backbone_weights_from_a_swin_classifier(tmp_path):
    source = randomized(transformers.SwinForImageClassification(transformers.SwinConfig(**BACKBONES["swin"])))
    source.save_pretrained(tmp_path)
    model = MaskFormerForInstanceSegmentation(small(backbone=str(tmp_path), use_pretrained_backbone=True))
    assert model.config.backbone_config.model_type == "maskformer-swin" and model.encoder.out_features == STAGES
    source_tensors = source.swin.encoder.layers[1].blocks[1].state_dict().values()
    bias_table = model.encoder.layers[1][1].attn.table
    assert any(torch.equal(bias_table, tensor) for tensor in source_tensors)


def test_timm_backbone(tmp_path):
    model = MaskFormerForInstanceSegmentation(small(backbone="resnet18", use_timm_backbone=True)).eval()
    assert model.encoder.out_features == ["layer1", "layer2", "layer3", "layer4"]
    model.save_pretrained(tmp_path)
    x = pixels((64, 64))
    loaded = MaskFormerForInstanceSegmentation.from_pretrained(str(tmp_path))
    assert torch.equal(loaded(x)[1], model(x)[1])
    oracle = transformers.MaskFormerForInstanceSegmentation.from_pretrained(tmp_path).eval()
    assert_same(model, oracle, x)


def test_invalid_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match="as backbone or as backbone_config, not both"):
        MaskFormerConfig(backbone="resnet18", backbone_config=ResNetConfig())
    with pytest.raises(ValueError, match="needs the name of a model"):
        MaskFormerConfig(backbone_config=ResNetConfig(), use_pretrained_backbone=True)
    with pytest.raises(ValueError, match="no other is supported"):
        MaskFormerConfig(decoder_config={"model_type": "mask2former"})
    tiny_resnet().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="not a maskformer"):
        MaskFormerConfig.from_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match="not a maskformer"):
        MaskFormerForInstanceSegmentation.from_pretrained(str(tmp_path))


def test_config_round_trip_through_its_file(tmp_path):
    config = small(backbone_config=tiny_resnet(), id2label=dict(enumerate("abcde")))
    config.save_pretrained(tmp_path)
    loaded = MaskFormerConfig.from_pretrained(str(tmp_path))
    assert loaded == config and loaded.id2label[4] == "e" and isinstance(loaded.backbone_config, BackboneConfig)
    assert MaskFormerConfig.from_pretrained(str(tmp_path), num_labels=2).id2label == {0: "LABEL_0", 1: "LABEL_1"}
    with pytest.raises(ValueError, match=r"no 'num_lables'\. Did you mean 'num_labels'"):
        MaskFormerConfig.from_pretrained(str(tmp_path), num_lables=2)
    oracle = transformers.MaskFormerConfig.from_pretrained(tmp_path)
    assert oracle.backbone_config.hidden_sizes == config.backbone_config.hidden_sizes
    assert oracle.decoder_config.num_queries == 9 and oracle.num_labels == 5


# --- from masks to segments -------------------------------------------------------------------------------------


def predictions(seed):
    generator = torch.Generator().manual_seed(seed)
    masks = nn.functional.interpolate(torch.randn(2, 9, 5, 7, generator=generator) * 4, (20, 28), mode="bilinear")
    classes = torch.randn(2, 9, 6, generator=generator) * 4
    return modeling.MaskFormerForInstanceSegmentationOutput(class_queries_logits=classes, masks_queries_logits=masks)


def as_lists(results):
    return [{**result, "segmentation": torch.as_tensor(result["segmentation"]).tolist()} for result in results]


@pytest.mark.parametrize("sizes", [None, [(40, 30), (13, 50)]])
@pytest.mark.parametrize("seed", range(4))
def test_segments_equal_the_oracle(seed, sizes):
    model = MaskFormerForInstanceSegmentation(small(backbone_config=tiny_resnet()))
    oracle = transformers.MaskFormerImageProcessorPil()
    outputs = predictions(seed)
    semantic = (p.post_process_semantic_segmentation(outputs, target_sizes=sizes) for p in (model, oracle))
    assert all(torch.equal(a, b) for a, b in zip(*semantic, strict=True))
    for threshold in (0.0, 0.3, 0.99):
        for options in ({}, {"return_binary_maps": True}):
            options = {"threshold": threshold, "target_sizes": sizes, **options}
            a, b = (p.post_process_instance_segmentation(outputs, **options) for p in (model, oracle))
            assert as_lists(a) == as_lists(b)
        options = {"threshold": threshold, "target_sizes": sizes, "return_coco_annotation": True}
        a, b = (p.post_process_instance_segmentation(outputs, **options) for p in (model, oracle))
        assert a == [
            {**result, "segmentation": [list(map(int, run)) for run in result["segmentation"]]} for result in b
        ]
        for fuse in (set(), {0, 1, 2}):
            options = {"threshold": threshold, "target_sizes": sizes, "label_ids_to_fuse": fuse}
            options["overlap_mask_area_threshold"] = 0.4
            a, b = (p.post_process_panoptic_segmentation(outputs, **options) for p in (model, oracle))
            assert as_lists(a) == as_lists(b)


def test_image_processor_equals_the_oracle(tmp_path):
    oracle = build_oracle("resnet")
    oracle.save_pretrained(tmp_path)
    oracle_processor = transformers.MaskFormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    oracle_processor.save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(str(tmp_path))
    photos = [np.random.default_rng(i).integers(0, 256, (70 + 30 * i, 90, 3), dtype=np.uint8) for i in range(2)]
    inputs, expected = (p(photos[0], return_tensors="pt") for p in (processor, oracle_processor))
    assert torch.equal(inputs["pixel_values"], expected["pixel_values"])
    model = MaskFormerForInstanceSegmentation.from_pretrained(str(tmp_path))
    outputs = model(**inputs)
    segments = processor.post_process_semantic_segmentation(outputs, target_sizes=[photos[0].shape[:2]])
    assert segments[0].shape == (70, 90)
    smaller = processor.with_settings(size={"shortest_edge": 32, "longest_edge": 64})
    assert smaller.post_process_panoptic_segmentation(outputs)


def test_invalid_post_processing_calls_are_refused():
    model = MaskFormerForInstanceSegmentation(small(backbone_config=tiny_resnet()))
    with pytest.raises(ValueError, match="1 target sizes for 2 images"):
        model.post_process_semantic_segmentation(predictions(0), target_sizes=[(4, 4)])
    with pytest.raises(ValueError, match="exclude each other; choose one"):
        model.post_process_instance_segmentation(predictions(0), return_coco_annotation=True, return_binary_maps=True)


def test_offline_also_applies_to_the_named_backbone(tmp_path, monkeypatch):
    monkeypatch.setattr(HubRepo, "download", lambda *_: pytest.fail("the network was used"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "maskformer", "backbone": "org/none-such", "use_timm_backbone": False})
    )
    with pytest.raises(ModelNotFound, match="not in the cache"):
        MaskFormerConfig.from_pretrained(tmp_path, offline=True)
