"""BiT, Big Transfer (Kolesnikov et al. 2019, arXiv 1912.11370): a ResNet v2 whose weights are standardized.

Each filter is standardized to mean 0 and variance 1 before use, which together with GroupNorm replaces BatchNorm. In
"preactivation" layers norms come before convolutions; in "bottleneck" layers, after.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.bit import BitConfig, bottleneck_width
from .base import Backbone, Names
from .layers import activation


class BitBackbone(Backbone):
    config: BitConfig
    has_attentions = False

    def __init__(self, config: BitConfig) -> None:
        super().__init__(config)
        self.stem = Stem(config)
        self.layers = nn.ModuleList(layer(config, i) for i in range(self.last))

    def states(self, pixels: Tensor) -> Iterator[Tensor]:  # B C H W throughout
        x = self.stem(pixels)
        yield x
        for blocks in self.layers:
            x = blocks(x)
            yield x

    def names(self) -> Names:
        return NAMES


class Stem(nn.Module):
    """A 7x7 convolution and a pooling, of stride 2 each."""

    def __init__(self, config: BitConfig) -> None:
        super().__init__()
        self.conv = StandardizedConv(config, config.num_channels, config.embedding_size, 7, 2)
        self.pads_same, self.pools_same = config.pads_same, config.embedding_dynamic_padding
        if config.layer_type == "bottleneck":
            self.norm = nn.GroupNorm(config.num_groups, config.embedding_size)
            self.act = activation(config.hidden_act)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv(pixels)
        if not self.pads_same:
            x = F.pad(x, (1, 1, 1, 1))
        if hasattr(self, "norm"):
            x = self.act(self.norm(x))
        return F.max_pool2d(pad_same(x, 3, 2) if self.pools_same else x, 3, 2)


def layer(config: BitConfig, i: int) -> nn.Sequential:
    """The layers of one stage; the first changes the width and the size."""
    dim = config.num_features[i]
    out = config.widths[i]
    stride, dilation = config.steps[i]
    kind = Preactivation if config.layer_type == "preactivation" else Bottleneck
    first = kind(config, dim, out, stride, dilation=1 if dilation <= 2 else 2, first=True)
    return nn.Sequential(first, *(kind(config, out, out, 1, dilation) for _ in range(config.depths[i] - 1)))


class Preactivation(nn.Module):
    """x + three rounds of norm, activation and convolution; these layers ignore dilation."""

    def __init__(self, config: BitConfig, dim: int, out: int, stride: int, dilation: int, first: bool = False) -> None:
        super().__init__()
        inner = bottleneck_width(out)
        self.downsample = Downsample(config, dim, out, stride) if first else None
        self.norm1 = nn.GroupNorm(config.num_groups, dim)
        self.conv1 = StandardizedConv(config, dim, inner, 1)
        self.norm2 = nn.GroupNorm(config.num_groups, inner)
        self.conv2 = StandardizedConv(config, inner, inner, 3, stride)
        self.norm3 = nn.GroupNorm(config.num_groups, inner)
        self.conv3 = StandardizedConv(config, inner, out, 1)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(x))
        shortcut = self.downsample(y) if self.downsample is not None else x
        y = self.conv2(self.act(self.norm2(self.conv1(y))))
        return self.conv3(self.act(self.norm3(y))) + shortcut


class Bottleneck(nn.Module):
    """The same with the norms after the convolutions, and an activation at the end."""

    def __init__(self, config: BitConfig, dim: int, out: int, stride: int, dilation: int, first: bool = False) -> None:
        super().__init__()
        inner = bottleneck_width(out)
        self.downsample = Downsample(config, dim, out, stride) if first else None
        self.conv1 = StandardizedConv(config, dim, inner, 1)
        self.norm1 = nn.GroupNorm(config.num_groups, inner)
        self.conv2 = StandardizedConv(config, inner, inner, 3, stride, dilation)
        self.norm2 = nn.GroupNorm(config.num_groups, inner)
        self.conv3 = StandardizedConv(config, inner, out, 1)
        self.norm3 = nn.GroupNorm(config.num_groups, out)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x) if self.downsample is not None else x
        y = self.act(self.norm1(self.conv1(x)))
        y = self.act(self.norm2(self.conv2(y)))
        return self.act(self.norm3(self.conv3(y)) + shortcut)


class Downsample(nn.Sequential):
    """The shortcut of a stage's first layer."""

    def __init__(self, config: BitConfig, dim: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv = StandardizedConv(config, dim, out, 1, stride)
        if config.layer_type == "bottleneck":
            self.norm = nn.GroupNorm(config.num_groups, out)


class StandardizedConv(nn.Conv2d):
    """A same-size (up to its stride) convolution with each filter standardized to mean 0 and variance 1."""

    size_cached_methods = ("filters",)

    def __init__(self, config: BitConfig, dim: int, out: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        # Without a stride both kinds of padding are symmetric, which the convolution does itself.
        pads_same = config.pads_same and stride > 1
        padding = 0 if pads_same else (stride - 1 + dilation * (kernel - 1)) // 2
        super().__init__(dim, out, kernel, stride, padding, dilation, bias=False)
        self.pads_same = pads_same

    def forward(self, x: Tensor) -> Tensor:
        if self.pads_same:
            x = pad_same(x, self.kernel_size[0], self.stride[0])
        return F.conv2d(x, self.filters(), None, self.stride, self.padding, self.dilation)

    def filters(self) -> Tensor:
        flat = self.weight.flatten(1)[None]  # 1 out N
        return F.batch_norm(flat, None, None, training=True, eps=1e-8).view_as(self.weight)


def pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad B C H W with zeros like TensorFlow's "SAME": one output for each stride begun."""
    border = []
    for size in (x.shape[3], x.shape[2]):
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        border += [missing // 2, missing - missing // 2]
    return F.pad(x, border) if any(border) else x


NAMES: Names = {
    "stem.conv": "embedder.convolution",
    "stem.norm": "embedder.norm",
    "layers.*.*": "encoder.stages.*.layers.*",
}
