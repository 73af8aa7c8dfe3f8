from tests.models.parity import Case

THREE = {"hidden_sizes": [16, 32, 32], "depths": [1, 2, 1]}
EVERYTHING = {
    "use_conv_embed": True,
    "use_layerscale": True,
    "use_post_layernorm": True,
    "use_post_layernorm_in_modulation": True,
    "normalize_modulator": True,
}

CASE = Case(
    "focalnet",
    # Lists throughout: the oracle can't add its own tuples to lists.
    small={"image_size": 64, "embed_dim": 8, "hidden_sizes": [16, 16], "depths": [1, 2]},
    configs={
        "everything": {**EVERYTHING, **THREE},
        "plain": {},
        "three stages": THREE,
        "one stage": {"hidden_sizes": [8], "depths": [2]},
        "conv embedding": {"use_conv_embed": True},
        "conv embedding of other patches": {"use_conv_embed": True, "patch_size": 6},
        "conv embedding of single pixels": {"use_conv_embed": True, "patch_size": 1},
        "larger patches": {"patch_size": 7},
        "oblong patches": {"patch_size": [2, 5]},
        "layer scale": {"use_layerscale": True},
        "norms after": {"use_post_layernorm": True},
        "norm in the modulation": {"use_post_layernorm_in_modulation": True},
        "normalized modulator": {"normalize_modulator": True, "focal_levels": [3, 1]},
        "levels and windows": {"focal_levels": [4, 1], "focal_windows": [5, 9]},
        "no levels": {"focal_levels": [0, 2]},
        "narrow mlp, another activation": {"mlp_ratio": 1.3, "hidden_act": "relu"},
        "coarse norms": {"layer_norm_eps": 1e-2, "use_post_layernorm_in_modulation": True},
        "one channel": {"num_channels": 1},
    },
    saved_by=("FocalNetModel", "FocalNetForImageClassification", "FocalNetForMaskedImageModeling"),
    full={"hidden_sizes": [192, 384, 768, 768], "focal_levels": [3, 3, 3, 3]},  # focalnet-tiny-lrf
)
