import transformers

from tests.models.parity import Case


class Undrawn(transformers.VitDetBackbone):
    """transformers fails to draw the weights of a model without positions; the tests draw them all anyway."""

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
        "everything": {
            "use_relative_position_embeddings": True,
            "window_block_indices": [0, 2],
            "window_size": 3,
            "residual_block_indices": [1, 2],
            "pretrain_image_size": 48,
        },
        "plain": {},
        "windows": {"window_block_indices": [0, 1], "window_size": 3},
        "windows of no size": {"window_block_indices": [0, 1]},
        "windows larger than the map": {"window_block_indices": [1], "window_size": 14},
        "residual blocks": {"residual_block_indices": [0, 2]},
        "relative positions": {"use_relative_position_embeddings": True},
        "relative positions for oblong images": {"use_relative_position_embeddings": True, "image_size": [48, 96]},
        "relative positions only, in windows": {
            "use_relative_position_embeddings": True,
            "use_absolute_position_embeddings": False,
            "window_block_indices": [0, 1, 2],
            "window_size": 4,
        },
        "no positions": {"use_absolute_position_embeddings": False},
        "pretrained on other images": {"pretrain_image_size": 96, "image_size": 128},
        "no qkv bias": {"qkv_bias": False},
        "another activation": {"hidden_act": "silu", "mlp_ratio": 2, "residual_block_indices": [1]},
        "coarse norms": {"layer_norm_eps": 1e-2},
        "one channel": {"num_channels": 1},
    },
    oracle=lambda said: Undrawn(transformers.VitDetConfig(**said)),
    saved_by=("VitDetModel",),
    # As VitMatte has it, where every third block sees the whole image.
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
