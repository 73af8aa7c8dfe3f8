from tests.models.parity import Case

CASE = Case(
    "rt_detr_resnet",
    small={"embedding_size": 8, "hidden_sizes": (16, 32), "depths": (1, 2)},
    configs={
        "plain": {},
        "basic": {"layer_type": "basic", "embedding_size": 16},
        "basic, equal widths": {"layer_type": "basic", "embedding_size": 16, "hidden_sizes": (16, 16)},
        "basic, first stage downsamples": {"layer_type": "basic", "downsample_in_first_stage": True},
        "first stage downsamples": {"downsample_in_first_stage": True},
        "stride in the 1x1": {"downsample_in_bottleneck": True},
        "equal widths": {"embedding_size": 16, "hidden_sizes": (16, 16, 16), "depths": (1, 1, 1)},
        "another activation": {"hidden_act": "silu"},
        "four stages": {"hidden_sizes": (16, 32, 48, 64), "depths": (2, 1, 2, 1)},
        "one channel": {"num_channels": 1},
    },
)
