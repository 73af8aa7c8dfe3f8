from tests.models.parity import Case

CASE = Case(
    "swinv2",
    small={"image_size": 64, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4},
    configs={
        "plain": {},
        "pretrained with smaller windows": {"pretrained_window_sizes": (3, 2)},
        "pretrained with larger windows": {"pretrained_window_sizes": (12, 0)},
        "windows limited by the config's image size": {"window_size": 12, "depths": (2, 2, 2), "num_heads": (1, 2, 3)},
        "window of one patch": {"depths": (2,) * 5, "num_heads": (1, 2, 2, 4, 4), "pretrained_window_sizes": [2] * 5},
        "oblong image": {"image_size": (96, 48), "window_size": 7},
        "published window": {"window_size": 8, "image_size": 96, "depths": (1, 3, 2), "num_heads": (1, 2, 3)},
        "no qkv bias": {"qkv_bias": False},
        "wide mlp": {"mlp_ratio": 2.5},
        "another activation": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-2},
        "larger patches": {"patch_size": 8, "image_size": 96, "window_size": 5},
        "one channel": {"num_channels": 1},
    },
    saved_by=("Swinv2Model", "Swinv2ForImageClassification", "Swinv2ForMaskedImageModeling"),
    full={"image_size": 256, "window_size": 8},
    full_size=(256, 256),
)
