"""ViTPose's backbone (Xu et al. 2022, arXiv 2204.12484; with experts: ViTPose++, arXiv 2212.04246).

A plain ViT without a class token: the class token's position is added to every patch. In ViTPose++ part of each block's
output comes from a dataset-specific expert; here it is the first one, COCO's.

Shapes: B images, N tokens (H x W patches), C channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..configs.fields import pair
from ..configs.vitpose_backbone import PADDING, VitPoseBackboneConfig
from .base import Backbone, Names
from .layers import Attention, Mlp, ViTBlock, channels_last, token_map


class VitPoseBackbone(Backbone):
    config: VitPoseBackboneConfig

    def __init__(self, config: VitPoseBackboneConfig) -> None:
        super().__init__(config)
        dim, patch = config.hidden_size, pair(config.patch_size)
        rows, cols = config.patch_grid(*config.default_size())
        self.proj = nn.Conv2d(config.num_channels, dim, patch, patch, padding=PADDING)
        self.positions = nn.Parameter(torch.zeros(1, 1 + rows * cols, dim))
        self.layers = nn.ModuleList(block(config) for _ in range(self.last))
        self.norm = nn.LayerNorm(dim, config.layer_norm_eps)

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = channels_last(self.proj(pixels)).flatten(1, 2)  # B N C
        x = x + self.positions[:, 1:] + self.positions[:, :1]
        yield x
        for layer in self.layers:
            x = layer(x)
            yield x

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return token_map(self.norm(state), self.config, size)

    def check(self, pixel_values: Tensor) -> None:
        super().check(pixel_values)
        self.config.check_size(*pixel_values.shape[-2:])

    def names(self) -> Names:
        return NAMES


def block(config: VitPoseBackboneConfig) -> ViTBlock:
    dim, hidden = config.hidden_size, int(config.hidden_size * config.mlp_ratio)
    attn = Attention(dim, config.num_attention_heads, config.qkv_bias)
    mlp: nn.Module = Mlp(dim, hidden, config.hidden_act)
    if config.num_experts > 1:
        mlp = ExpertMlp(dim, hidden, config.hidden_act, config.part_features)
    return ViTBlock(dim, config.layer_norm_eps, attn, mlp, scaled=False)


class ExpertMlp(Mlp):
    """An MLP whose last channels come from an expert."""

    def __init__(self, dim: int, hidden: int, act: str, part: int) -> None:
        super().__init__(dim, hidden, act)
        self.fc2 = nn.Linear(hidden, dim - part)
        self.expert = nn.Linear(hidden, part)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.fc1(x))
        return torch.cat([self.fc2(x), self.expert(x)], -1)


LAYER = "encoder.layer.*"

NAMES: Names = {
    "proj": "embeddings.patch_embeddings.projection",
    "positions": "embeddings.position_embeddings",
    "layers.*.norm1": f"{LAYER}.layernorm_before",
    "layers.*.attn.qkv": tuple(f"{LAYER}.attention.attention.{part}" for part in ("query", "key", "value")),
    "layers.*.attn.proj": f"{LAYER}.attention.output.dense",
    "layers.*.norm2": f"{LAYER}.layernorm_after",
    "layers.*.mlp.fc1": f"{LAYER}.mlp.fc1",
    "layers.*.mlp.fc2": f"{LAYER}.mlp.fc2",
    "layers.*.mlp.expert": f"{LAYER}.mlp.experts.0",
    "norm": "layernorm",
}
