"""Swin Transformer (Liu et al. 2021, arXiv 2103.14030).

Attention runs within windows of w x w patches; every second block shifts the windows by half a window, which connects
neighbours. Between stages, 2x2 patches merge into one of twice the width.

Shapes: B images, H x W patches, C channels, n windows per image of N = w·w patches each, D channels per head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.fields import pair
from ..configs.maskformer_swin import MaskFormerSwinConfig
from ..configs.swin import SwinConfig
from ..configs.swinv2 import Swinv2Config
from .base import STAGE_NORMS, Backbone, Names
from .layers import (
    Mlp,
    StageNorms,
    channels_first,
    channels_last,
    is_symbolic,
    join_heads,
    pad_to_multiple,
    size_cached,
    split_heads,
)


class SwinBackbone(Backbone):
    config: SwinConfig | MaskFormerSwinConfig

    def __init__(self, config: SwinConfig | MaskFormerSwinConfig) -> None:
        super().__init__(config)
        widths = config.widths[: self.last]
        self.embed = Embed(config)
        self.layers = nn.ModuleList(layer(config, i) for i in range(self.last))
        self.merges = nn.ModuleList(Merge(dim) for dim in widths[:-1])
        self.norms = StageNorms(self.out_features, self.channels)

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(pixels)  # B H W C
        yield channels_first(x)
        for i, blocks in enumerate(self.layers):
            x = self.merges[i - 1](x) if i else x
            x = blocks(x)
            yield channels_first(x)

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return self.norms(self.stage_names[index], state)

    def names(self) -> Names:
        return NAMES

    def optional_tensors(self) -> Mapping[str, float]:
        return STAGE_NORMS


class MaskFormerSwinBackbone(SwinBackbone):
    """Swin whose stage norms are numbered, not named, with none for the stem."""

    config: MaskFormerSwinConfig

    def __init__(self, config: MaskFormerSwinConfig) -> None:
        super().__init__(config)
        if "stem" in self.norms:
            del self.norms["stem"]

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return super().feature_map(index, state, size) if index else state

    def names(self) -> Names:
        numbered = {f"norms.{name}": f"hidden_states_norms.{i}" for i, name in enumerate(self.stage_names[1:])}
        return {name: source for name, source in NAMES.items() if name != "norms.*"} | numbered


class Embed(nn.Module):
    """Patch embeddings; the image is padded to whole patches."""

    def __init__(self, config: SwinConfig | MaskFormerSwinConfig | Swinv2Config) -> None:
        super().__init__()
        self.patch = pair(config.patch_size)
        self.grid = tuple(n // p for n, p in zip(pair(config.image_size), self.patch, strict=True))
        self.proj = nn.Conv2d(config.num_channels, config.embed_dim, self.patch, self.patch)
        self.norm = nn.LayerNorm(config.embed_dim)
        if config.use_absolute_embeddings:
            self.positions = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1], config.embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.proj(channels_first(pad_to_multiple(channels_last(pixels), *self.patch)))
        x = self.norm(channels_last(x))  # B H W C
        if hasattr(self, "positions"):
            positions = channels_first(self.positions.unflatten(1, self.grid))
            if self.grid != x.shape[1:3]:
                positions = F.interpolate(positions, x.shape[1:3], mode="bicubic")
            x = x + channels_last(positions)
        return x


def layer(config: SwinConfig | MaskFormerSwinConfig, i: int) -> nn.Sequential:
    """The blocks of one stage: the windows of every second one are shifted."""
    dim, heads, shift = config.widths[i], config.num_heads[i], config.window_size // 2
    return nn.Sequential(*(Block(config, dim, heads, shift * (j % 2)) for j in range(config.depths[i])))


class Block(nn.Module):
    def __init__(self, config: SwinConfig | MaskFormerSwinConfig, dim: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, config.layer_norm_eps)
        self.attn = WindowAttention(dim, heads, config.window_size, shift, config.qkv_bias)
        self.norm2 = nn.LayerNorm(dim, config.layer_norm_eps)
        self.mlp = Mlp(dim, int(config.mlp_ratio * dim), config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class WindowAttention(nn.Module):
    """Attention within windows, with a learned bias for each offset between two patches."""

    size_cached_methods = ("bias",)

    def __init__(self, dim: int, heads: int, window: int, shift: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        return in_windows(self.attend, x, self.window, self.shift)

    def attend(self, windows: Tensor, mask: Tensor | None) -> Tensor:  # B·n N C
        q, k, v = split_heads(self.qkv(windows), self.heads)  # B·n heads N D
        x = F.scaled_dot_product_attention(q, k, v, self.bias(mask, windows.shape[0]))
        return self.proj(join_heads(x))

    def bias(self, mask: Tensor | None, windows: int) -> Tensor:
        """The bias on the scores of this many windows: 1 heads N N, or with a mask B·n heads N N."""
        bias = self.table[offsets(self.window, self.table.device)].permute(2, 0, 1)[None]
        return bias if mask is None else with_mask(bias, mask, windows)


class Merge(nn.Module):
    """2x2 patches become one of twice the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        return self.reduction(self.norm(merged(x)))


def in_windows(attend: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, w: int, shift: int) -> Tensor:
    """Apply `attend` within windows shifted by `shift`: B H W C.

    `attend` takes windows (B·n N C) and, if they are shifted, the mask that separates opposite edges of the image.
    """
    H, W = x.shape[1:3]
    x = pad_to_multiple(x, w, w)
    padded = (x.shape[1], x.shape[2])
    mask = None
    if shift:
        x = x.roll((-shift, -shift), (1, 2))
        mask = shift_mask(padded, w, shift, x.device, x.dtype)
    x = from_windows(attend(to_windows(x, w), mask), w, padded)
    if shift:
        x = x.roll((shift, shift), (1, 2))
    return crop(x, H, W)


def with_mask(bias: Tensor, mask: Tensor, windows: int) -> Tensor:
    """A bias (1 heads N N) plus the mask of one image's windows (n 1 N N), repeated for a batch: B·n heads N N."""
    return (bias + mask).repeat(windows // mask.shape[0], 1, 1, 1)


def merged(x: Tensor) -> Tensor:
    """2x2 patches concatenated, after padding to even sides: B H/2 W/2 4C."""
    x = pad_to_multiple(x, 2, 2)
    x = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, x.shape[3])
    return x.permute(0, 1, 3, 4, 2, 5).flatten(3)


def crop(x: Tensor, H: int, W: int) -> Tensor:
    """The top left H x W of B H' W' C."""
    if is_symbolic(H, W):
        # A copy, whose layout a tracer knows: asking whether a view is contiguous would bind the sizes.
        return x.index_select(1, torch.arange(H, device=x.device)).index_select(2, torch.arange(W, device=x.device))
    return x[:, :H, :W]


def to_windows(x: Tensor, w: int) -> Tensor:
    """B H W C -> B·n N C."""
    x = x.reshape(x.shape[0], x.shape[1] // w, w, x.shape[2] // w, w, x.shape[3])
    return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def from_windows(windows: Tensor, w: int, size: tuple[int, int]) -> Tensor:
    """B·n N C -> B H W C."""
    rows, cols = size[0] // w, size[1] // w
    batch = windows.shape[0] // (rows * cols)
    x = windows.reshape(batch, rows, cols, w, w, windows.shape[2])
    return x.transpose(2, 3).reshape(batch, rows * w, cols * w, windows.shape[2])


@size_cached
def offsets(w: int, device: torch.device) -> Tensor:
    """For each pair of a window's patches (N x N), the row of their offset in the bias table."""
    at = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(w), indexing="ij")).flatten(1)  # 2 N
    apart = at[:, :, None] - at[:, None, :] + w - 1
    return (apart[0] * (2 * w - 1) + apart[1]).to(device)


@size_cached
def shift_mask(size: tuple[int, int], w: int, shift: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """-100 between patches of a shifted window that come from opposite edges of the image: n 1 N N."""
    region = torch.zeros(1, *size, 1)
    for dim, length in ((1, size[0]), (2, size[1])):
        at = torch.arange(length).view(-1, 1) if dim == 2 else torch.arange(length).view(-1, 1, 1)
        region = region * 3 + (at >= length - w) + (at >= length - shift)
    regions = to_windows(region, w).squeeze(-1)  # n N
    apart = regions[:, None, :] != regions[:, :, None]
    return torch.where(apart, -100.0, 0.0)[:, None].to(device, dtype)


BLOCK = "encoder.layers.*.blocks.*"

NAMES: Names = {
    "embed.proj": "embeddings.patch_embeddings.projection",
    "embed.norm": "embeddings.norm",
    "embed.positions": "embeddings.position_embeddings",
    "layers.*.*.norm1": f"{BLOCK}.layernorm_before",
    "layers.*.*.attn.qkv": tuple(f"{BLOCK}.attention.self.{part}" for part in ("query", "key", "value")),
    "layers.*.*.attn.table": f"{BLOCK}.attention.self.relative_position_bias_table",
    "layers.*.*.attn.proj": f"{BLOCK}.attention.output.dense",
    "layers.*.*.norm2": f"{BLOCK}.layernorm_after",
    "layers.*.*.mlp.fc1": f"{BLOCK}.intermediate.dense",
    "layers.*.*.mlp.fc2": f"{BLOCK}.output.dense",
    "merges.*": "encoder.layers.*.downsample",
    "norms.*": "hidden_states_norms.*",
}
