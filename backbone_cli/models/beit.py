"""BEiT (Bao et al. 2021, arXiv 2106.08254).

A plain ViT trained to predict masked patches. Attention has a learned bias for each offset between two patches; for
image sizes other than the pretraining size, the bias table is resized.

Shapes: B images, N tokens (the class token and H x W patches), C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.beit import BeitConfig, Data2VecVisionConfig
from ..configs.fields import pair
from ..errors import StageError
from .base import Backbone, Names
from .layers import (
    Attention,
    Mlp,
    ViTBlock,
    channels_first,
    channels_last,
    is_symbolic,
    prepend_tokens,
    resize_positions,
    size_cached,
    token_map,
)


class BeitBackbone(Backbone):
    config: BeitConfig

    def __init__(self, config: BeitConfig) -> None:
        if config.add_fpn and len(config.out_indices) != 4:
            raise StageError(
                f"BEiT with add_fpn needs exactly four stages, not {len(config.out_indices)}; give four out_indices."
            )
        super().__init__(config)
        depth = self.last
        self.embed = Embed(config)
        self.shared = relative_biases(config, 1 if config.use_shared_relative_position_bias else 0)
        self.biases = relative_biases(config, depth if config.use_relative_position_bias else 0)
        self.layers = nn.ModuleList(block(config) for _ in range(depth))
        self.pyramid = pyramid(config.hidden_size) if config.add_fpn else None

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        grid = self.config.patch_grid(pixels.shape[-2], pixels.shape[-1])
        x = self.embed(pixels)  # B N C
        yield x
        shared = [bias(grid) for bias in self.shared]
        for i, layer in enumerate(self.layers):
            biases = shared + [bias(grid) for bias in self.biases[i : i + 1]]
            x = layer(x, sum(biases) if biases else None)
            yield x

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        x = token_map(state, self.config, size)
        return x if self.pyramid is None else self.pyramid[self.requested.index(index)](x)

    def class_token(self, index: int, state: Tensor) -> Tensor:
        return state[:, 0]

    def names(self) -> Names:
        return NAMES

    def optional_tensors(self) -> Mapping[str, float]:
        return KEY_BIAS


class Data2VecVisionBackbone(BeitBackbone):
    """data2vec's image encoder (Baevski et al. 2022, arXiv 2202.03555)."""

    config: Data2VecVisionConfig

    def __init__(self, config: Data2VecVisionConfig) -> None:
        super().__init__(config)
        normed = config.apply_layernorm and not config.use_mean_pooling
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps) if normed else nn.Identity()

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return super().feature_map(index, self.norm(state), size)

    def class_token(self, index: int, state: Tensor) -> Tensor:
        return self.norm(state[:, 0])


class Embed(nn.Module):
    """The class token and the patches, with learned absolute positions if there are any."""

    def __init__(self, config: BeitConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.grid = config.patch_grid(*config.default_size())
        self.proj = nn.Conv2d(config.num_channels, dim, pair(config.patch_size), pair(config.patch_size))
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        positions = torch.zeros(1, 1 + self.grid[0] * self.grid[1], dim)
        self.positions = nn.Parameter(positions) if config.use_absolute_position_embeddings else None

    def forward(self, pixels: Tensor) -> Tensor:
        x = channels_last(self.proj(pixels))  # B H W C
        if self.positions is None:
            return prepend_tokens(x.flatten(1, 2), self.cls)
        x = x + resize_positions(self.positions[:, 1:], self.grid, (x.shape[1], x.shape[2]))
        return prepend_tokens(x.flatten(1, 2), self.cls + self.positions[:, :1])


class RelativeBias(nn.Module):
    """Each head's bias on the score of two tokens, by their offset; three extra rows are for the class token."""

    size_cached_methods = ("forward",)

    def __init__(self, config: BeitConfig) -> None:
        super().__init__()
        rows, cols = config.patch_grid(*config.default_size())
        self.offsets = (2 * rows - 1, 2 * cols - 1)
        self.table = nn.Parameter(torch.zeros(self.offsets[0] * self.offsets[1] + 3, config.num_attention_heads))

    def forward(self, grid: tuple[int, int]) -> Tensor:  # 1 heads N N: attention on a CPU is slow with a 3-axis mask
        table = resize_offsets(self.table, self.offsets, grid)
        return table[offset_rows(grid, table.device)].permute(2, 0, 1)[None]


def relative_biases(config: BeitConfig, count: int) -> nn.ModuleList:
    return nn.ModuleList(RelativeBias(config) for _ in range(count))


def block(config: BeitConfig) -> ViTBlock:
    dim = config.hidden_size
    attn = Attention(dim, config.num_attention_heads)
    mlp = Mlp(dim, config.intermediate_size, config.hidden_act)
    return ViTBlock(dim, config.layer_norm_eps, attn, mlp, scaled=config.layer_scale_init_value > 0)


def pyramid(dim: int) -> nn.ModuleList:
    """The resizes that bring the four requested maps to 4, 2, 1 and 1/2 times the patch grid."""

    def twice() -> nn.ConvTranspose2d:
        return nn.ConvTranspose2d(dim, dim, 2, 2)

    four_times = nn.Sequential(twice(), nn.BatchNorm2d(dim), nn.GELU(), twice())
    return nn.ModuleList([four_times, nn.Sequential(twice()), nn.Identity(), nn.MaxPool2d(2)])


def resize_offsets(table: Tensor, made_for: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Resize a bias table (offsets + 3, heads) to another patch grid."""
    rows, cols = made_for
    size = (2 * grid[0] - 1, 2 * grid[1] - 1)
    if rows == cols and not is_symbolic(*size) and size == made_for:
        return table
    # As published, the table is read with its axes swapped.
    wide = table[:-3].unflatten(0, (1, cols, rows)).to(torch.promote_types(table.dtype, torch.float32))
    resized = channels_last(F.interpolate(channels_first(wide), size, mode="bilinear"))
    return torch.cat([resized.flatten(0, 2).to(table.dtype), table[-3:]])


@size_cached
def offset_rows(grid: tuple[int, int], device: torch.device) -> Tensor:
    """For each pair of tokens (N x N), its row in the bias table."""
    rows, cols = grid
    count = (2 * rows - 1) * (2 * cols - 1)
    at = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")).flatten(1)  # 2 H·W
    down, right = at[:, :, None] - at[:, None, :]
    table = F.pad((down + rows - 1) * (2 * cols - 1) + right + cols - 1, (1, 0, 1, 0))
    table[0, :], table[:, 0], table[0, 0] = count, count + 1, count + 2
    return table.to(device)


LAYER = "encoder.layer.*"

NAMES: Names = {
    "embed.proj": "embeddings.patch_embeddings.projection",
    "embed.cls": "embeddings.cls_token",
    "embed.positions": "embeddings.position_embeddings",
    "shared.0.table": "encoder.relative_position_bias.relative_position_bias_table",
    "biases.*.table": f"{LAYER}.attention.attention.relative_position_bias.relative_position_bias_table",
    "layers.*.norm1": f"{LAYER}.layernorm_before",
    "layers.*.attn.qkv": tuple(f"{LAYER}.attention.attention.{part}" for part in ("query", "key", "value")),
    "layers.*.attn.proj": f"{LAYER}.attention.output.dense",
    "layers.*.scale1.weight": f"{LAYER}.lambda_1",
    "layers.*.norm2": f"{LAYER}.layernorm_after",
    "layers.*.mlp.fc1": f"{LAYER}.intermediate.dense",
    "layers.*.mlp.fc2": f"{LAYER}.output.dense",
    "layers.*.scale2.weight": f"{LAYER}.lambda_2",
    "norm": "layernorm",
    "pyramid.0.*": "fpn1.*",
    "pyramid.1.*": "fpn2.*",
}

# Keys have no bias: it would shift all scores of a query alike, which the softmax cancels.
KEY_BIAS = {f"{LAYER}.attention.attention.key.bias": 0.0}
