"""ConvNext (Liu et al. 2022, arXiv 2201.03545), V2 (Woo et al. 2023, arXiv 2301.00808), and DINOv3's (2508.10104).

A 7x7 depthwise convolution mixes positions, an MLP mixes channels. Between stages, 2x2 positions become one. V2 makes
the MLP's channels compete; DINOv3's differs in the places and names of its norms.

Shapes: B images, H x W positions, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..configs.convnext import ConvNextConfig, ConvNextShape
from ..configs.convnextv2 import ConvNextV2Config
from ..configs.dinov3_convnext import DINOv3ConvNextConfig
from ..configs.fields import IntOrPair
from .base import STAGE_NORMS, Backbone, Names
from .layers import Mlp, StageNorms, channels_first, channels_last

EPS = 1e-6  # of every norm in ConvNext and V2; `layer_norm_eps` is the classifier's


class ConvNextBackbone(Backbone):
    config: ConvNextShape
    has_attentions = False

    def __init__(self, config: ConvNextShape) -> None:
        super().__init__(config)
        widths = config.widths[: self.last]
        self.embed = Embed(config.num_channels, config.widths[0], config.patch_size, EPS)
        self.downs = nn.ModuleList([nn.Identity(), *downsamples(widths, EPS)])
        self.layers = nn.ModuleList(
            nn.Sequential(*(self.block(dim) for _ in range(depth)))
            for dim, depth in zip(widths, config.depths, strict=False)
        )
        self.norms = StageNorms(self.out_features, self.channels, EPS)

    def block(self, dim: int) -> Block:
        assert isinstance(self.config, ConvNextConfig)
        return Block(dim, self.config.hidden_act, EPS, scaled=self.config.layer_scale_init_value > 0)

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.embed(channels_last(pixels))  # B H W C
        yield channels_first(x)
        for down, blocks in zip(self.downs, self.layers, strict=False):
            x = blocks(down(x))
            yield channels_first(x)

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        return self.norms(self.stage_names[index], state)

    def names(self) -> Names:
        return NAMES

    def optional_tensors(self) -> Mapping[str, float]:
        return STAGE_NORMS


class ConvNextV2Backbone(ConvNextBackbone):
    config: ConvNextV2Config

    def block(self, dim: int) -> Block:
        block = Block(dim, self.config.hidden_act, EPS, scaled=False)
        block.mlp.act = nn.Sequential(block.mlp.act, ResponseNorm(4 * dim))
        return block


class DINOv3ConvNextBackbone(Backbone):
    config: DINOv3ConvNextConfig
    has_attentions = False

    def __init__(self, config: DINOv3ConvNextConfig) -> None:
        super().__init__(config)
        widths, eps = config.hidden_sizes[: self.last], config.layer_norm_eps
        self.downs = nn.ModuleList(Embed(config.num_channels, dim, 4, eps) for dim in widths[:1])
        self.downs.extend(downsamples(widths, eps))
        self.layers = nn.ModuleList(
            nn.Sequential(*(Block(dim, config.hidden_act, eps, scaled=True) for _ in range(depth)))
            for dim, depth in zip(widths, config.depths, strict=False)
        )

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        yield pixels
        x = channels_last(pixels)  # B H W C
        for down, blocks in zip(self.downs, self.layers, strict=True):
            x = blocks(down(x))
            yield channels_first(x)

    def names(self) -> Names:
        return DINOV3_NAMES


class Embed(nn.Module):
    """Normed patch embeddings; partial patches are cut off."""

    def __init__(self, channels: int, dim: int, patch: IntOrPair, eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, dim, patch, patch)  # type: ignore[arg-type]
        self.norm = nn.LayerNorm(dim, eps)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        return self.norm(channels_last(self.conv(channels_first(x))))


class Downsample(nn.Module):
    """2x2 positions become one of another width."""

    def __init__(self, dim: int, out: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps)
        self.conv = nn.Conv2d(dim, out, 2, 2)

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        return channels_last(self.conv(channels_first(self.norm(x))))


def downsamples(widths: Sequence[int], eps: float) -> Iterator[Downsample]:
    """The downsampling layers between stages of these widths."""
    return (Downsample(dim, out, eps) for dim, out in pairwise(widths))


class Block(nn.Module):
    """x + depthwise convolution, norm and MLP of x, times a learned factor per channel if `scaled`."""

    def __init__(self, dim: int, act: str, eps: float, scaled: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim, 4 * dim, act)
        self.scale = nn.Parameter(torch.ones(dim)) if scaled else None

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        y = self.mlp(self.norm(channels_last(self.conv(channels_first(x)))))
        return x + y if self.scale is None else torch.addcmul(x, self.scale, y)


class ResponseNorm(nn.Module):
    """Global response norm: x + weight * (x * the channel's share of the response) + bias, in one pass."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, 1, dim))
        self.bias = nn.Parameter(torch.zeros(1, 1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:  # B H W C
        response = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        share = response / (response.mean(-1, keepdim=True) + 1e-6)
        return torch.addcmul(self.bias, x, 1 + self.weight * share)


LAYER = "encoder.stages.*.layers.*"
DINOV3_LAYER = "stages.*.layers.*"

NAMES: Names = {
    "embed.conv": "embeddings.patch_embeddings",
    "embed.norm": "embeddings.layernorm",
    "downs.*.norm": "encoder.stages.*.downsampling_layer.0",
    "downs.*.conv": "encoder.stages.*.downsampling_layer.1",
    "layers.*.*.conv": f"{LAYER}.dwconv",
    "layers.*.*.norm": f"{LAYER}.layernorm",
    "layers.*.*.mlp.fc1": f"{LAYER}.pwconv1",
    "layers.*.*.mlp.act.1": f"{LAYER}.grn",
    "layers.*.*.mlp.fc2": f"{LAYER}.pwconv2",
    "layers.*.*.scale": [f"{LAYER}.layer_scale_parameter", f"{LAYER}.gamma"],
    "norms.*": "hidden_states_norms.*",
}

DINOV3_NAMES: Names = {
    "downs.0.conv": "stages.0.downsample_layers.0",
    "downs.0.norm": "stages.0.downsample_layers.1",
    "downs.*.norm": "stages.*.downsample_layers.0",
    "downs.*.conv": "stages.*.downsample_layers.1",
    "layers.*.*.conv": f"{DINOV3_LAYER}.depthwise_conv",
    "layers.*.*.norm": f"{DINOV3_LAYER}.layer_norm",
    "layers.*.*.mlp.fc1": f"{DINOV3_LAYER}.pointwise_conv1",
    "layers.*.*.mlp.fc2": f"{DINOV3_LAYER}.pointwise_conv2",
    "layers.*.*.scale": f"{DINOV3_LAYER}.gamma",
}
