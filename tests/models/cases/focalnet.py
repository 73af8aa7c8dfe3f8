from tests.models.parity import Case

THREE_STAGES = {"hidden_sizes": [16, 32, 32], "depths": [1, 2, 1]}
ALL_OPTIONS = {
    "use_conv_embed": True,
    "use_layerscale": True,
    "use_post_layernorm": True,
    "use_post_layernorm_in_modulation": True,
    "normalize_modulator": True,
}

CASE = Case(
    "focalnet",
    # Lists, because the oracle can't concatenate its own tuples with lists.
    small={"image_size": 64, "embed_dim": 8, "hidden_sizes": [16, 16], "depths": [1, 2]},
    configs={
        "all options": {**ALL_OPTIONS, **THREE_STAGES},
        "plain": {},
        "three stages": THREE_STAGES,
        "one stage": {"hidden_sizes": [8], "depths": [2]},
        "conv embedding": {"use_conv_embed": True},
        "conv embedding, other patch size": {"use_conv_embed": True, "patch_size": 6},
        "conv embedding, patch size 1": {"use_conv_embed": True, "patch_size": 1},
        "larger patches": {"patch_size": 7},
        "oblong patches": {"patch_size": [2, 5]},
        "layer scale": {"use_layerscale": True},
        "post-norm": {"use_post_layernorm": True},
        "post-norm in the modulation": {"use_post_layernorm_in_modulation": True},
        "normalized modulator": {"normalize_modulator": True, "focal_levels": [3, 1]},
        "other levels and windows": {"focal_levels": [4, 1], "focal_windows": [5, 9]},
        "zero focal levels": {"focal_levels": [0, 2]},
        "narrow mlp, another activation": {"mlp_ratio": 1.3, "hidden_act": "relu"},
        "large norm epsilon": {"layer_norm_eps": 1e-2, "use_post_layernorm_in_modulation": True},
        "one channel": {"num_channels": 1},
    },
    saved_by=("FocalNetModel", "FocalNetForImageClassification", "FocalNetForMaskedImageModeling"),
    full={"hidden_sizes": [192, 384, 768, 768], "focal_levels": [3, 3, 3, 3]},  # focalnet-tiny-lrf
)
