from tests.models.parity import Case

CASE = Case(
    "resnet",
    small={"embedding_size": 8, "hidden_sizes": (16, 32), "depths": (1, 2)},
    configs={
        "plain": {},
        "basic": {"layer_type": "basic"},
        "basic, first stage downsamples": {"layer_type": "basic", "downsample_in_first_stage": True},
        "first stage downsamples": {"downsample_in_first_stage": True},
        "stride in the 1x1": {"downsample_in_bottleneck": True},
        "first stage downsamples in the 1x1": {
            "downsample_in_bottleneck": True,
            "downsample_in_first_stage": True,
        },
        "no projection in the first shortcut": {"embedding_size": 16, "layer_type": "basic"},
        "another activation": {"hidden_act": "gelu"},
        "basic, another activation": {"hidden_act": "silu", "layer_type": "basic"},
        "four stages": {"hidden_sizes": (16, 32, 48, 64), "depths": (2, 1, 2, 1)},
        "one channel": {"num_channels": 1},
    },
    saved_by=("ResNetModel", "ResNetForImageClassification"),
)
