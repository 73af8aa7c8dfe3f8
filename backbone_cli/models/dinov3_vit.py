"""DINOv3 ViT (Siméoni et al. 2025, arXiv 2508.10104).

A plain ViT without a table of positions: queries and keys of the patches are turned by angles that say where each
patch is, from -1 to 1 across the image (RoPE, Su et al. 2021), so that it serves images of any size.

Shapes: B images, N tokens (the class token, registers, H x W patches), C channels, D channels a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.base import pair
from ..configs.dinov3_vit import DINOv3ViTConfig
from .base import Backbone, Names
from .layers import GatedMlp, Mlp, ViTBlock, channels_last, join_heads, of_sizes, split_heads, token_map, with_prefix


class DINOv3ViTBackbone(Backbone):
    config: DINOv3ViTConfig

    def __init__(self, config: DINOv3ViTConfig) -> None:
        super().__init__(config)
        self.embed = Embed(config)
        self.layers = nn.ModuleList(block(config) for _ in range(self.last))
        normed = any(map(config.normed, self.wanted))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps) if normed else nn.Identity()

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(pixels)  # B N C
        yield x
        grid = self.config.patches(pixels.shape[-2], pixels.shape[-1])
        turn = rotation(grid, self.config.head_dim, self.config.rope_theta, self.config.prefix, x.device, x.dtype)
        for layer in self.layers:
            x = layer(x, *turn)
            yield x

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return token_map(self.normed(index, state), self.config, size)

    def class_token(self, index: int, state: Tensor) -> Tensor:
        return self.normed(index, state[:, 0])

    def normed(self, index: int, tokens: Tensor) -> Tensor:
        return self.norm(tokens) if self.config.normed(index) else tokens

    def names(self) -> Names:
        return {**NAMES, **GATED} if self.config.use_gated_mlp else NAMES

    def may_lack(self) -> Mapping[str, float]:
        """The biases that the config switches off: zeros, where another one is on."""
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
        self.registers = nn.Parameter(torch.zeros(1, config.prefix - 1, dim)) if config.prefix > 1 else None

    def forward(self, pixels: Tensor) -> Tensor:
        registers = [] if self.registers is None else [self.registers]
        return with_prefix(channels_last(self.proj(pixels)).flatten(1, 2), self.cls, *registers)


def block(config: DINOv3ViTConfig) -> ViTBlock:
    dim, hidden = config.hidden_size, config.intermediate_size
    mlp = (GatedMlp if config.use_gated_mlp else Mlp)(dim, hidden, config.hidden_act, config.mlp_bias)
    return ViTBlock(dim, config.layer_norm_eps, RotaryAttention(config), mlp, scaled=True)


class RotaryAttention(nn.Module):
    """Attention whose scores know where queries and keys are, since both were turned accordingly."""

    def __init__(self, config: DINOv3ViTConfig) -> None:
        super().__init__()
        dim, self.heads = config.hidden_size, config.num_attention_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=config.query_bias or config.key_bias or config.value_bias)
        self.proj = nn.Linear(dim, dim, bias=config.proj_bias)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # B N C
        qkv = split_heads(self.qkv(x), self.heads)  # 3 B heads N D
        q, k = qkv[:2] * cos + turned(qkv[:2]) * sin
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, qkv[2])))


def turned(x: Tensor) -> Tensor:
    """Every pair of channels, of which one is in the first half and one in the second, by a right angle."""
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)


@of_sizes
def rotation(
    grid: tuple[int, int], dim: int, theta: float, prefix: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (N D) of the angles of all tokens; those before the patches stay as they are."""
    at = [(2 * torch.arange(length) + 1) / length - 1 for length in grid]
    places = torch.stack(torch.meshgrid(*at, indexing="ij"), -1).flatten(0, 1)  # H·W 2
    frequencies = theta ** -torch.arange(0, 1, 4 / dim)
    angles = (2 * math.pi * places[:, :, None] * frequencies).flatten(1).tile(2)
    angles = F.pad(angles, (0, 0, prefix, 0))
    return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


LAYER = "layer.*"

NAMES: Names = {
    "embed.proj": "embeddings.patch_embeddings",
    "embed.cls": "embeddings.cls_token",
    "embed.registers": "embeddings.register_tokens",
    "layers.*.norm1": f"{LAYER}.norm1",
    "layers.*.attn.qkv": tuple(f"{LAYER}.attention.{part}_proj" for part in "qkv"),
    # In a file of a DETR, transformers' own renaming of the head reaches in here.
    "layers.*.attn.proj": [f"{LAYER}.attention.o_proj", f"{LAYER}.attention.out_proj"],
    "layers.*.scale1.weight": f"{LAYER}.layer_scale1.lambda1",
    "layers.*.norm2": f"{LAYER}.norm2",
    "layers.*.mlp.fc1": f"{LAYER}.mlp.up_proj",
    "layers.*.mlp.fc2": f"{LAYER}.mlp.down_proj",
    "layers.*.scale2.weight": f"{LAYER}.layer_scale2.lambda1",
    "norm": "norm",
}

GATED: Names = {"layers.*.mlp.fc1": (f"{LAYER}.mlp.gate_proj", f"{LAYER}.mlp.up_proj")}
