"""The image encoders of SAM (Kirillov et al. 2023, arXiv 2304.02643), SAM-HQ and SAM 3.

Plain ViTs like ViTDet's: most blocks attend within windows, a few globally. SAM's end in a neck of two convolutions;
SAM 3's rotate queries and keys by their patch's place within the window or the image.

Shapes: B images, H x W patches (N of them), C channels, D channels per head.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.fields import pair
from ..configs.sam import Sam3ViTConfig, SamVisionConfig, WindowedConfig
from .base import Backbone, Names
from .layers import Mlp, ViTBlock, channels_first, channels_last, join_heads, size_cached, split_heads
from .swin import in_windows
from .vitdet import RelativeAttention, convolve


class WindowedBackbone(Backbone):
    """A plain ViT for images of one size."""

    config: WindowedConfig

    def check(self, pixel_values: Tensor) -> None:
        super().check(pixel_values)
        self.config.check_size(*pixel_values.shape[-2:])


class SamVisionBackbone(WindowedBackbone):
    config: SamVisionConfig

    def __init__(self, config: SamVisionConfig) -> None:
        super().__init__(config)
        dim, patch = config.hidden_size, pair(config.patch_size)
        self.proj = nn.Conv2d(config.num_channels, dim, patch, patch)
        table = torch.zeros(1, *config.patch_grid(*config.default_size()), dim)
        self.positions = nn.Parameter(table) if config.use_abs_pos else None
        self.layers = nn.ModuleList(sam_block(config, i) for i in range(min(self.last, config.num_hidden_layers)))
        self.neck = Neck(dim, config.output_channels) if self.last > config.num_hidden_layers else None

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = channels_last(self.proj(pixels))  # B H W C
        x = x if self.positions is None else x + self.positions
        yield channels_first(x)
        for block in self.layers:
            x = block(x)
            yield channels_first(x)
        if self.neck is not None:
            yield channels_first(self.neck(x))

    def names(self) -> Names:
        return SAM_NAMES


class SamHQVisionBackbone(SamVisionBackbone):
    """SAM-HQ's image encoder is SAM's."""


def sam_block(config: SamVisionConfig, i: int) -> ViTBlock:
    attn = RelativeAttention(config, config.window(i))
    mlp = Mlp(config.hidden_size, config.mlp_size, config.hidden_act)
    return ViTBlock(config.hidden_size, config.layer_norm_eps, attn, mlp, scaled=False)


class Neck(nn.Module):
    """1x1 and 3x3 convolutions, each normed."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(dim, out, 1, bias=False), nn.LayerNorm(out, 1e-6)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, padding=1, bias=False), nn.LayerNorm(out, 1e-6)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        x = self.norm1(convolve(self.conv1, x))
        return self.norm2(convolve(self.conv2, x))


class Sam3ViTBackbone(WindowedBackbone):
    config: Sam3ViTConfig

    def __init__(self, config: Sam3ViTConfig) -> None:
        super().__init__(config)
        dim, patch = config.hidden_size, pair(config.patch_size)
        self.table_grid = config.patch_grid(*pair(config.pretrain_image_size))
        self.proj = nn.Conv2d(config.num_channels, dim, patch, patch, bias=False)
        self.positions = nn.Parameter(torch.zeros(1, self.table_grid[0] * self.table_grid[1], dim))
        self.norm = nn.LayerNorm(dim, config.layer_norm_eps)
        self.layers = nn.ModuleList(sam3_block(config, i) for i in range(self.last))

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = channels_last(self.proj(pixels))  # B H W C
        x = self.norm(x + repeat_to(self.positions.unflatten(1, self.table_grid), (x.shape[1], x.shape[2])))
        yield channels_first(x)
        for block in self.layers:
            x = block(x)
            yield channels_first(x)

    def names(self) -> Names:
        return SAM3_NAMES


def repeat_to(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """A table of positions (1 h w C), repeated across a larger grid: 1 H W C."""
    times = [-(-side // own) for side, own in zip(grid, table.shape[1:3], strict=True)]
    return table.tile(1, *times, 1)[:, : grid[0], : grid[1]]


def sam3_block(config: Sam3ViTConfig, i: int) -> ViTBlock:
    mlp = Mlp(config.hidden_size, config.intermediate_size, config.hidden_act)
    return ViTBlock(config.hidden_size, config.layer_norm_eps, PlaceAttention(config, i), mlp, scaled=False)


class PlaceAttention(nn.Module):
    """Attention over the whole image or within windows, whose queries and keys are rotated by their patch's place."""

    def __init__(self, config: Sam3ViTConfig, i: int) -> None:
        super().__init__()
        dim, self.heads, self.window = config.hidden_size, config.num_attention_heads, config.window(i)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        rows, cols = config.patch_grid(*config.default_size())
        # As published, the image's places are counted with its sides swapped, and scaled to the size of a window.
        grid = (self.window, self.window) if self.window else (cols, rows)
        self.places = (grid, config.window_size / grid[1], config.head_dim, config.theta)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        if self.window:
            return in_windows(lambda windows, _: self.attend(windows), x, self.window, shift=0)
        return self.attend(x.flatten(1, 2)).unflatten(1, x.shape[1:3])

    def attend(self, x: Tensor) -> Tensor:  # B N C
        qkv = split_heads(self.qkv(x), self.heads)  # 3 B heads N D
        cos, sin = (part.to(x.dtype) for part in rotation(*self.places, x.device))
        q, k = qkv[:2] * cos + rotate_pairs(qkv[:2]) * sin
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, qkv[2])))


def rotate_pairs(x: Tensor) -> Tensor:
    """Rotate channel pairs (2i, 2i + 1) by a right angle."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([-second, first], -1).flatten(-2)


@size_cached
def rotation(
    grid: tuple[int, int], scale: float, dim: int, theta: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (N D) of the angles of all patches, which rise with their column and with their row."""
    frequencies = 1 / theta ** (torch.arange(0, dim // 2, 2) / (dim // 2))
    down, right = (torch.arange(length)[:, None] * scale * frequencies for length in grid)
    both = torch.cat(torch.broadcast_tensors(right[None], down[:, None]), -1)
    angles = both.flatten(0, 1).repeat_interleave(2, -1).to(device)
    return angles.cos(), angles.sin()


SAM_NAMES: Names = {
    "proj": "vision_encoder.patch_embed.projection",
    "positions": "vision_encoder.pos_embed",
    "layers.*.norm1": "vision_encoder.layers.*.layer_norm1",
    "layers.*.attn.down": "vision_encoder.layers.*.attn.rel_pos_h",
    "layers.*.attn.across": "vision_encoder.layers.*.attn.rel_pos_w",
    "layers.*.attn": "vision_encoder.layers.*.attn",
    "layers.*.norm2": "vision_encoder.layers.*.layer_norm2",
    "layers.*.mlp.fc1": "vision_encoder.layers.*.mlp.lin1",
    "layers.*.mlp.fc2": "vision_encoder.layers.*.mlp.lin2",
    "neck.conv1": "vision_encoder.neck.conv1",
    "neck.norm1": "vision_encoder.neck.layer_norm1",
    "neck.conv2": "vision_encoder.neck.conv2",
    "neck.norm2": "vision_encoder.neck.layer_norm2",
}

SAM3_NAMES: Names = {
    "proj": "embeddings.patch_embeddings.projection",
    "positions": "embeddings.position_embeddings",
    "norm": "layer_norm",
    "layers.*.norm1": "layers.*.layer_norm1",
    "layers.*.attn.qkv": tuple(f"layers.*.attention.{part}_proj" for part in "qkv"),
    "layers.*.attn.proj": "layers.*.attention.o_proj",
    "layers.*.norm2": "layers.*.layer_norm2",
    "layers.*.mlp": "layers.*.mlp",
}
