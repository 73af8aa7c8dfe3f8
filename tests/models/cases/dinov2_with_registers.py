from tests.models.parity import Case

CASE = Case(
    "dinov2_with_registers",
    small={
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": 56,
        "patch_size": 14,
    },
    configs={
        "plain": {},
        "one register": {"num_register_tokens": 1},
        "no registers": {"num_register_tokens": 0},
        "gated": {"use_swiglu_ffn": True, "num_register_tokens": 2},
        "no final norm": {"apply_layernorm": False},
        "tokens": {"reshape_hidden_states": False},
        "tokens, no final norm": {"reshape_hidden_states": False, "apply_layernorm": False},
        "no qkv bias": {"qkv_bias": False},
        "another activation": {"hidden_act": "relu", "mlp_ratio": 2},
        "large norm epsilon": {"layer_norm_eps": 1e-2},
        "default patch size": {"patch_size": 16, "image_size": 64},
        "oblong patches": {"patch_size": [8, 16], "image_size": [32, 64]},
        "larger default size": {"image_size": 140, "num_hidden_layers": 3},
        "one channel": {"num_channels": 1},
    },
    saved_by=("Dinov2WithRegistersModel", "Dinov2WithRegistersForImageClassification"),
    sizes=((56, 56), (97, 131), (33, 50)),
    full={"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14},
)
