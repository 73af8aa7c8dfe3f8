from tests.models.neighbourhoods import NAT
from tests.models.parity import Case

CASE = Case(
    "nat",
    small={"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "kernel_size": 3},
    configs={
        "layer scale, no qkv bias": {"layer_scale_init_value": 1e-5, "qkv_bias": False},
        "plain": {},
        "published kernel": {"kernel_size": 7},
        "kernel larger than the map": {"kernel_size": 13, "depths": (1, 1, 1), "num_heads": (1, 2, 4)},
        "wide mlp": {"mlp_ratio": 4.5, "kernel_size": 5},
        "another activation": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-2},
        "four levels": {"depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 4)},
        "one channel, one level": {"num_channels": 1, "depths": (3,), "num_heads": (2,)},
    },
    saved_by=("NatModel", "NatForImageClassification"),
    classes=NAT,
)
