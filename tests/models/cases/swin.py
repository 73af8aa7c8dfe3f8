from tests.models.parity import Case

CASE = Case(
    "swin",
    small={"image_size": 64, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4},
    configs={
        "plain": {},
        "published window": {"window_size": 7},
        "even and odd depths": {"depths": (1, 3, 2), "num_heads": (1, 2, 3)},
        "no qkv bias": {"qkv_bias": False},
        "wide mlp": {"mlp_ratio": 2.5},
        "another activation": {"hidden_act": "quick_gelu"},
        "tanh gelu": {"hidden_act": "gelu_new"},
        "large norm epsilon": {"layer_norm_eps": 1e-2},
        "larger patches": {"patch_size": 8, "image_size": 96},
        "oblong patches": {"patch_size": (8, 4), "image_size": (64, 96)},
        "one channel": {"num_channels": 1},
        "one stage": {"depths": (2,), "num_heads": (2,)},
        "window larger than the map": {"window_size": 12},
        "odd window": {"window_size": 5, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 2, 4)},
    },
    saved_by=("SwinModel", "SwinForImageClassification", "SwinForMaskedImageModeling"),
)
