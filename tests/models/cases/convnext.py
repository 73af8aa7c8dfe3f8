from tests.models.parity import Case

CASE = Case(
    "convnext",
    # Lists, because the oracle can't concatenate its own tuples with lists.
    small={"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2},
    configs={
        "plain": {},
        "no layer scale": {"layer_scale_init_value": 0.0},
        "another activation": {"hidden_act": "gelu_new"},
        "non-smooth activation": {"hidden_act": "relu", "layer_scale_init_value": 0.0},
        "larger patches": {"patch_size": 7},
        "oblong patches": {"patch_size": [2, 4]},
        "patch size 1": {"patch_size": 1},
        "four stages": {"hidden_sizes": [8, 12, 20, 24], "depths": [2, 1, 3, 1], "num_stages": 4, "patch_size": 2},
        "one stage": {"hidden_sizes": [12], "depths": [3], "num_stages": 1},
        "equal widths": {"hidden_sizes": [8, 8, 8], "depths": [1, 1, 1], "num_stages": 3},
        "more widths than stages": {"hidden_sizes": [8, 16, 32]},
        "large norm epsilon in the classifier": {"layer_norm_eps": 1e-2},
        "one channel": {"num_channels": 1},
    },
    saved_by=("ConvNextModel", "ConvNextForImageClassification"),
    full={"hidden_sizes": [96, 192, 384, 768], "depths": [3, 3, 9, 3]},
)
