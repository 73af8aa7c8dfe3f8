import transformers

from tests.models.parity import Case


class WithoutInit(transformers.VitDetBackbone):
    """transformers fails to initialize a model without positions; the tests randomize all weights anyway."""

    def _init_weights(self, module):
        pass


CASE = Case(
    "vitdet",
    small={
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 64,
        "pretrain_image_size": 64,
        "patch_size": 8,
    },
    configs={
        "all options": {
            "use_relative_position_embeddings": True,
            "window_block_indices": [0, 2],
            "window_size": 3,
            "residual_block_indices": [1, 2],
            "pretrain_image_size": 48,
        },
        "plain": {},
        "windows": {"window_block_indices": [0, 1], "window_size": 3},
        "window size 0": {"window_block_indices": [0, 1]},
        "windows larger than the map": {"window_block_indices": [1], "window_size": 14},
        "residual blocks": {"residual_block_indices": [0, 2]},
        "relative positions": {"use_relative_position_embeddings": True},
        "relative positions for oblong images": {"use_relative_position_embeddings": True, "image_size": [48, 96]},
        "only relative positions, in windows": {
            "use_relative_position_embeddings": True,
            "use_absolute_position_embeddings": False,
            "window_block_indices": [0, 1, 2],
            "window_size": 4,
        },
        "no positions": {"use_absolute_position_embeddings": False},
        "other pretraining size": {"pretrain_image_size": 96, "image_size": 128},
        "no qkv bias": {"qkv_bias": False},
        "another activation": {"hidden_act": "silu", "mlp_ratio": 2, "residual_block_indices": [1]},
        "large norm epsilon": {"layer_norm_eps": 1e-2},
        "one channel": {"num_channels": 1},
    },
    oracle=lambda raw_config: WithoutInit(transformers.VitDetConfig(**raw_config)),
    saved_by=("VitDetModel",),
    # The layout of VitMatte, in which every third block attends globally.
    full={
        "hidden_size": 384,
        "num_attention_heads": 6,
        "image_size": 512,
        "window_block_indices": [0, 1, 3, 4, 6, 7, 9, 10],
        "residual_block_indices": [2, 5, 8, 11],
        "use_relative_position_embeddings": True,
        "window_size": 14,
    },
)
