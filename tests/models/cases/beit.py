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
        "everything": {
            "use_absolute_position_embeddings": True,
            "use_relative_position_bias": True,
            "use_shared_relative_position_bias": True,
            "use_mask_token": True,
            "add_fpn": True,
            "out_indices": [0, 1, 2, 3],
        },
        "no positions at all": {},
        "absolute positions": {"use_absolute_position_embeddings": True},
        "a bias a layer": {"use_relative_position_bias": True},
        "a bias for all layers": {"use_shared_relative_position_bias": True, "use_mask_token": True},
        "biases of both kinds": {"use_relative_position_bias": True, "use_shared_relative_position_bias": True},
        "made for oblong images": {"use_relative_position_bias": True, "image_size": [48, 32]},
        "made for oblong images, with as many patches as a square": {
            "use_absolute_position_embeddings": True,
            "image_size": [32, 128],
        },
        "no layer scale": {"layer_scale_init_value": 0.0, "use_mean_pooling": False},
        "coarse norms": {"layer_norm_eps": 1e-2, "hidden_act": "gelu_new"},
        "a pyramid": {"add_fpn": True, "out_indices": [0, 1, 2, 3]},
        "a pyramid over the published patches": {
            "add_fpn": True,
            "out_indices": [0, 1, 2, 3],
            "patch_size": 16,
            "use_relative_position_bias": True,
            "image_size": 96,
        },
        "rows of tokens": {"reshape_hidden_states": False, "use_relative_position_bias": True},
        "one channel, one layer": {"num_channels": 1, "num_hidden_layers": 1},
    },
    saved_by=("BeitModel", "BeitForImageClassification", "BeitForMaskedImageModeling", "BeitForSemanticSegmentation"),
    full={"use_relative_position_bias": True},
)
