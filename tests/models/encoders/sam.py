"""SAM's image encoders and data2vec's: the ones whose blocks need more than tokens."""

import transformers

from .oracle import TINY, Encoder, Whole
from .vit import SWITCHES, whole

SAM_TINY = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 64, "patch_size": 8}
SAM_TINY |= {"output_channels": 10, "window_size": 3, "global_attn_indexes": [1], "mlp_ratio": 2.0}


def sam(model_type, stem):
    def configs(vision):
        prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 8, "image_embedding_size": 8}
        mask = {"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        mask |= {"iou_head_depth": 1, "iou_head_hidden_dim": 8}
        config = getattr(transformers, f"{stem}Config")
        return config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask)

    return Encoder(
        model_type,
        f"{stem}VisionModel",
        "layers",
        None,
        "vision_encoder",
        small=SAM_TINY,
        configs={
            "plain": {},
            "no relative positions": {"use_rel_pos": False},
            "no absolute positions": {"use_abs_pos": False},
            "no qkv bias": {"qkv_bias": False},
            "mlp of its own size": {"mlp_dim": 20},
            "another activation": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-2},
            "windows that fit": {"window_size": 4, "num_hidden_layers": 2},
            "global": {"global_attn_indexes": [0, 1, 2]},
            "larger patches": {"patch_size": 16},
            "one channel": {"num_channels": 1},
        },
        sizes=((64, 64), (41, 67)),
        resizes=False,
        neck=True,
        wholes=(Whole(f"{stem}Model", configs, "vision_encoder"),),
    )


SAM = sam("sam_vision_model", "Sam")
SAM_HQ = sam("sam_hq_vision_model", "SamHQ")

SAM3_TINY = TINY | {"image_size": 64, "pretrain_image_size": 24, "window_size": 3, "global_attn_indexes": [1]}
SAM3_TINY |= {"num_attention_heads": 2, "num_hidden_layers": 3, "hidden_size": 24}


def sam3(vision):
    return transformers.Sam3VisionConfig(backbone_config=vision | {"model_type": "sam3_vit_model"}, fpn_hidden_size=8)


SAM3 = Encoder(
    "sam3_vit_model",
    "models.sam3.modeling_sam3.Sam3ViTModel",
    "layers",
    None,
    small=SAM3_TINY,
    configs={
        "plain": {},
        "oblong": {"image_size": (40, 64)},
        "windows that fit": {"window_size": 4, "pretrain_image_size": 64},
        "global": {"global_attn_indexes": [0, 1, 2]},
        "the usual global blocks": {"num_hidden_layers": 9, "global_attn_indexes": None},
        "another activation": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-2},
        "shorter waves": {"rope_parameters": {"rope_type": "axial", "rope_theta": 50.0}},
        "larger patches": {"patch_size": 16, "pretrain_image_size": 32},
        "one channel": {"num_channels": 1},
    },
    sizes=((64, 64), (40, 64)),
    resizes=False,
    wholes=(Whole("Sam3VisionModel", sam3, "backbone"),),
)

DATA2VEC = Encoder(
    "data2vec-vision",
    "Data2VecVisionModel",
    "encoder.layer",
    "layernorm",
    configs={key: value for key, value in SWITCHES.items() if key != "no qkv bias"}
    | {
        "normed": {"use_mean_pooling": False},
        "normed, not here": {"use_mean_pooling": False, "apply_layernorm": False},
        "normed rows of tokens": {"use_mean_pooling": False, "reshape_hidden_states": False},
        "relative positions": {"use_relative_position_bias": True},
        "shared relative positions": {"use_shared_relative_position_bias": True},
        "absolute positions": {"use_absolute_position_embeddings": True},
        "no layer scale": {"layer_scale_init_value": 0.0},
    },
    resizes=False,
    wholes=(whole("Data2VecVisionForImageClassification", "data2vec_vision"),),
)

ENCODERS = (SAM, SAM_HQ, SAM3, DATA2VEC)
