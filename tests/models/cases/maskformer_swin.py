from transformers import MaskFormerSwinBackbone
from transformers.modeling_outputs import BackboneOutput

from tests.models.parity import Case


class WithStem(MaskFormerSwinBackbone):
    """transformers' class, which refuses the stem, with a map for it taken from the first hidden state."""

    def __init__(self, config):
        config.out_features = config.stage_names[1:]
        super().__init__(config)
        self.out_features = self.stage_names

    def forward(self, pixels):
        output = super().forward(pixels, output_hidden_states=True)
        patch = self.config.patch_size
        grid = [-(-n // patch) for n in pixels.shape[2:]]
        stem = output.hidden_states[0].transpose(1, 2).unflatten(2, grid)
        return BackboneOutput(feature_maps=(stem, *output.feature_maps))


CASE = Case(
    "maskformer-swin",
    small={"image_size": 64, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4},
    configs={
        "plain": {},
        "published window": {"window_size": 7},
        "even and odd depths": {"depths": (1, 3, 2), "num_heads": (1, 2, 3)},
        "no qkv bias": {"qkv_bias": False},
        "wide mlp": {"mlp_ratio": 2.5},
        "another activation": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-2},
        "larger patches": {"patch_size": 8, "image_size": 96},
        "window larger than the map, one channel": {"window_size": 12, "num_channels": 1},
    },
    saved_by=("MaskFormerSwinModel",),
    classes={"MaskFormerSwinBackbone": WithStem},
)
