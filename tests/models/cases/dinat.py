from tests.models.neighbourhoods import DINAT
from tests.models.parity import Case

CASE = Case(
    "dinat",
    small={"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "kernel_size": 3, "dilations": ((1, 2), (2, 1))},
    configs={
        "layer scale, no qkv bias": {"layer_scale_init_value": 1e-5, "qkv_bias": False},
        "plain": {},
        "published kernel": {"kernel_size": 7, "dilations": ((1, 2), (1, 1))},
        "dilations that don't divide the map": {"dilations": ((5, 3), (4, 7))},
        "more dilations than layers": {"dilations": ((1, 4, 1), (2, 1, 2), (1,)), "kernel_size": 5},
        "three levels": {"depths": (1, 2, 1), "num_heads": (1, 2, 4), "dilations": ((2,), (1, 3), (2,))},
        "wide mlp": {"mlp_ratio": 4.5},
        "another activation": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-2},
        "layer scale": {"layer_scale_init_value": 1.0},
        "one channel, one level": {"num_channels": 1, "depths": (3,), "num_heads": (2,), "dilations": ((1, 2, 8),)},
    },
    saved_by=("DinatModel", "DinatForImageClassification"),
    classes=DINAT,
)
