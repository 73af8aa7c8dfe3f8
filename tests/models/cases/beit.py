from tests.models.parity import Case

CASE = Case(
    "beit",
    small={
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 64,
        "patch_size": 8,
    },
    configs={
        "all options": {
            "use_absolute_position_embeddings": True,
            "use_relative_position_bias": True,
            "use_shared_relative_position_bias": True,
            "use_mask_token": True,
            "add_fpn": True,
            "out_indices": [0, 1, 2, 3],
        },
        "no positions": {},
        "absolute positions": {"use_absolute_position_embeddings": True},
        "one bias per layer": {"use_relative_position_bias": True},
        "one bias for all layers": {"use_shared_relative_position_bias": True, "use_mask_token": True},
        "both kinds of bias": {"use_relative_position_bias": True, "use_shared_relative_position_bias": True},
        "oblong default size": {"use_relative_position_bias": True, "image_size": [48, 32]},
        "oblong default size with a square number of patches": {
            "use_absolute_position_embeddings": True,
            "image_size": [32, 128],
        },
        "no layer scale": {"layer_scale_init_value": 0.0, "use_mean_pooling": False},
        "large norm epsilon": {"layer_norm_eps": 1e-2, "hidden_act": "gelu_new"},
        "pyramid": {"add_fpn": True, "out_indices": [0, 1, 2, 3]},
        "pyramid with the published patch size": {
            "add_fpn": True,
            "out_indices": [0, 1, 2, 3],
            "patch_size": 16,
            "use_relative_position_bias": True,
            "image_size": 96,
        },
        "tokens": {"reshape_hidden_states": False, "use_relative_position_bias": True},
        "one channel, one layer": {"num_channels": 1, "num_hidden_layers": 1},
    },
    saved_by=("BeitModel", "BeitForImageClassification", "BeitForMaskedImageModeling", "BeitForSemanticSegmentation"),
    full={"use_relative_position_bias": True},
)
