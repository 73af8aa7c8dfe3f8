"""Every composite: the backbone inside is the one that the whole model of transformers runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import transformers

from backbone_cli import composites, registry
from backbone_cli.auto import AutoBackbone
from backbone_cli.checkpoint import Weights
from backbone_cli.composites import Composite
from backbone_cli.errors import UnsupportedModel
from backbone_cli.resolve import resolve
from tests.models.parity import TOLERANCE, distance, drawn, pixels, save

STAGES = ["stage1", "stage2", "stage3", "stage4"]
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "out_features": STAGES,
}
SWIN = {
    "model_type": "swin",
    "image_size": 64,
    "embed_dim": 12,
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 2, 2, 2],
    "window_size": 4,
    "out_features": STAGES,
}
UPPER = {"out_features": STAGES[1:]}
TEXT = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
DETR = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,  # some tie the heads of later layers to the first's
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_queries": 4,
}
GROUNDING = {**DETR, "text_config": {**TEXT, "model_type": "bert"}}
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


@dataclass(frozen=True)
class Held:
    """A composite that transformers builds, and the place of the backbone in it."""

    model_type: str
    cls: str
    place: str
    config: dict[str, Any]
    backbone: dict[str, Any] | None = None
    names: dict[str, str] = field(default_factory=dict)

    def build(self) -> torch.nn.Module:
        cls = getattr(transformers, self.cls)
        inside = {} if self.backbone is None else {"backbone_config": self.backbone}
        torch.manual_seed(0)
        return drawn(cls(cls.config_class(**self.config, **inside)).eval())

    def __str__(self) -> str:
        return f"{self.cls} with {(self.backbone or self.config.get('backbone_config') or {}).get('model_type')}"


HELD = [
    Held("conditional_detr", "ConditionalDetrModel", "backbone.model", DETR, SWIN),
    Held("conditional_detr", "ConditionalDetrForObjectDetection", "model.backbone.model", DETR, RESNET),
    Held(
        "dab-detr",
        "DabDetrForObjectDetection",
        "model.backbone.conv_encoder.model",
        {**DETR, "hidden_size": 32},
        RESNET,
    ),
    Held("deformable_detr", "DeformableDetrForObjectDetection", "model.backbone.model", DETR, SWIN),
    Held("detr", "DetrModel", "backbone.model", DETR, RESNET),
    Held("detr", "DetrForObjectDetection", "model.backbone.model", DETR, SWIN),
    Held("detr", "DetrForSegmentation", "detr.model.backbone.model", {**DETR, "encoder_attention_heads": 8}, RESNET),
    Held(
        "grounding-dino",
        "GroundingDinoForObjectDetection",
        "model.backbone.conv_encoder.model",
        GROUNDING,
        SWIN | UPPER,
    ),
    Held("mask2former", "Mask2FormerModel", "pixel_level_module.encoder", MASKS, RESNET),
    Held("mask2former", "Mask2FormerForUniversalSegmentation", "model.pixel_level_module.encoder", MASKS, SWIN),
    Held(
        "maskformer",
        "MaskFormerModel",
        "pixel_level_module.encoder",
        {"decoder_config": {**DETR, "model_type": "detr"}, "fpn_feature_size": 32, "mask_feature_size": 32},
        RESNET,
    ),
    Held(
        "maskformer",
        "MaskFormerForInstanceSegmentation",
        "model.pixel_level_module.encoder",
        {"decoder_config": {**DETR, "model_type": "detr"}, "fpn_feature_size": 32, "mask_feature_size": 32},
        SWIN,
    ),
    Held(
        "mm-grounding-dino",
        "MMGroundingDinoForObjectDetection",
        "model.backbone.conv_encoder.model",
        GROUNDING,
        SWIN | UPPER,
    ),
    Held("omdet-turbo", "OmDetTurboForObjectDetection", "vision_backbone.vision_backbone", {}, SWIN | UPPER),
    Held(
        "oneformer",
        "OneFormerForUniversalSegmentation",
        "model.pixel_level_module.encoder",
        {
            **MASKS,
            "conv_dim": 32,
            "mask_dim": 32,
            "text_encoder_width": 16,
            "text_encoder_num_layers": 1,
            "text_encoder_vocab_size": 40,
            "text_encoder_context_length": 8,
            "text_encoder_n_ctx": 2,
        },
        SWIN,
    ),
    Held("rt_detr", "RTDetrForObjectDetection", "model.backbone.model", RT_DETR, RESNET | UPPER),
    Held("rt_detr_v2", "RTDetrV2ForObjectDetection", "model.backbone.model", RT_DETR, RESNET | UPPER),
    Held("table-transformer", "TableTransformerForObjectDetection", "model.backbone.conv_encoder.model", DETR, RESNET),
    Held(
        "tvp",
        "TvpForVideoGrounding",
        "model.vision_model.backbone",
        {**TEXT, "max_img_size": 32, "visual_prompt_size": 8},
        RESNET | {"out_features": ["stage4"]},
    ),
    Held(
        "upernet",
        "UperNetForSemanticSegmentation",
        "backbone",
        {"hidden_size": 16, "auxiliary_channels": 8, "auxiliary_in_channels": 24},
        RESNET,
    ),
    Held(
        "upernet",
        "UperNetForSemanticSegmentation",
        "backbone",
        {"hidden_size": 16, "auxiliary_channels": 8, "auxiliary_in_channels": 48},
        SWIN,
    ),
]


def build(held, monkeypatch):
    if held.model_type in ("maskformer", "mask2former", "oneformer"):  # their losses alone need scipy
        module = f"transformers.models.{held.model_type}.modeling_{held.model_type}"
        monkeypatch.setattr(f"{module}.requires_backends", lambda *_: None)
    return held.build()


@pytest.mark.parametrize("held", HELD, ids=str)
def test_the_backbone_inside_equals_the_one_that_the_composite_runs(held, tmp_path, monkeypatch):
    model = build(held, monkeypatch)
    save(model, tmp_path)
    inside = model.get_submodule(held.place)
    read = []
    monkeypatch.setattr(Weights, "read", lambda self, name, real=Weights.read: read.append(name) or real(self, name))
    ours = AutoBackbone.from_pretrained(str(tmp_path), out_features=list(inside.out_features))
    x = pixels((64, 96))
    with torch.no_grad():
        wanted, got = inside(x).feature_maps, ours(x).feature_maps
    assert len(got) == len(wanted)
    assert max(map(distance, got, wanted)) < TOLERANCE
    assert len(read) == len(set(read)) > 0
    assert all(name.startswith(composites.find(held.model_type).prefixes) for name in read)
    assert ours.config.shapes(64, 96) == [
        tuple(m.shape[1:])
        for m in AutoBackbone.from_pretrained(str(tmp_path), out_indices=list(range(len(ours.stage_names))))(
            x
        ).feature_maps
    ]
