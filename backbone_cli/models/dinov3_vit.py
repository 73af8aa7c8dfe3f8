"""DINOv3 ViT (Siméoni et al. 2025, arXiv 2508.10104).

A plain ViT without a position table: queries and keys of patches are rotated by angles that encode the patch's place,
from -1 to 1 across the image (RoPE, Su et al. 2021), so it works at any image size.

Shapes: B images, N tokens (the class token, registers, H x W patches), C channels, D channels a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.dinov3_vit import DINOv3ViTConfig
from ..configs.fields import pair
from .base import Backbone, Names
from .layers import (
    GatedMlp,
    Mlp,
    RotaryAttention,
    ViTBlock,
    channels_last,
    prepend_tokens,
    size_cached,
    token_map,
)


class DINOv3ViTBackbone(Backbone):
    config: DINOv3ViTConfig

    def __init__(self, config: DINOv3ViTConfig) -> None:
        super().__init__(config)
        self.embed = Embed(config)
        self.layers = nn.ModuleList(block(config) for _ in range(self.last))
        normed = any(map(config.normed, self.requested))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps) if normed else nn.Identity()

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(pixels)  # B N C
        yield x
        grid = self.config.patch_grid(pixels.shape[-2], pixels.shape[-1])
        angles = rotation(
            grid, self.config.head_dim, self.config.theta, self.config.num_prefix_tokens, x.device, x.dtype
        )
        for layer in self.layers:
            x = layer(x, *angles)
            yield x

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return token_map(self.normed(index, state), self.config, size)

    def class_token(self, index: int, state: Tensor) -> Tensor:
        return self.normed(index, state[:, 0])

    def normed(self, index: int, tokens: Tensor) -> Tensor:
        return self.norm(tokens) if self.config.normed(index) else tokens

    def names(self) -> Names:
        return {**NAMES, **GATED} if self.config.use_gated_mlp else NAMES

    def optional_tensors(self) -> Mapping[str, float]:
        """The biases that the config turns off: zeros in the joint bias, if another one is on."""
        config = self.config
        switches = {"q": config.query_bias, "k": config.key_bias, "v": config.value_bias}
        return {f"{LAYER}.attention.{part}_proj.bias": 0.0 for part, on in switches.items() if not on}


class Embed(nn.Module):
    """The class token, registers and patches."""

    def __init__(self, config: DINOv3ViTConfig) -> None:
        super().__init__()
        dim, patch = config.hidden_size, pair(config.patch_size)
        self.proj = nn.Conv2d(config.num_channels, dim, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.registers = (
            nn.Parameter(torch.zeros(1, config.num_prefix_tokens - 1, dim)) if config.num_prefix_tokens > 1 else None
        )

    def forward(self, pixels: Tensor) -> Tensor:
        registers = [] if self.registers is None else [self.registers]
        return prepend_tokens(channels_last(self.proj(pixels)).flatten(1, 2), self.cls, *registers)


def block(config: DINOv3ViTConfig) -> ViTBlock:
    dim, hidden = config.hidden_size, config.intermediate_size
    mlp = (GatedMlp if config.use_gated_mlp else Mlp)(dim, hidden, config.hidden_act, config.mlp_bias)
    qkv_bias = config.query_bias or config.key_bias or config.value_bias
    attn = RotaryAttention(dim, config.num_attention_heads, qkv_bias, config.proj_bias)
    return ViTBlock(dim, config.layer_norm_eps, attn, mlp, scaled=True)


@size_cached
def rotation(
    grid: tuple[int, int], dim: int, theta: float, num_prefix_tokens: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (N D) of all tokens' angles; prefix tokens are not rotated."""
    at = [(2 * torch.arange(length) + 1) / length - 1 for length in grid]
    places = torch.stack(torch.meshgrid(*at, indexing="ij"), -1).flatten(0, 1)  # H·W 2
    frequencies = theta ** -torch.arange(0, 1, 4 / dim)
    angles = (2 * math.pi * places[:, :, None] * frequencies).flatten(1).tile(2)
    angles = F.pad(angles, (0, 0, num_prefix_tokens, 0))
    return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


LAYER = "layer.*"

NAMES: Names = {
    "embed.proj": "embeddings.patch_embeddings",
    "embed.cls": "embeddings.cls_token",
    "embed.registers": "embeddings.register_tokens",
    "layers.*.norm1": f"{LAYER}.norm1",
    "layers.*.attn.qkv": tuple(f"{LAYER}.attention.{part}_proj" for part in "qkv"),
    # In DETR files, transformers' renaming of the head affects this name, too.
    "layers.*.attn.proj": [f"{LAYER}.attention.o_proj", f"{LAYER}.attention.out_proj"],
    "layers.*.scale1.weight": f"{LAYER}.layer_scale1.lambda1",
    "layers.*.norm2": f"{LAYER}.norm2",
    "layers.*.mlp.fc1": f"{LAYER}.mlp.up_proj",
    "layers.*.mlp.fc2": f"{LAYER}.mlp.down_proj",
    "layers.*.scale2.weight": f"{LAYER}.layer_scale2.lambda1",
    "norm": "norm",
}

GATED: Names = {"layers.*.mlp.fc1": (f"{LAYER}.mlp.gate_proj", f"{LAYER}.mlp.up_proj")}
