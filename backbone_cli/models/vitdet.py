"""ViTDet (Li et al. 2022, arXiv 2203.16527).

A plain ViT as a detector's backbone: most blocks attend within windows, and a few global blocks or convolutions connect
the windows. Scores can have a bias that depends on the query and the vertical and horizontal distance.

Shapes: B images, H x W patches (N of them), C channels, D channels per head.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.fields import pair
from ..configs.sam import SamVisionConfig
from ..configs.vitdet import VitDetConfig
from .base import Backbone, Names
from .layers import (
    Mlp,
    ViTBlock,
    activation,
    channels_first,
    channels_last,
    is_symbolic,
    join_heads,
    resize_positions,
    size_cached,
    split_heads,
)
from .swin import in_windows


class VitDetBackbone(Backbone):
    config: VitDetConfig

    def __init__(self, config: VitDetConfig) -> None:
        super().__init__(config)
        self.embed = Embed(config)
        self.layers = nn.ModuleList(layer(config, i) for i in range(self.last))

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(pixels)  # B H W C
        yield channels_first(x)
        for blocks in self.layers:
            x = blocks(x)
            yield channels_first(x)

    def names(self) -> Names:
        return NAMES


class Embed(nn.Module):
    """Patches with their positions; the table's row for a class token is not used."""

    def __init__(self, config: VitDetConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.grid = config.patch_grid(*pair(config.pretrain_image_size))
        self.proj = nn.Conv2d(config.num_channels, dim, pair(config.patch_size), pair(config.patch_size))
        positions = torch.zeros(1, 1 + self.grid[0] * self.grid[1], dim)
        self.positions = nn.Parameter(positions) if config.use_absolute_position_embeddings else None

    def forward(self, pixels: Tensor) -> Tensor:
        x = channels_last(self.proj(pixels))  # B H W C
        if self.positions is None:
            return x
        return x + resize_positions(self.positions[:, 1:], self.grid, (x.shape[1], x.shape[2]))


def layer(config: VitDetConfig, i: int) -> nn.Sequential:
    """A block, followed by convolutions for some indices."""
    dim = config.hidden_size
    mlp = Mlp(dim, int(dim * config.mlp_ratio), config.hidden_act)
    block = ViTBlock(dim, config.layer_norm_eps, RelativeAttention(config, config.window(i)), mlp, scaled=False)
    return nn.Sequential(block, *([Bottleneck(dim, config.hidden_act)] if i in config.residual_block_indices else []))


class RelativeAttention(nn.Module):
    """Attention over the whole image or within windows."""

    def __init__(self, config: VitDetConfig | SamVisionConfig, window: int) -> None:
        super().__init__()
        dim, self.heads, self.window = config.hidden_size, config.num_attention_heads, window
        self.qkv = nn.Linear(dim, 3 * dim, bias=config.qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.relative = config.use_relative_position_embeddings
        if self.relative:
            rows, cols = (window, window) if window else config.patch_grid(*config.default_size())
            self.down = nn.Parameter(torch.zeros(2 * rows - 1, dim // self.heads))
            self.across = nn.Parameter(torch.zeros(2 * cols - 1, dim // self.heads))

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        if self.window:
            w = self.window
            return in_windows(lambda windows, _: self.attend(windows, (w, w)), x, w, shift=0)
        grid = (x.shape[1], x.shape[2])
        return self.attend(x.flatten(1, 2), grid).unflatten(1, grid)

    def attend(self, x: Tensor, grid: tuple[int, int]) -> Tensor:  # B N C
        q, k, v = split_heads(self.qkv(x), self.heads)  # B heads N D
        bias = self.bias(q.unflatten(2, grid)) if self.relative else None
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, v, bias)))

    def bias(self, q: Tensor) -> Tensor:
        """The bias that queries (B heads H W D) give their scores, a sum over both axes: B heads N N."""
        down = torch.einsum("bnhwd,hkd->bnhwk", q, by_distance(self.down, q.shape[2]))
        across = torch.einsum("bnhwd,wkd->bnhwk", q, by_distance(self.across, q.shape[3]))
        return (down[..., None] + across[..., None, :]).flatten(4).flatten(2, 3)


class Bottleneck(nn.Module):
    """x + 1x1, 3x3 and 1x1 convolutions of x, half as wide inside."""

    def __init__(self, dim: int, act: str) -> None:
        super().__init__()
        inner = dim // 2
        self.conv1, self.norm1 = nn.Conv2d(dim, inner, 1, bias=False), nn.LayerNorm(inner, 1e-6)
        self.conv2, self.norm2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.LayerNorm(inner, 1e-6)
        self.conv3, self.norm3 = nn.Conv2d(inner, dim, 1, bias=False), nn.LayerNorm(dim, 1e-6)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        y = self.act(self.norm1(convolve(self.conv1, x)))
        y = self.act(self.norm2(convolve(self.conv2, y)))
        return x + self.norm3(convolve(self.conv3, y))


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution to B H W C."""
    return channels_last(conv(channels_first(x)))


def by_distance(table: Tensor, length: int) -> Tensor:
    """The embedding of each distance along an axis: length x length x D, resized if needed."""
    if is_symbolic(length) or table.shape[0] != 2 * length - 1:
        wide = table.T[None].to(torch.promote_types(table.dtype, torch.float32))
        table = F.interpolate(wide, 2 * length - 1, mode="linear")[0].T.to(table.dtype)
    return table[distances(length, table.device)]


@size_cached
def distances(length: int, device: torch.device) -> Tensor:
    """Distance between each pair of positions on an axis, offset to start at 0."""
    at = torch.arange(length)
    return (at[:, None] - at + length - 1).to(device)


LAYER = "encoder.layer.*"

NAMES: Names = {
    "embed.proj": "embeddings.projection",
    "embed.positions": "embeddings.position_embeddings",
    "layers.*.0.norm1": f"{LAYER}.norm1",
    "layers.*.0.attn.qkv": f"{LAYER}.attention.qkv",
    "layers.*.0.attn.proj": f"{LAYER}.attention.proj",
    "layers.*.0.attn.down": f"{LAYER}.attention.rel_pos_h",
    "layers.*.0.attn.across": f"{LAYER}.attention.rel_pos_w",
    "layers.*.0.norm2": f"{LAYER}.norm2",
    "layers.*.0.mlp": f"{LAYER}.mlp",
    "layers.*.1": f"{LAYER}.residual",
}
