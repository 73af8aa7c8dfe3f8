from tests.models.parity import Case

CASE = Case(
    "dinov2",
    small={
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": 56,
        "patch_size": 14,
    },
    configs={
        "plain": {},
        "gated": {"use_swiglu_ffn": True},
        "gated, no final norm": {"use_swiglu_ffn": True, "apply_layernorm": False, "mlp_ratio": 3},
        "no final norm": {"apply_layernorm": False},
        "tokens": {"reshape_hidden_states": False},
        "tokens, no final norm": {"reshape_hidden_states": False, "apply_layernorm": False},
        "no qkv bias": {"qkv_bias": False},
        "no mask token": {"use_mask_token": False},
        "another activation": {"hidden_act": "quick_gelu", "mlp_ratio": 2},
        "large norm epsilon": {"layer_norm_eps": 1e-2},
        "larger patches": {"patch_size": 16, "image_size": 64},
        "oblong patches": {"patch_size": [8, 16], "image_size": [32, 64]},
        "larger default size": {"image_size": 140, "num_hidden_layers": 3},
        "oblong default size with a square number of patches": {"image_size": [28, 112]},
        "one channel": {"num_channels": 1},
    },
    saved_by=("Dinov2Model", "Dinov2ForImageClassification"),
    sizes=((56, 56), (97, 131), (33, 50)),
    full={"hidden_size": 384, "num_attention_heads": 6, "image_size": 518},
)
