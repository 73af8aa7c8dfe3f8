from tests.models.parity import Case

CASE = Case(
    "dinov3_convnext",
    small={"hidden_sizes": [8, 16], "depths": [1, 2]},
    configs={
        "plain": {},
        "another activation": {"hidden_act": "quick_gelu"},
        "non-smooth activation": {"hidden_act": "relu"},
        "large norm epsilon": {"layer_norm_eps": 1e-2},
        "small norm epsilon": {"layer_norm_eps": 1e-12},
        "three stages": {"hidden_sizes": [8, 12, 20], "depths": [2, 1, 3]},
        "one stage": {"hidden_sizes": [12], "depths": [3]},
        "equal widths": {"hidden_sizes": [8, 8, 8], "depths": [1, 1, 1]},
        "layer scale starts at zero": {"layer_scale_init_value": 0.0},
        "one channel": {"num_channels": 1},
    },
    saved_by=("DINOv3ConvNextModel",),
)
