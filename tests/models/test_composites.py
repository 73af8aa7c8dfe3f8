"""The backbone of every composite gives the same maps as inside transformers' complete model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from backbone_cli import composites, registry
from backbone_cli.auto import AutoBackbone
from backbone_cli.checkpoint import Checkpoint
from backbone_cli.cli import run
from backbone_cli.errors import UnsupportedModel
from backbone_cli.resolve import resolve
from tests.models.parity import TOLERANCE, distance, pixels, randomized, save

STAGES = ["stage1", "stage2", "stage3", "stage4"]
UPPER = {"out_features": STAGES[1:]}

RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "out_features": STAGES,
}
RT_DETR_RESNET = RESNET | {"model_type": "rt_detr_resnet"} | UPPER
SWIN = {
    "model_type": "swin",
    "image_size": 64,
    "embed_dim": 12,
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 2, 2, 2],
    "window_size": 4,
    "out_features": STAGES,
}
SWINV2 = SWIN | {"model_type": "swinv2"}
CONVNEXT = {"model_type": "convnext", "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 2, 1], "out_features": STAGES}
BIT = {
    "model_type": "bit",
    "embedding_size": 8,
    "hidden_sizes": [32, 64, 96],
    "depths": [1, 1, 1],
    "num_groups": 4,
    "global_padding": "same",
    "layer_type": "bottleneck",
    "embedding_dynamic_padding": True,
    "out_features": STAGES[:3],
}
HGNET = {
    "model_type": "hgnet_v2",
    "stem_channels": [3, 8, 12],
    "stage_in_channels": [12, 16, 24, 28],
    "stage_mid_channels": [8, 8, 8, 8],
    "stage_out_channels": [16, 24, 28, 32],
    "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [1, 1, 1, 1],
    "embedding_size": 12,
    "hidden_sizes": [16, 24, 28, 32],
    "out_features": STAGES,
}
TIMM = {"model_type": "timm_backbone", "backbone": "test_resnet", "out_indices": [1, 2, 3, 4]}
TIMM_SWIN = {
    "model_type": "timm_backbone",
    "backbone": "swin_tiny_patch4_window7_224",
    "img_size": [64, 96],
    "always_partition": True,
    "out_indices": [1, 2, 3],
}
VIT = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64, "out_features": STAGES}
# The heads of depth models request tokens and reshape them themselves.
DINOV2 = VIT | {"model_type": "dinov2", "patch_size": 14, "reshape_hidden_states": False}
DINOV3 = VIT | {
    "model_type": "dinov3_vit",
    "intermediate_size": 40,
    "num_register_tokens": 2,
    "return_class_token": True,
}
BEIT = (
    VIT
    | {"model_type": "beit", "intermediate_size": 40, "use_relative_position_bias": True}
    | {"reshape_hidden_states": False}
)
FOCALNET = {
    "model_type": "focalnet",
    "embed_dim": 8,
    "hidden_sizes": [8, 16, 32, 64],
    "depths": [1, 1, 1, 1],
    "out_features": STAGES,
}
VITPOSE = VIT | {"model_type": "vitpose_backbone", "image_size": [64, 96], "out_features": ["stage2", "stage4"]}
VITDET = VIT | {"model_type": "vitdet", "num_channels": 4, "out_features": ["stage4"]}

TEXT = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
DETR = {
    "d_model": 32,
    "hidden_size": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,  # in some, the heads of later layers share the first one's weights
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_queries": 4,
}
DAB = {key: value for key, value in DETR.items() if key != "d_model"}
GROUNDING = DETR | {"text_config": TEXT | {"model_type": "bert"}}
MASKFORMER = {"decoder_config": DETR | {"model_type": "detr"}, "fpn_feature_size": 32, "mask_feature_size": 32}
MASKS = {
    "mask_feature_size": 32,
    "feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "dim_feedforward": 16,
    "num_queries": 4,
}
ONEFORMER = MASKS | {
    "conv_dim": 32,
    "mask_dim": 32,
    "text_encoder_width": 16,
    "text_encoder_num_layers": 1,
    "text_encoder_vocab_size": 40,
    "text_encoder_context_length": 8,
    "text_encoder_n_ctx": 2,
}
RT_DETR = {
    "d_model": 16,
    "encoder_hidden_dim": 16,
    "encoder_in_channels": [16, 24, 32],
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_in_channels": [16, 16, 16],
    "decoder_ffn_dim": 16,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "num_queries": 4,
}
D_FINE = RT_DETR | {"encoder_in_channels": [24, 28, 32]}
# Kernel, stride and padding of the convolutions in this head's blocks.
STRIPS = {
    f"{direction}_{ratio}ratio": [1, 1, 0]
    for direction in ("vertical_long_to_small_conv", "horizontal_small_to_long_conv", "symmetric_conv_long")
    for ratio in ("long", "mid", "short")
} | {"reduce_channel": [1, 1, 0], "return_channel": [1, 1, 0]}
OCR = {"kernel_list": [3, 2, 2], "scale_factor_list": [1, 2, 4, 8], "intraclass_block_config": STRIPS}
OMDET = {
    "text_config": TEXT | {"model_type": "clip_text_model", "projection_dim": 16},
    "text_projection_in_dim": 32,
    "text_projection_out_dim": 32,
    "class_embed_dim": 32,
    "task_encoder_hidden_dim": 16,
    "encoder_hidden_dim": 32,
    "vision_features_channels": [32, 32, 32],
    "encoder_in_channels": [24, 48, 96],
    "encoder_attention_heads": 2,
    "encoder_dim_feedforward": 16,
    "decoder_hidden_dim": 32,
    "decoder_num_heads": 2,
    "decoder_num_layers": 1,
    "decoder_dim_feedforward": 16,
    "num_queries": 4,
}
UPERNET = {"hidden_size": 16, "auxiliary_channels": 8, "pool_scales": [1, 2]}
DEPTH = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "head_hidden_size": 8}
DPT = DEPTH | {"hidden_size": 24, "image_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2}
HYBRID = {"is_hybrid": True, "backbone_featmap_shape": [1, 96, 4, 4], "neck_ignore_stages": [0, 1]}
TVP = TEXT | {"max_img_size": 32, "visual_prompt_size": 8}
VITMATTE = {"hidden_size": 24, "convstream_hidden_sizes": [8, 8, 8], "fusion_hidden_sizes": [8, 8, 8, 8]}
ZOE = DEPTH | {"bottleneck_features": 8, "bin_embedding_dim": 8, "num_relative_features": 8}


@dataclass(frozen=True)
class Example:
    """A composite of transformers, and the name of its backbone's submodule."""

    cls: str
    backbone_path: str
    config: Mapping[str, Any]
    backbone: Mapping[str, Any]

    def build(self) -> nn.Module:
        cls = getattr(transformers, self.cls)
        torch.manual_seed(0)
        return randomized(cls(cls.config_class(**self.config, backbone_config=dict(self.backbone))).eval())

    def __str__(self) -> str:
        return f"{self.cls}, {self.backbone['model_type']}"


EXAMPLES = (
    Example("CHMv2ForDepthEstimation", "backbone", DEPTH | {"post_process_channels": [8] * 4}, DINOV3),
    Example("ConditionalDetrForObjectDetection", "model.backbone.model", DETR, RESNET),
    Example("ConditionalDetrForObjectDetection", "model.backbone.model", DETR, TIMM),
    Example("ConditionalDetrForSegmentation", "conditional_detr.model.backbone.model", DETR, RESNET),
    Example("ConditionalDetrModel", "backbone.model", DETR, SWIN),
    Example("DPTForDepthEstimation", "backbone", DPT, BEIT),
    Example("DPTForDepthEstimation", "backbone", DPT, DINOV2),
    Example("DPTForDepthEstimation", "backbone", DPT, SWINV2),
    Example("DPTForDepthEstimation", "dpt.embeddings.backbone", DPT | HYBRID, BIT),
    Example("DPTForSemanticSegmentation", "dpt.embeddings.backbone", DPT | HYBRID, BIT),
    Example("DPTModel", "embeddings.backbone", DPT | HYBRID, BIT),
    Example("DabDetrForObjectDetection", "model.backbone.conv_encoder.model", DAB, RESNET),
    Example("DabDetrForObjectDetection", "model.backbone.conv_encoder.model", DAB, TIMM),
    Example("DeformableDetrForObjectDetection", "model.backbone.model", DETR, RESNET),
    Example("DeformableDetrForObjectDetection", "model.backbone.model", DETR, SWIN),
    Example("DeformableDetrForObjectDetection", "model.backbone.model", DETR, TIMM),
    Example("DFineForObjectDetection", "model.backbone.model", D_FINE, DINOV3 | UPPER),
    Example("DFineForObjectDetection", "model.backbone.model", D_FINE, HGNET | UPPER),
    Example("Deimv2ForObjectDetection", "model.conv_encoder.backbone", D_FINE, DINOV3 | UPPER),
    Example("Deimv2ForObjectDetection", "model.conv_encoder.model", D_FINE, HGNET | UPPER),
    Example("DepthAnythingForDepthEstimation", "backbone", DEPTH | {"reassemble_hidden_size": 24}, DINOV2),
    Example("DetrForObjectDetection", "model.backbone.model", DETR, CONVNEXT),
    Example("DetrForObjectDetection", "model.backbone.model", DETR, DINOV3),
    Example("DetrForObjectDetection", "model.backbone.model", DETR, FOCALNET),
    Example("DetrForObjectDetection", "model.backbone.model", DETR, SWIN),
    Example("DetrForObjectDetection", "model.backbone.model", DETR, TIMM),
    Example("DetrForSegmentation", "detr.model.backbone.model", DETR, RESNET),
    Example("DetrModel", "backbone.model", DETR, RESNET),
    Example("GroundingDinoForObjectDetection", "model.backbone.conv_encoder.model", GROUNDING, SWIN | UPPER),
    Example("GroundingDinoModel", "backbone.conv_encoder.model", GROUNDING, SWIN | UPPER),
    Example("MMGroundingDinoForObjectDetection", "model.backbone.conv_encoder.model", GROUNDING, SWIN | UPPER),
    Example("Mask2FormerForUniversalSegmentation", "model.pixel_level_module.encoder", MASKS, SWIN),
    Example("Mask2FormerModel", "pixel_level_module.encoder", MASKS, RESNET),
    Example("Mask2FormerModel", "pixel_level_module.encoder", MASKS, TIMM),
    Example("MaskFormerForInstanceSegmentation", "model.pixel_level_module.encoder", MASKFORMER, FOCALNET),
    Example("MaskFormerForInstanceSegmentation", "model.pixel_level_module.encoder", MASKFORMER, RESNET),
    Example("MaskFormerForInstanceSegmentation", "model.pixel_level_module.encoder", MASKFORMER, SWIN),
    Example("MaskFormerModel", "pixel_level_module.encoder", MASKFORMER, SWIN),
    Example("OmDetTurboForObjectDetection", "vision_backbone.vision_backbone", OMDET, SWIN | UPPER),
    Example(
        "OmDetTurboForObjectDetection",
        "vision_backbone.vision_backbone",
        OMDET | {"encoder_in_channels": [192, 384, 768]},
        TIMM_SWIN,
    ),
    Example("OneFormerForUniversalSegmentation", "model.pixel_level_module.encoder", ONEFORMER, SWIN),
    Example("OneFormerForUniversalSegmentation", "model.pixel_level_module.encoder", ONEFORMER, CONVNEXT),
    Example("PPDocLayoutV2ForObjectDetection", "model.backbone.model", D_FINE, HGNET | UPPER),
    Example("PPDocLayoutV3ForObjectDetection", "model.backbone.model", D_FINE, HGNET),
    Example("PPDocLayoutV4ForObjectDetection", "model.backbone.model", D_FINE, HGNET | UPPER),
    Example("PPOCRV5ServerDetForObjectDetection", "model.backbone", OCR, HGNET),
    Example("PPOCRV5ServerRecForTextRecognition", "model.backbone", {"hidden_size": 16}, HGNET),
    Example("PromptDepthAnythingForDepthEstimation", "backbone", DEPTH | {"reassemble_hidden_size": 24}, DINOV2),
    Example("RTDetrForObjectDetection", "model.backbone.model", RT_DETR, DINOV3 | UPPER),
    Example("RTDetrForObjectDetection", "model.backbone.model", RT_DETR, RT_DETR_RESNET),
    Example("RTDetrV2ForObjectDetection", "model.backbone.model", RT_DETR, RESNET | UPPER),
    Example(
        "RTDetrV2ForObjectDetection",
        "model.backbone.model",
        RT_DETR | {"encoder_in_channels": [64, 128, 256]},
        TIMM | {"out_indices": [2, 3, 4]},
    ),
    Example("TableTransformerForObjectDetection", "model.backbone.conv_encoder.model", DETR, RESNET),
    Example("TableTransformerForObjectDetection", "model.backbone.conv_encoder.model", DETR, TIMM),
    Example("TvpForVideoGrounding", "model.vision_model.backbone", TVP, RESNET | {"out_features": ["stage4"]}),
    Example("UperNetForSemanticSegmentation", "backbone", UPERNET | {"auxiliary_in_channels": 16}, CONVNEXT),
    Example("UperNetForSemanticSegmentation", "backbone", UPERNET | {"auxiliary_in_channels": 24}, RESNET),
    Example("UperNetForSemanticSegmentation", "backbone", UPERNET | {"auxiliary_in_channels": 48}, SWIN),
    Example("VitPoseForPoseEstimation", "backbone", {}, VITPOSE),
    Example("VitMatteForImageMatting", "backbone", VITMATTE, VITDET),
    Example("ZoeDepthForDepthEstimation", "backbone", ZOE, BEIT),
)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_backbone_equals_the_one_inside_the_composite(example, tmp_path, monkeypatch):
    for kind in ("mask2former", "maskformer", "oneformer"):  # only their losses need scipy
        monkeypatch.setattr(f"transformers.models.{kind}.modeling_{kind}.requires_backends", lambda *_: None)
    model = example.build()
    oracle = model.get_submodule(example.backbone_path)
    read = []
    monkeypatch.setattr(
        Checkpoint, "read", lambda self, name, real=Checkpoint.read: read.append(name) or real(self, name)
    )
    stages = list(model.config.backbone_config.out_features)
    backbone = AutoBackbone.from_pretrained(str(save(model, tmp_path)), out_features=stages)
    x = pixels(size := (64, 96), channels=example.backbone.get("num_channels", 3))
    with torch.no_grad():
        actual, expected = backbone(x).feature_maps, oracle(x)
    if not isinstance(expected, list):  # a list comes from a timm model without its wrapper
        expected = expected.feature_maps
    assert max(distance(a, as_map(e, a)) for a, e in zip(actual, expected, strict=True)) < TOLERANCE
    shapes = backbone.config.map_shapes(*size)
    assert [tuple(m.shape[1:]) for m in actual] == [shapes[i] for i in backbone.config.requested]
    assert len(read) == len(set(read)) > 0
    assert all(name.startswith(composites.find_composite(model.config.model_type).prefixes) for name in read)


def test_detr_checkpoint_from_before_backbone_config(tmp_path):
    example = Example("DetrForObjectDetection", "model.backbone.model", DETR, TIMM)
    model = example.build()
    save(model, tmp_path)
    raw_config = {"model_type": "detr", "backbone": "test_resnet", "use_timm_backbone": True, "dilation": False}
    raw_config |= {"backbone_config": None, "use_pretrained_backbone": True}
    (tmp_path / "config.json").write_text(json.dumps(raw_config))
    backbone = AutoBackbone.from_pretrained(str(tmp_path))
    assert backbone.out_features == ["layer4"]
    x = pixels((64, 96))
    with torch.no_grad():
        assert distance(backbone(x).feature_maps[0], model.get_submodule(example.backbone_path)(x)[-1]) < TOLERANCE


def as_map(state: Tensor, like: Tensor) -> Tensor:
    """A state of the oracle as a map (B, C, H, W); tokens lose their prefix tokens."""
    if state.ndim == 4:
        return state if state.shape == like.shape else state.permute(0, 3, 1, 2)
    grid = like.shape[2:]
    return state[:, -grid.numel() :].transpose(1, 2).unflatten(2, grid)


# --- the backbone in config.json --------------------------------------------------------------------------------


def no_other_model(name: str) -> dict[str, Any]:
    raise AssertionError(f"{name} should not be read")


def complete(raw_config: dict[str, Any]) -> str:
    """A raw config with all its defaults, as JSON."""
    config_class = registry.find_family(raw_config["model_type"]).config_class()
    return json.loads(json.dumps(config_class.from_dict(raw_config, out_indices=[-1]).to_dict()))


SUPPORTED = {family.model_type for family in registry.families()}
ROWS = {composite.model_type: composite for composite in composites.composites()}


@pytest.mark.parametrize("composite", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("raw_config", [{}, {"use_timm_backbone": False}], ids=["empty config", "not timm"])
def test_default_backbone_is_the_same_as_in_transformers(composite, raw_config):
    if composite.model_type == "dpt":
        raw_config = raw_config | {"is_hybrid": True}
    keys = composite.config_key.split(".")
    default = reduce(getattr, keys, transformers.CONFIG_MAPPING[composite.model_type](**raw_config)).to_dict()
    expected = composite.backbone(reduce(lambda inner, key: {key: inner}, reversed(keys), default), no_other_model)
    actual = composite.backbone(raw_config, no_other_model)
    if actual["model_type"] in SUPPORTED:
        implied = {key for key, value in complete(actual).items() if value is None}
        assert complete(actual) == complete(expected) | dict.fromkeys(implied)
    else:
        assert actual == {key: expected[key] for key in actual}


def test_timm_backbone_in_older_configs():
    def backbone(**raw_config):
        return ROWS["detr"].backbone(raw_config, no_other_model)

    timm = {"model_type": "timm_backbone", "backbone": "resnet50", "num_channels": 3}
    assert backbone(backbone="resnet50", use_timm_backbone=True, backbone_config=None) == timm
    assert backbone(backbone="resnet50", use_pretrained_backbone=True, dilation=False) == timm
    assert backbone(dilation=True, num_channels=1) == timm | {"num_channels": 1, "output_stride": 16}
    options = {"in_chans": 1, "output_stride": 16, "out_indices": [1, 2, 3, 4]}
    config_class = registry.find_family("timm_backbone").config_class()
    config = config_class.from_dict(backbone(backbone="resnet18", backbone_kwargs=options))
    assert (config.backbone, config.num_channels, config.output_stride) == ("resnet18", 1, 16)
    assert ROWS["mask2former"].backbone({"backbone": "resnet18", "use_timm_backbone": True}, no_other_model) == {
        "model_type": "timm_backbone",
        "backbone": "resnet18",
        "num_channels": 3,
    }


def test_omdet_turbo_builds_its_timm_swin_for_its_image_size():
    timm = {
        "model_type": "timm_backbone",
        "backbone": "swin_tiny_patch4_window7_224",
        "model_args": {"always_partition": True},
    }
    assert ROWS["omdet-turbo"].backbone({"image_size": 320}, no_other_model) == timm | {
        "num_channels": 3,
        "img_size": 320,
    }
    options = {"always_partition": True, "img_size": 640, "out_indices": [1, 2, 3]}
    raw_config = {"backbone": "swin_tiny_patch4_window7_224", "use_timm_backbone": True, "backbone_kwargs": options}
    assert ROWS["omdet-turbo"].backbone(raw_config, no_other_model) == timm | {"img_size": 640}
    saved = {"backbone_config": transformers.OmDetTurboConfig().backbone_config.to_dict()}
    assert ROWS["omdet-turbo"].backbone(saved, no_other_model).items() >= (timm | {"img_size": 640}).items()


@pytest.mark.parametrize("more", [{"use_timm_backbone": False}, {}], ids=["explicit", "from the name"])
def test_backbone_named_as_another_model(more, tmp_path):
    other = tmp_path / "other"
    transformers.ResNetConfig(**RESNET).save_pretrained(other)
    raw_config = {"model_type": "upernet", "backbone": str(other), "backbone_kwargs": {"hidden_act": "gelu"}}
    (tmp_path / "config.json").write_text(json.dumps(raw_config | more))
    config = resolve(str(tmp_path)).config
    assert (config.model_type, config.hidden_sizes, config.hidden_act) == ("resnet", [8, 16, 24, 32], "gelu")


def test_older_key_of_the_vision_config_wins():
    vision_config = {"hidden_size": 64, "model_type": "clip_vision_model"}
    read = partial(ROWS["clip"].backbone, read=no_other_model)
    assert read({"vision_config": vision_config, "vision_config_dict": None}) == vision_config
    assert read({"vision_config": vision_config, "vision_config_dict": {"patch_size": 16}}) == {
        "patch_size": 16,
        "model_type": "clip_vision_model",
    }


def test_type_of_a_tower_follows_from_that_of_the_model():
    assert ROWS["idefics2"].backbone({"vision_config": {"model_type": "idefics2"}}, no_other_model) == {
        "model_type": "idefics2_vision"
    }
    typed = {"model_type": "siglip_vision_model", "hidden_size": 32}
    assert ROWS["internvl"].backbone({"vision_config": typed}, no_other_model) == typed


def test_backbone_config_without_model_type_gets_the_default():
    assert ROWS["mask2former"].backbone({"backbone_config": {"embed_dim": 12}}, no_other_model) == {
        "model_type": "swin",
        "embed_dim": 12,
    }
    assert ROWS["upernet"].backbone({"backbone_config": {"model_type": None}}, no_other_model)["model_type"] == "resnet"
    assert ROWS["maskformer"].backbone({"backbone_config": {}}, no_other_model)["model_type"] == "maskformer-swin"


def test_default_is_the_last_stage_and_not_those_of_the_head(tmp_path, caplog):
    raw_config = {"model_type": "upernet", "backbone_config": RESNET | {"out_features": ["stage1", "stage2"]}}
    (tmp_path / "config.json").write_text(json.dumps(raw_config))
    with caplog.at_level("INFO", "backbone_cli"):
        assert resolve(str(tmp_path)).config.out_features == ["stage4"]
    assert caplog.messages == ["The backbone of this upernet model is a resnet; its own head uses stage1, stage2."]


@pytest.mark.parametrize(
    ("raw_config", "message"),
    [
        ({"model_type": "detr", "backbone_config": []}, "The backbone settings in this detr config are invalid."),
        ({"model_type": "dpt"}, "This dpt model has no separate backbone inside."),
        (
            {"model_type": "vitpose", "backbone_config": {"model_type": "swan"}},
            "The backbone of this vitpose model has the type 'swan', which is not supported."
            " `backbone models` lists the supported types.",
        ),
        (
            {"model_type": "regnet", "architectures": ["RegNetForImageClassification"]},
            "Models of type 'regnet' have no backbone class, so their stages are undefined."
            " timm has similar models with stages: `backbone models --timm 'regnet*'`.",
        ),
        ({"model_type": "clip", "vision_config": 3}, "The backbone settings in this clip config are invalid."),
        (
            {"model_type": "sam3_video", "detector_config": {"vision_config": []}},
            "The backbone settings in this sam3_video config are invalid.",
        ),
        (
            {"model_type": "swim"},
            "Models of type 'swim' are not supported. Did you mean 'swin'?"
            " `backbone models` lists the supported families.",
        ),
    ],
)
def test_models_without_a_supported_backbone_are_refused(raw_config, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(raw_config))
    with pytest.raises(UnsupportedModel) as error:
        resolve(str(tmp_path))
    assert str(error.value) == message


def test_suggested_timm_patterns_match_models():
    import timm

    assert all(timm.list_models(pattern) for pattern in registry.ONLY_IN_TIMM.values())
    assert not set(registry.ONLY_IN_TIMM) & (SUPPORTED | set(ROWS))


def test_supported_composites_are_listed(capsys):
    assert run(["models", "--family", "zoedepth", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"family": "zoedepth", "model": name}
        for name in ("Intel/zoedepth-kitti", "Intel/zoedepth-nyu", "Intel/zoedepth-nyu-kitti")
    ]
    assert run(["models", "--json"]) == 0
    listed = {row["family"] for row in json.loads(capsys.readouterr().out)}
    assert set(ROWS) - listed == {"lw_detr", "rf_detr", "tipsv2_dpt"}  # their backbones have no family


def test_rows_are_sorted_and_list_each_id_once():
    assert list(ROWS) == sorted(ROWS)
    ids = [name for row in (*ROWS.values(), *registry.families()) for name in row.ids]
    assert len(ids) == len(set(ids))
    assert not set(ROWS) & SUPPORTED
