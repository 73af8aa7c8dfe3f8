"""Swin Transformer V2 (Liu et al. 2022, arXiv 2111.09883).

Swin for larger models and images: scores are cosines times a learned factor per head, which bounds them; position
biases come from a small network on log-spaced coordinates, which carries over to larger windows; and norms come after
attention and MLP, not before.

Shapes: B images, H x W patches, C channels, n windows per image of N = w·w patches each, D channels per head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.swinv2 import Swinv2Config
from .base import Backbone, Names
from .layers import Mlp, channels_first, join_heads, size_cached
from .swin import Embed, in_windows, merged, offsets, with_mask


class Swinv2Backbone(Backbone):
    config: Swinv2Config

    def __init__(self, config: Swinv2Config) -> None:
        super().__init__(config)
        self.embed = Embed(config)
        self.layers = nn.ModuleList(layer(config, i) for i in range(self.last))
        self.merges = nn.ModuleList(Merge(dim) for dim in config.widths[: self.last][:-1])

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(pixels)  # B H W C
        yield channels_first(x)
        for i, blocks in enumerate(self.layers):
            x = self.merges[i - 1](x) if i else x
            x = blocks(x)
            yield channels_first(x)

    def names(self) -> Names:
        return NAMES


def layer(config: Swinv2Config, i: int) -> nn.Sequential:
    """The blocks of one stage: the windows of every second one are shifted."""
    window, shift = config.window(i)
    return nn.Sequential(*(Block(config, i, window, shift * (j % 2)) for j in range(config.depths[i])))


class Block(nn.Module):
    def __init__(self, config: Swinv2Config, i: int, window: int, shift: int) -> None:
        super().__init__()
        dim = config.widths[i]
        pretrained = config.pretrained_window_sizes[i]
        self.attn = CosineAttention(dim, config.num_heads[i], window, shift, pretrained, config.qkv_bias)
        self.norm1 = nn.LayerNorm(dim, config.layer_norm_eps)
        self.mlp = Mlp(dim, int(config.mlp_ratio * dim), config.hidden_act)
        self.norm2 = nn.LayerNorm(dim, config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        x = x + self.norm1(self.attn(x))
        return x + self.norm2(self.mlp(x))


class CosineAttention(nn.Module):
    """Attention within windows by cosine similarity; keys have no bias."""

    size_cached_methods = ("bias",)

    def __init__(self, dim: int, heads: int, window: int, shift: int, pretrained: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shift, self.pretrained = heads, window, shift, pretrained
        self.qv = nn.Linear(dim, 2 * dim, bias=qkv_bias)
        self.k = nn.Linear(dim, dim, bias=False)
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10)))
        self.position = nn.Sequential(nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, heads, bias=False))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        return in_windows(self.attend, x, self.window, self.shift)

    def attend(self, windows: Tensor, mask: Tensor | None) -> Tensor:  # B·n N C
        q, v = self.qv(windows).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # B·n heads N D
        k = self.k(windows).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q = F.normalize(q, dim=-1) * self.logit_scale.clamp(max=math.log(100)).exp()
        x = F.scaled_dot_product_attention(q, F.normalize(k, dim=-1), v, self.bias(mask, windows.shape[0]), scale=1.0)
        return self.proj(join_heads(x))

    def bias(self, mask: Tensor | None, windows: int) -> Tensor:
        """The bias on the scores of this many windows: 1 heads N N, or with a mask B·n heads N N."""
        coordinates = log_coordinates(self.window, self.pretrained).to(self.logit_scale)
        table = 16 * torch.sigmoid(self.position(coordinates))
        bias = table[offsets(self.window, table.device)].permute(2, 0, 1)[None]
        # The published code adds the mask twice.
        return bias if mask is None else with_mask(bias, 2 * mask, windows)


class Merge(nn.Module):
    """2x2 patches become one of twice the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        return self.norm(self.reduction(merged(x)))


@size_cached
def log_coordinates(w: int, pretrained: int) -> Tensor:
    """Each offset within a window (rows, columns), relative to the pretraining window, on a log scale: (2w-1)² x 2."""
    apart = 8 * torch.arange(1.0 - w, w, device="cpu") / max((pretrained or w) - 1, 1)
    apart = apart.sign() * torch.log2(apart.abs() + 1) / math.log2(8)
    return torch.cartesian_prod(apart, apart)


BLOCK = "encoder.layers.*.blocks.*"

NAMES: Names = {
    "embed.proj": "embeddings.patch_embeddings.projection",
    "embed.norm": "embeddings.norm",
    "layers.*.*.attn.qv": tuple(f"{BLOCK}.attention.self.{part}" for part in ("query", "value")),
    "layers.*.*.attn.k": f"{BLOCK}.attention.self.key",
    "layers.*.*.attn.logit_scale": f"{BLOCK}.attention.self.logit_scale",
    "layers.*.*.attn.position.*": f"{BLOCK}.attention.self.continuous_position_bias_mlp.*",
    "layers.*.*.attn.proj": f"{BLOCK}.attention.output.dense",
    "layers.*.*.norm1": f"{BLOCK}.layernorm_before",
    "layers.*.*.mlp.fc1": f"{BLOCK}.intermediate.dense",
    "layers.*.*.mlp.fc2": f"{BLOCK}.output.dense",
    "layers.*.*.norm2": f"{BLOCK}.layernorm_after",
    "merges.*": "encoder.layers.*.downsample",
}
