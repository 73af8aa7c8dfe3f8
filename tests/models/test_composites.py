"""Every composite: the backbone inside it is the one that the whole model of transformers runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from backbone_cli import composites
from backbone_cli.auto import AutoBackbone
from backbone_cli.checkpoint import Weights
from tests.models.parity import TOLERANCE, distance, drawn, pixels, save

STAGES = ["stage1", "stage2", "stage3", "stage4"]
UPPER = {"out_features": STAGES[1:]}

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
VIT = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64, "out_features": STAGES}
# The heads of depth models ask for tokens, and take them apart themselves.
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
VITDET = VIT | {"model_type": "vitdet", "num_channels": 4, "out_features": ["stage4"]}

TEXT = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
DETR = {
    "d_model": 32,
    "hidden_size": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,  # some tie the heads of later layers to the first's
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
class Held:
    """A composite that transformers builds, and where its backbone runs."""

    cls: str
    place: str
    config: Mapping[str, Any]
    backbone: Mapping[str, Any]

    def build(self) -> nn.Module:
        cls = getattr(transformers, self.cls)
        torch.manual_seed(0)
        return drawn(cls(cls.config_class(**self.config, backbone_config=dict(self.backbone))).eval())

    def __str__(self) -> str:
        return f"{self.cls}, {self.backbone['model_type']}"


HELD = (
    Held("CHMv2ForDepthEstimation", "backbone", DEPTH | {"post_process_channels": [8] * 4}, DINOV3),
    Held("ConditionalDetrForObjectDetection", "model.backbone.model", DETR, RESNET),
    Held("ConditionalDetrForSegmentation", "conditional_detr.model.backbone.model", DETR, RESNET),
    Held("ConditionalDetrModel", "backbone.model", DETR, SWIN),
    Held("DPTForDepthEstimation", "backbone", DPT, BEIT),
    Held("DPTForDepthEstimation", "backbone", DPT, DINOV2),
    Held("DPTForDepthEstimation", "backbone", DPT, SWINV2),
    Held("DPTForDepthEstimation", "dpt.embeddings.backbone", DPT | HYBRID, BIT),
    Held("DPTForSemanticSegmentation", "dpt.embeddings.backbone", DPT | HYBRID, BIT),
    Held("DPTModel", "embeddings.backbone", DPT | HYBRID, BIT),
    Held("DabDetrForObjectDetection", "model.backbone.conv_encoder.model", DAB, RESNET),
    Held("DeformableDetrForObjectDetection", "model.backbone.model", DETR, RESNET),
    Held("DeformableDetrForObjectDetection", "model.backbone.model", DETR, SWIN),
    Held("DepthAnythingForDepthEstimation", "backbone", DEPTH | {"reassemble_hidden_size": 24}, DINOV2),
    Held("DetrForObjectDetection", "model.backbone.model", DETR, CONVNEXT),
    Held("DetrForObjectDetection", "model.backbone.model", DETR, SWIN),
    Held("DetrForSegmentation", "detr.model.backbone.model", DETR, RESNET),
    Held("DetrModel", "backbone.model", DETR, RESNET),
    Held("GroundingDinoForObjectDetection", "model.backbone.conv_encoder.model", GROUNDING, SWIN | UPPER),
    Held("GroundingDinoModel", "backbone.conv_encoder.model", GROUNDING, SWIN | UPPER),
    Held("MMGroundingDinoForObjectDetection", "model.backbone.conv_encoder.model", GROUNDING, SWIN | UPPER),
    Held("Mask2FormerForUniversalSegmentation", "model.pixel_level_module.encoder", MASKS, SWIN),
    Held("Mask2FormerModel", "pixel_level_module.encoder", MASKS, RESNET),
    Held("MaskFormerForInstanceSegmentation", "model.pixel_level_module.encoder", MASKFORMER, RESNET),
    Held("MaskFormerForInstanceSegmentation", "model.pixel_level_module.encoder", MASKFORMER, SWIN),
    Held("MaskFormerModel", "pixel_level_module.encoder", MASKFORMER, SWIN),
    Held("OmDetTurboForObjectDetection", "vision_backbone.vision_backbone", OMDET, SWIN | UPPER),
    Held("OneFormerForUniversalSegmentation", "model.pixel_level_module.encoder", ONEFORMER, SWIN),
    Held("OneFormerForUniversalSegmentation", "model.pixel_level_module.encoder", ONEFORMER, CONVNEXT),
    Held("PromptDepthAnythingForDepthEstimation", "backbone", DEPTH | {"reassemble_hidden_size": 24}, DINOV2),
    Held("RTDetrForObjectDetection", "model.backbone.model", RT_DETR, RESNET | UPPER),
    Held("RTDetrV2ForObjectDetection", "model.backbone.model", RT_DETR, RESNET | UPPER),
    Held("TableTransformerForObjectDetection", "model.backbone.conv_encoder.model", DETR, RESNET),
    Held("TvpForVideoGrounding", "model.vision_model.backbone", TVP, RESNET | {"out_features": ["stage4"]}),
    Held("UperNetForSemanticSegmentation", "backbone", UPERNET | {"auxiliary_in_channels": 16}, CONVNEXT),
    Held("UperNetForSemanticSegmentation", "backbone", UPERNET | {"auxiliary_in_channels": 24}, RESNET),
    Held("UperNetForSemanticSegmentation", "backbone", UPERNET | {"auxiliary_in_channels": 48}, SWIN),
    Held("VitMatteForImageMatting", "backbone", VITMATTE, VITDET),
    Held("ZoeDepthForDepthEstimation", "backbone", ZOE, BEIT),
)


@pytest.mark.parametrize("held", HELD, ids=str)
def test_the_backbone_inside_is_the_one_that_the_composite_runs(held, tmp_path, monkeypatch):
    for kind in ("mask2former", "maskformer", "oneformer"):  # their losses alone need scipy
        monkeypatch.setattr(f"transformers.models.{kind}.modeling_{kind}.requires_backends", lambda *_: None)
    model = held.build()
    inside = model.get_submodule(held.place)
    read = []
    monkeypatch.setattr(Weights, "read", lambda self, name, real=Weights.read: read.append(name) or real(self, name))
    ours = AutoBackbone.from_pretrained(str(save(model, tmp_path)), out_features=list(inside.out_features))
    x = pixels(size := (64, 96), channels=held.backbone.get("num_channels", 3))
    with torch.no_grad():
        got, wanted = ours(x).feature_maps, inside(x).feature_maps
    wanted = [as_map(w, tuple(g.shape[-2:])) for g, w in zip(got, wanted, strict=True)]
    assert max(map(distance, got, wanted)) < TOLERANCE
    assert [tuple(m.shape[1:]) for m in got] == [ours.config.shapes(*size)[i] for i in ours.config.wanted]
    assert len(read) == len(set(read)) > 0
    assert all(name.startswith(composites.find(model.config.model_type).prefixes) for name in read)


def as_map(state: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens (B N C) without what stands before the patches, as B C H W."""
    return state if state.ndim == 4 else state[:, -grid[0] * grid[1] :].transpose(1, 2).unflatten(2, grid)
