"""FocalNet (Yang et al. 2022, arXiv 2203.11926).

Instead of attention, each position is multiplied by a summary of its surroundings. The summary is a sum over focal
levels: stacked depthwise convolutions of growing size, then the mean of the whole image, each gated by the position.

Shapes: B images, H x W positions, C channels, L focal levels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.fields import pair
from ..configs.focalnet import FocalNetConfig
from .base import Backbone, Names
from .layers import Mlp, channels_first, channels_last, pad_to_multiple


class FocalNetBackbone(Backbone):
    config: FocalNetConfig
    has_attentions = False

    def __init__(self, config: FocalNetConfig) -> None:
        super().__init__(config)
        widths = config.widths
        self.embed = Patches(config, config.num_channels, config.embed_dim, pair(config.patch_size), (7, 4, 2))
        self.layers = nn.ModuleList(
            nn.Sequential(*(Layer(config, i) for _ in range(config.depths[i]))) for i in range(self.last)
        )
        self.downs = nn.ModuleList(
            Patches(config, dim, 2 * dim, (2, 2), (3, 2, 1)) for dim in widths[: min(self.last, len(widths) - 1)]
        )

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(channels_last(pixels))  # B H W C
        yield channels_first(x)
        for i, blocks in enumerate(self.layers):
            x = blocks(x)
            x = self.downs[i](x) if i < len(self.downs) else x
            yield channels_first(x)

    def names(self) -> Names:
        return NAMES


class Patches(nn.Module):
    """Normed patch embeddings; with `use_conv_embed`, an overlapping convolution (kernel, stride, padding)."""

    def __init__(
        self, config: FocalNetConfig, dim: int, out: int, patch: tuple[int, int], window: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(dim, out, *window) if config.use_conv_embed else nn.Conv2d(dim, out, patch, patch)
        self.norm = nn.LayerNorm(out, config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        x = channels_first(pad_to_multiple(x, *self.patch))
        return self.norm(channels_last(self.proj(x)))


class Layer(nn.Module):
    """x + modulation, then x + MLP, with norms before or after each of them."""

    def __init__(self, config: FocalNetConfig, stage: int) -> None:
        super().__init__()
        dim = config.widths[stage]
        self.norms_after = config.use_post_layernorm
        self.norm1 = nn.LayerNorm(dim, config.layer_norm_eps)
        self.modulation = Modulation(config, dim, config.focal_levels[stage], config.focal_windows[stage])
        self.norm2 = nn.LayerNorm(dim, config.layer_norm_eps)
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio), config.hidden_act)
        self.scale1 = nn.Parameter(torch.ones(dim)) if config.use_layerscale else None
        self.scale2 = nn.Parameter(torch.ones(dim)) if config.use_layerscale else None

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        for part, norm, scale in ((self.modulation, self.norm1, self.scale1), (self.mlp, self.norm2, self.scale2)):
            y = norm(part(x)) if self.norms_after else part(norm(x))
            x = x + y if scale is None else torch.addcmul(x, scale, y)
        return x


class Modulation(nn.Module):
    """Each position times a gated sum of its surroundings."""

    def __init__(self, config: FocalNetConfig, dim: int, levels: int, window: int) -> None:
        super().__init__()
        self.split = (dim, dim, levels + 1)
        self.proj_in = nn.Linear(dim, sum(self.split))
        self.focal = nn.ModuleList(
            nn.Conv2d(dim, dim, size, padding=size // 2, groups=dim, bias=False)
            for size in range(window, window + 2 * levels, 2)
        )
        self.share = 1 / (levels + 1) if config.normalize_modulator else 1.0
        self.context = nn.Conv2d(dim, dim, 1)
        self.norm = nn.LayerNorm(dim, config.layer_norm_eps) if config.use_post_layernorm_in_modulation else None
        self.proj_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        q, context, gates = self.proj_in(x).split(self.split, -1)
        gates = gates * self.share
        summary = torch.zeros_like(q)
        for conv, gate in zip(self.focal, gates.split(1, -1), strict=False):
            context = F.gelu(channels_last(conv(channels_first(context))))
            summary = torch.addcmul(summary, context, gate)
        summary = torch.addcmul(summary, F.gelu(context.mean((1, 2), keepdim=True)), gates[..., -1:])
        x = q * channels_last(self.context(channels_first(summary)))
        return self.proj_out(x if self.norm is None else self.norm(x))


LAYER = "encoder.stages.*.layers.*"

NAMES: Names = {
    "embed.proj": "embeddings.patch_embeddings.projection",
    "embed.norm": "embeddings.norm",
    "layers.*.*.norm1": f"{LAYER}.norm1",
    "layers.*.*.modulation.proj_in": f"{LAYER}.modulation.projection_in",
    "layers.*.*.modulation.focal.*": f"{LAYER}.modulation.focal_layers.*.0",
    "layers.*.*.modulation.context": f"{LAYER}.modulation.projection_context",
    "layers.*.*.modulation.norm": f"{LAYER}.modulation.layernorm",
    "layers.*.*.modulation.proj_out": f"{LAYER}.modulation.projection_out",
    "layers.*.*.norm2": f"{LAYER}.norm2",
    # In DETR and MaskFormer files, transformers' renaming of the head affects these names, too.
    "layers.*.*.mlp.fc1": [f"{LAYER}.mlp.fc1", f"{LAYER}.fc1"],
    "layers.*.*.mlp.fc2": [f"{LAYER}.mlp.fc2", f"{LAYER}.fc2"],
    "layers.*.*.scale1": f"{LAYER}.gamma_1",
    "layers.*.*.scale2": f"{LAYER}.gamma_2",
    "downs.*.proj": "encoder.stages.*.downsample.projection",
    "downs.*.norm": "encoder.stages.*.downsample.norm",
}
