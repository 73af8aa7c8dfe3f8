"""NAT and DiNAT (Hassani et al. 2023, arXiv 2204.07143; Hassani and Shi 2022, arXiv 2209.15001).

Every pixel attends to its k x k nearest pixels; at the borders the neighbourhood shifts inward, so it is always whole.
DiNAT dilates the neighbourhoods of every second layer: neighbours are `dilation` pixels apart, so the map splits into
dilation² interleaved ones that don't interact.

Attention is computed in tiles: k x k queries share the keys of all their neighbourhoods, at most (2k-1)², and keys that
are not neighbours of a query are masked. So memory grows with H·W·k², and the products stay dense.

Shapes: B images, H x W pixels, C channels, D channels a head, n tiles of N queries and M keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.dinat import DinatConfig
from ..configs.nat import NatConfig
from .base import STAGE_NORMS, Backbone, Names
from .layers import Mlp, StageNorms, channels_first, channels_last, join_heads, size_cached, split_heads


class NatBackbone(Backbone):
    config: NatConfig | DinatConfig

    def __init__(self, config: NatConfig | DinatConfig) -> None:
        super().__init__(config)
        self.embed = Embed(config)
        self.layers = nn.ModuleList(layer(config, i) for i in range(self.last))
        self.downs = nn.ModuleList(Down(dim) for dim in config.widths[: self.last][:-1])
        self.norms = StageNorms(self.out_features, self.channels)

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(pixels)  # B H W C
        yield channels_first(x)
        for i, blocks in enumerate(self.layers):
            x = self.downs[i - 1](x) if i else x
            x = blocks(x)
            yield channels_first(x)

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return self.norms(self.stage_names[index], state)

    def names(self) -> Names:
        return NAMES

    def optional_tensors(self) -> Mapping[str, float]:
        return STAGE_NORMS


class DinatBackbone(NatBackbone):
    config: DinatConfig


class Embed(nn.Module):
    """Two stride-2 convolutions without an activation in between."""

    def __init__(self, config: NatConfig | DinatConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.proj = nn.Sequential(
            nn.Conv2d(config.num_channels, dim // 2, 3, 2, 1),
            nn.Conv2d(dim // 2, dim, 3, 2, 1),
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(channels_last(self.proj(pixels)))


def layer(config: NatConfig | DinatConfig, i: int) -> nn.Sequential:
    """The blocks of one stage, each with its own dilation."""
    return nn.Sequential(*(Block(config, i, config.dilations[i][j]) for j in range(config.depths[i])))


class Block(nn.Module):
    def __init__(self, config: NatConfig | DinatConfig, i: int, dilation: int) -> None:
        super().__init__()
        dim = config.widths[i]
        self.norm1 = nn.LayerNorm(dim, config.layer_norm_eps)
        self.attn = NeighbourhoodAttention(dim, config.num_heads[i], config.kernel_size, dilation, config.qkv_bias)
        self.norm2 = nn.LayerNorm(dim, config.layer_norm_eps)
        self.mlp = Mlp(dim, int(config.mlp_ratio * dim), config.hidden_act)
        start = config.layer_scale_init_value
        self.scales = nn.Parameter(torch.full((2, dim), start)) if start > 0 else None

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        x = x + self.scaled(0, self.attn(self.norm1(x)))
        return x + self.scaled(1, self.mlp(self.norm2(x)))

    def scaled(self, i: int, x: Tensor) -> Tensor:
        return x if self.scales is None else x * self.scales[i]


class NeighbourhoodAttention(nn.Module):
    """Attention of each pixel to its neighbours, with a learned bias for each offset between the two."""

    size_cached_methods = ("bias",)

    def __init__(self, dim: int, heads: int, kernel: int, dilation: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads, self.kernel, self.dilation = heads, kernel, dilation
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.table = nn.Parameter(torch.zeros(heads, 2 * kernel - 1, 2 * kernel - 1))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        H, W = x.shape[1:3]
        x = pad_to_min(x, self.kernel * self.dilation)
        size = (x.shape[1], x.shape[2])
        q, k, v = split_heads(self.qkv(x.flatten(1, 2)), self.heads).contiguous()  # B heads H·W D
        tiles = tiling(size, self.kernel, self.dilation, x.device)
        x = self.proj(join_heads(attend(q, k, v, self.bias(size), tiles)))
        return x.unflatten(1, size)[:, :H, :W]

    def bias(self, size: tuple[int, int]) -> Tensor:
        """What is added to the attention scores, for each kind of tile: heads kinds N M."""
        return tile_bias(self.table, tiling(size, self.kernel, self.dilation, self.table.device))


class Down(nn.Module):
    """A convolution that halves the map and doubles its channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(dim, 2 * dim, 3, 2, 1, bias=False)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        return self.norm(channels_last(self.reduction(channels_first(x))))


def pad_to_min(x: Tensor, minimum: int) -> Tensor:
    """Pad B H W C with zeros at the bottom and right if a side is shorter than a neighbourhood."""
    H, W = x.shape[1:3]
    return F.pad(x, (0, 0, 0, max(0, minimum - W), 0, max(0, minimum - H))) if min(H, W) < minimum else x


class Tiling(NamedTuple):
    """How a map is cut into tiles; all tensors are positions."""

    queries: Tensor  # n N: each tile's queries in the map; some appear twice if tiles don't divide it
    keys: Tensor  # n M
    places: Tensor  # H·W: each pixel's place among all tiles' queries
    rows: Tensor  # row kinds x queries x keys: offset in the bias table, or its end if masked
    columns: Tensor
    kinds: Tensor  # n: each tile's pair of row and column kinds


class Cut(NamedTuple):
    """The same for one axis of the map."""

    queries: Tensor
    keys: Tensor
    offsets: Tensor
    kinds: Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, tiles: Tiling) -> Tensor:
    """Attention of each pixel (B heads H·W D) to its neighbours."""
    heads = q.shape[1]
    bias = bias[:, tiles.kinds].flatten(0, 1)[None]  # 1 heads·n N M
    q = q[:, :, tiles.queries].flatten(1, 2)  # B heads·n N D
    k, v = (x[:, :, tiles.keys].flatten(1, 2) for x in (k, v))  # B heads·n M D
    x = F.scaled_dot_product_attention(q, k, v, bias)
    return x.unflatten(1, (heads, -1)).flatten(2, 3)[:, :, tiles.places]


def tile_bias(table: Tensor, tiles: Tiling) -> Tensor:
    """The bias table (heads 2k-1 2k-1) laid out for every kind of tile: heads kinds N M."""
    table = F.pad(table, (0, 1, 0, 1), value=-torch.inf)
    rows, columns = tiles.rows[:, None, :, None, :, None], tiles.columns[None, :, None, :, None, :]
    return table[:, rows, columns].flatten(5, 6).flatten(3, 4).flatten(1, 2)


@size_cached
def tiling(size: tuple[int, int], kernel: int, dilation: int, device: torch.device) -> Tiling:
    rows, columns = (cut(length, kernel, dilation) for length in size)

    def both(row: Tensor, column: Tensor) -> Tensor:
        at = row[:, None, :, None] * size[1] + column[None, :, None, :]
        return at.flatten(2, 3).flatten(0, 1)

    queries = both(rows.queries, columns.queries)
    places = torch.empty(size[0] * size[1], dtype=torch.long, device="cpu")
    places[queries.flatten()] = torch.arange(queries.numel(), device="cpu")
    kinds = (rows.kinds[:, None] * len(columns.offsets) + columns.kinds).flatten()
    tables = (queries, both(rows.keys, columns.keys), places, rows.offsets, columns.offsets, kinds)
    return Tiling(*(table.to(device) for table in tables))


def cut(length: int, kernel: int, dilation: int) -> Cut:
    """Cut one axis of a map: each interleaved part into runs of `kernel` queries and the keys they reach."""
    runs: list[tuple[int, int, int]] = []
    kinds: list[int] = []
    examples: dict[tuple[bool, int], int] = {}  # kind -> its first run
    for first in range(dilation):
        count = len(range(first, length, dilation))
        for start in range(0, count, kernel):
            # Runs at the same distance from both ends, or far enough from them, share a mask.
            kind = (start == 0, min(count - start, 2 * kernel - kernel // 2 - 1))
            examples.setdefault(kind, len(runs))
            kinds.append(list(examples).index(kind))
            runs.append((first, count, start))
    first, count, start = torch.tensor(runs, device="cpu").T[:, :, None]  # n 1 each
    reach = min(2 * kernel - 1, -(-length // dilation))
    query = (start + torch.arange(kernel, device="cpu")).minimum(count - 1)  # n N
    nearest = (query - kernel // 2).clamp(min=0).minimum(count - kernel)
    key = nearest[:, :1] + torch.arange(reach, device="cpu")  # n M
    near, at = nearest[:, :, None], key[:, None]
    visible = (at >= near) & (at < near + kernel)
    offsets = torch.where(visible, at - query[:, :, None] + kernel - 1, 2 * kernel - 1)
    places = first + dilation * query, first + dilation * key.minimum(count - 1)
    return Cut(*places, offsets[list(examples.values())], torch.tensor(kinds, device="cpu"))


BLOCK = "encoder.levels.*.layers.*"

NAMES: Names = {
    "embed.proj.*": "embeddings.patch_embeddings.projection.*",
    "embed.norm": "embeddings.norm",
    "layers.*.*.norm1": f"{BLOCK}.layernorm_before",
    "layers.*.*.attn.qkv": tuple(f"{BLOCK}.attention.self.{part}" for part in ("query", "key", "value")),
    "layers.*.*.attn.table": f"{BLOCK}.attention.self.rpb",
    "layers.*.*.attn.proj": f"{BLOCK}.attention.output.dense",
    "layers.*.*.norm2": f"{BLOCK}.layernorm_after",
    "layers.*.*.mlp.fc1": f"{BLOCK}.intermediate.dense",
    "layers.*.*.mlp.fc2": f"{BLOCK}.output.dense",
    "layers.*.*.scales": f"{BLOCK}.layer_scale_parameters",
    "downs.*": "encoder.levels.*.downsample",
    "norms.*": "hidden_states_norms.*",
}
