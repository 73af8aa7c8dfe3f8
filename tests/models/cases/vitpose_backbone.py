import torch
import transformers

from tests.models.parity import Case


class VitPoseBackbone(transformers.VitPoseBackbone):
    """The oracle's tokens as maps, with the first expert if there are several."""

    def forward(self, pixel_values, **kwargs):
        output = super().forward(pixel_values, dataset_index=torch.zeros(len(pixel_values), dtype=torch.long), **kwargs)
        grid = [n // p for n, p in zip(pixel_values.shape[-2:], self.config.patch_size, strict=True)]
        output.feature_maps = tuple(x.transpose(1, 2).unflatten(2, grid) for x in output.feature_maps)
        return output


CASE = Case(
    "vitpose_backbone",
    small={
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": [64, 48],
        "patch_size": [16, 16],
    },
    configs={
        "plain": {},
        "experts": {"num_experts": 3, "part_features": 6},
        "no qkv bias": {"qkv_bias": False},
        "wide mlp": {"mlp_ratio": 2, "hidden_act": "gelu_new"},
        "large norm epsilon": {"layer_norm_eps": 1e-2},
        "oblong patches": {"patch_size": [8, 16]},
        "one channel": {"num_channels": 1},
    },
    sizes=((64, 48),),  # the only size it takes
    full={},
    full_size=(256, 192),
    classes={"VitPoseConfig": transformers.VitPoseBackboneConfig, "VitPoseBackbone": VitPoseBackbone},
)
