"""DINOv2 (Oquab et al. 2023, arXiv 2304.07193), and with registers (Darcet et al. 2023, arXiv 2309.16588).

A plain ViT trained by self-distillation between views of an image. Registers are extra tokens that belong to no patch:
attention stores there what it would otherwise put into uninformative patches.

Shapes: B images, N tokens (the class token, registers, H x W patches), C channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..configs.dinov2 import Dinov2Config
from ..configs.fields import pair
from .base import Backbone, Names
from .layers import Attention, GatedMlp, Mlp, ViTBlock, channels_last, prepend_tokens, resize_positions, token_map


class Dinov2Backbone(Backbone):
    config: Dinov2Config
    antialias = False

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__(config)
        self.embed = Embed(config, self.antialias)
        self.layers = nn.ModuleList(block(config) for _ in range(self.last))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps) if config.apply_layernorm else nn.Identity()

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(pixels)  # B N C
        yield x
        for layer in self.layers:
            x = layer(x)
            yield x

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return token_map(self.norm(state), self.config, size)

    def class_token(self, index: int, state: Tensor) -> Tensor:
        return self.norm(state[:, 0])

    def names(self) -> Names:
        return {**NAMES, **GATED} if self.config.use_swiglu_ffn else NAMES


class Dinov2WithRegistersBackbone(Dinov2Backbone):
    """DINOv2 with register tokens, and positions resized with antialiasing."""

    antialias = True


class Embed(nn.Module):
    """Patches and the class token with their positions, and registers, which have none."""

    def __init__(self, config: Dinov2Config, antialias: bool) -> None:
        super().__init__()
        dim, self.antialias = config.hidden_size, antialias
        self.grid = config.patch_grid(*config.default_size())
        self.proj = nn.Conv2d(config.num_channels, dim, pair(config.patch_size), pair(config.patch_size))
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.registers = (
            nn.Parameter(torch.zeros(1, config.num_prefix_tokens - 1, dim)) if config.num_prefix_tokens > 1 else None
        )
        self.positions = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], dim))

    def forward(self, pixels: Tensor) -> Tensor:
        x = channels_last(self.proj(pixels))  # B H W C
        x = x + resize_positions(self.positions[:, 1:], self.grid, (x.shape[1], x.shape[2]), self.antialias)
        registers = [] if self.registers is None else [self.registers]
        return prepend_tokens(x.flatten(1, 2), self.cls + self.positions[:, :1], *registers)


def block(config: Dinov2Config) -> ViTBlock:
    dim, hidden = config.hidden_size, int(config.hidden_size * config.mlp_ratio)
    attn = Attention(dim, config.num_attention_heads, config.qkv_bias)
    mlp: nn.Module = Mlp(dim, hidden, config.hidden_act)
    if config.use_swiglu_ffn:
        # Two thirds of the width compensate for the gate's weights; rounded up to a multiple of 8.
        mlp = GatedMlp(dim, (int(hidden * 2 / 3) + 7) // 8 * 8, "silu")
    return ViTBlock(dim, config.layer_norm_eps, attn, mlp, scaled=True)


LAYER = "encoder.layer.*"

NAMES: Names = {
    "embed.proj": "embeddings.patch_embeddings.projection",
    "embed.cls": "embeddings.cls_token",
    "embed.registers": "embeddings.register_tokens",
    "embed.positions": "embeddings.position_embeddings",
    "layers.*.norm1": f"{LAYER}.norm1",
    "layers.*.attn.qkv": tuple(f"{LAYER}.attention.attention.{part}" for part in ("query", "key", "value")),
    "layers.*.attn.proj": f"{LAYER}.attention.output.dense",
    "layers.*.scale1.weight": f"{LAYER}.layer_scale1.lambda1",
    "layers.*.norm2": f"{LAYER}.norm2",
    "layers.*.mlp.fc1": f"{LAYER}.mlp.fc1",
    "layers.*.mlp.fc2": f"{LAYER}.mlp.fc2",
    "layers.*.scale2.weight": f"{LAYER}.layer_scale2.lambda1",
    "norm": "layernorm",
}

GATED: Names = {"layers.*.mlp.fc1": f"{LAYER}.mlp.weights_in", "layers.*.mlp.fc2": f"{LAYER}.mlp.weights_out"}
