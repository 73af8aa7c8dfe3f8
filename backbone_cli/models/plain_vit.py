"""Plain ViTs: patches of an image as tokens, through blocks of one width (Dosovitskiy et al. 2020, arXiv 2010.11929).

Some thirty models are this one architecture. What distinguishes them is a `Design` each, all in `vit_models.py`: the
names of their tensors, the tokens beside the patches, positions and what becomes of them at other image sizes, norms
and MLPs. Sizes and switches are in their configs (`configs/plain_vit.py`).

Shapes: B images, N tokens (prefix tokens, H x W patches, suffix tokens), C channels, D channels per head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.fields import pair
from ..configs.plain_vit import PlainViTConfig
from .base import Backbone, Names
from .layers import (
    Attention,
    GatedMlp,
    Mlp,
    Norm,
    ViTBlock,
    channels_first,
    channels_last,
    join_heads,
    prepend_tokens,
    resize_grid,
    resize_positions,
    size_cached,
    split_heads,
    token_map,
)

Grid = tuple[int, int]
"""Rows and columns of patches."""

Positions = Callable[[Tensor, Grid, Grid], Tensor]
"""From a table of positions (1 N C), the grid that it was made for, and the grid of an image: 1 H W C."""


# --- positions at other image sizes --------------------------------------------------------------------------------


def resized(table: Tensor, made_for: Grid, grid: Grid) -> Tensor:
    """Bicubic; at its own size the table is used as it is."""
    return table.unflatten(1, grid) if grid == made_for else resize_positions(table, made_for, grid)


def resized_from_any_shape(table: Tensor, made_for: Grid, grid: Grid) -> Tensor:
    """Bicubic, from the shape that the table was made for, even if it could also be square."""
    return resize_grid(table.unflatten(1, made_for), grid, "bicubic")


def resized_smoothly(table: Tensor, made_for: Grid, grid: Grid) -> Tensor:
    """Bilinear with antialiasing."""
    return resize_grid(table.unflatten(1, made_for), grid, "bilinear", antialias=True)


def resized_and_cropped(table: Tensor, made_for: Grid, grid: Grid) -> Tensor:
    """Bilinear, to a square that contains the image's grid."""
    square = resize_grid(table.unflatten(1, made_for), (max(grid), max(grid)), "bilinear")
    return square[:, : grid[0], : grid[1]]


def looked_up(table: Tensor, made_for: Grid, grid: Grid) -> Tensor:
    """Each patch has the position of the table's cell that its upper left corner falls into."""
    rows, cols = (nearest_cells(*axis, table.device) for axis in zip(made_for, grid, strict=True))
    return table.unflatten(1, made_for)[:, rows][:, :, cols]


@size_cached
def nearest_cells(cells: int, patches: int, device: torch.device) -> Tensor:
    """For each of some patches along an axis, its cell of the table; rounded in float32, as published."""
    edges = torch.arange(1 / cells, 1.0, 1 / cells)
    fractions = torch.arange(patches, dtype=torch.float32) * (1.0 / torch.tensor(patches))
    return torch.bucketize(fractions.clamp(max=1 - 1e-6), edges, right=True).to(device)


@size_cached
def sines(grid: Grid, dim: int) -> Tensor:
    """Sines and cosines of each patch's column and row at growing wavelengths: H W C."""
    frequencies = 1 / 10_000 ** (torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    down, right = (torch.arange(length, dtype=torch.float64)[:, None] * frequencies for length in grid)
    down, right = torch.broadcast_tensors(down[:, None], right[None])
    return torch.cat([right.sin(), right.cos(), down.sin(), down.cos()], -1)


def fixed(table: Tensor, made_for: Grid, grid: Grid) -> Tensor:
    """The model takes images of one size only."""
    return table.unflatten(1, made_for)


# --- patch embeddings ----------------------------------------------------------------------------------------------


class LinearPatches(nn.Linear):
    """A patch embedding stored as a linear layer, on pixels in the order (channel, row, column)."""

    order = (0, 2, 4, 1, 3, 5)

    def __init__(self, channels: int, dim: int, patch: Grid, bias: bool) -> None:
        super().__init__(channels * patch[0] * patch[1], dim, bias)
        self.patch = patch

    def forward(self, pixels: Tensor) -> Tensor:  # B C H W, like a convolution
        (h, w), (H, W) = self.patch, pixels.shape[-2:]
        x = pixels[..., : H // h * h, : W // w * w].unflatten(3, (-1, w)).unflatten(2, (-1, h))  # B C H h W w
        return channels_first(super().forward(x.permute(self.order).flatten(3)))


class LinearPatchesChannelsLast(LinearPatches):
    """A patch embedding stored as a linear layer, on pixels in the order (row, column, channel)."""

    order = (0, 2, 4, 3, 5, 1)


def convolution(channels: int, dim: int, patch: Grid, bias: bool) -> nn.Conv2d:
    """The usual patch embedding."""
    return nn.Conv2d(channels, dim, patch, patch, bias=bias)


# --- parts of a block ----------------------------------------------------------------------------------------------


def attention(config: PlainViTConfig) -> nn.Module:
    # Not every config has the switch.
    return Attention(config.hidden_size, config.num_attention_heads, getattr(config, "qkv_bias", True))


def mlp(config: PlainViTConfig) -> nn.Module:
    return Mlp(config.hidden_size, config.mlp_size, config.hidden_act)


def swiglu(config: PlainViTConfig) -> nn.Module:
    """Two thirds of the width compensate for the gate's weights; rounded up to a multiple of 8."""
    return GatedMlp(config.hidden_size, (int(config.mlp_size * 2 / 3) + 7) // 8 * 8, "silu")


class NormedAttention(Attention):
    """Attention whose queries and keys are normed over all heads."""

    def __init__(self, dim: int, heads: int, qkv_bias: bool) -> None:
        super().__init__(dim, heads, qkv_bias)
        self.q_norm, self.k_norm = nn.RMSNorm(dim, 1e-6), nn.RMSNorm(dim, 1e-6)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:  # B N C
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = split_heads(torch.cat([self.q_norm(q), self.k_norm(k), v], -1), self.heads)
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, v, bias)))


# --- the architecture ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Design:
    """What distinguishes one plain ViT from another."""

    names: Names
    patches: Callable[[int, int, Grid, bool], nn.Module] = convolution
    patch_bias: bool = True
    patch_norm: bool = False
    """Whether patches are normed before they get their positions."""
    cls: bool = True
    """Whether there is a class token; other prefix tokens follow it."""
    positions: Positions | None = resized
    """What becomes of the position table at other image sizes; None: there is no table."""
    computed_positions: Callable[[Grid, int], Tensor] | None = None
    """Positions (H W C) without a table."""
    positioned_tokens: int = 1
    """How many prefix tokens have positions, the first rows of the table."""
    flat: tuple[str, ...] = ()
    """Which tensors of the embedding are stored without leading axes of length 1: (C) or (N, C), not (1, N, C)."""
    pre_norm: bool = False
    """Whether tokens are normed before the first block."""
    attention: Callable[[Any], nn.Module] = attention
    mlp: Callable[[Any], nn.Module] = mlp
    norm: Norm = nn.LayerNorm
    scaled: bool = False
    """Whether blocks have layer scales."""
    final_norm: Norm | None = nn.LayerNorm
    """The norm of the maps."""


class PlainViTBackbone(Backbone):
    """A plain ViT of any design."""

    config: PlainViTConfig
    design: ClassVar[Design]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.variant = design = self.describe()
        dim, eps = config.hidden_size, config.norm_eps
        self.embed = Embed(config, design)
        self.pre_norm = nn.LayerNorm(dim, eps) if design.pre_norm else nn.Identity()
        self.layers = nn.ModuleList(block(config, design) for _ in range(self.last))
        normed = design.final_norm is not None and config.apply_layernorm
        self.norm = design.final_norm(dim, eps) if design.final_norm and normed else nn.Identity()

    def describe(self) -> Design:
        """The design, as the switches in the config modify it."""
        return self.design

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.pre_norm(self.embed(pixels))  # B N C
        yield x
        context = self.context(x, pixels)
        for layer in self.layers:
            x = layer(x, *context)
            yield x

    def context(self, x: Tensor, pixels: Tensor) -> tuple[Tensor, ...]:
        """What the attention of every block needs besides the tokens."""
        return ()

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return token_map(self.norm(state), self.config, size)

    def class_token(self, index: int, state: Tensor) -> Tensor | None:
        return self.norm(state[:, 0]) if self.config.num_prefix_tokens else None

    def check(self, pixel_values: Tensor) -> None:
        super().check(pixel_values)
        self.config.check_size(*pixel_values.shape[-2:])

    def names(self) -> Names:
        return self.variant.names


class Embed(nn.Module):
    """Patches with their positions, between the other tokens."""

    size_cached_methods = ("patch_positions",)

    def __init__(self, config: PlainViTConfig, design: Design) -> None:
        super().__init__()
        self.dim, self.design = config.hidden_size, design
        dim = self.dim
        self.grid = config.position_grid
        self.proj = design.patches(config.num_channels, dim, pair(config.patch_size), design.patch_bias)
        self.norm = design.norm(dim, config.norm_eps) if design.patch_norm else nn.Identity()

        def table(name: str, rows: int) -> nn.Parameter | None:
            shape = (1, rows, dim) if name not in design.flat else (dim,) if name == "cls" else (rows, dim)
            return nn.Parameter(torch.zeros(shape)) if rows else None

        self.cls = table("cls", int(design.cls))
        self.extra = table("extra", config.num_prefix_tokens - int(design.cls))
        self.suffix = table("suffix", config.num_suffix_tokens)
        rows = design.positioned_tokens + self.grid[0] * self.grid[1] + config.num_suffix_tokens
        self.positions = table("positions", rows if design.positions else 0)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.norm(channels_last(self.proj(pixels)))  # B H W C
        positions = self.patch_positions((x.shape[1], x.shape[2]))
        x = (x if positions is None else x + positions.to(x)).flatten(1, 2)
        prefix, suffix = self.other_tokens()
        return torch.cat([prepend_tokens(x, *prefix), *(tokens.expand(x.shape[0], -1, -1) for tokens in suffix)], 1)

    def patch_positions(self, grid: Grid) -> Tensor | None:  # 1 H W C
        if self.design.computed_positions:
            return self.design.computed_positions(grid, self.dim)[None]
        if self.positions is None or self.design.positions is None:
            return None
        table = as_rows(self.positions)
        start = self.design.positioned_tokens
        return self.design.positions(table[:, start : start + self.grid[0] * self.grid[1]], self.grid, grid)

    def other_tokens(self) -> tuple[list[Tensor], list[Tensor]]:
        """The tokens before and after the patches, with their positions: 1 n C each."""
        prefix = [as_rows(tokens) for tokens in (self.cls, self.extra) if tokens is not None]
        suffix: list[Tensor] = [] if self.suffix is None else [self.suffix]
        if self.positions is not None:
            table, count = as_rows(self.positions), self.design.positioned_tokens
            if prefix and count:
                tokens = torch.cat(prefix, 1)
                prefix = [tokens[:, :count] + table[:, :count], tokens[:, count:]]
            suffix = [tokens + table[:, -tokens.shape[1] :] for tokens in suffix]
        return prefix, suffix


def as_rows(tensor: Tensor) -> Tensor:
    """(C), (N, C) or (1, N, C) as (1, N, C)."""
    return tensor.view(1, -1, tensor.shape[-1])


def block(config: PlainViTConfig, design: Design) -> ViTBlock:
    attn, mlp = design.attention(config), design.mlp(config)
    return ViTBlock(config.hidden_size, config.norm_eps, attn, mlp, design.scaled, design.norm)
