"""ResNet (He et al. 2015, arXiv 1512.03385), with the stride in the 3x3 convolution ("v1.5") by default.

A stem quarters the image; each stage is a row of residual layers, of which the first may halve the map.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from ..configs.resnet import ResNetConfig
from .base import Backbone, Names
from .layers import activation


class ResNetBackbone(Backbone):
    config: ResNetConfig
    has_attentions = False

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        self.stem = nn.Sequential(
            ConvNorm(config.num_channels, config.embedding_size, 7, 2, config.hidden_act),
            nn.MaxPool2d(3, 2, 1),
        )
        self.layers = nn.ModuleList(layer(config, i) for i in range(self.last))

    def states(self, pixels: Tensor) -> Iterator[Tensor]:  # B C H W throughout
        x = self.stem(pixels)
        yield x
        for blocks in self.layers:
            x = blocks(x)
            yield x

    def names(self) -> Names:
        return NAMES


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size up to its stride, BatchNorm, and an activation where one is named."""

    def __init__(self, dim: int, out: int, kernel: int, stride: int = 1, act: str | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)
        if act:
            self.act = activation(act)


def layer(config: ResNetConfig, i: int) -> nn.Sequential:
    """The residual layers of one stage."""
    dim = config.hidden_sizes[i - 1] if i else config.embedding_size
    out = config.hidden_sizes[i]
    stride = 2 if i or config.downsample_in_first_stage else 1
    first = Residual(config, dim, out, stride)
    return nn.Sequential(first, *(Residual(config, out, out) for _ in range(config.depths[i] - 1)))


class Residual(nn.Module):
    """x + body(x), then an activation; where shapes change, x goes through a 1x1 convolution."""

    def __init__(self, config: ResNetConfig, dim: int, out: int, stride: int = 1) -> None:
        super().__init__()
        # The inner activations are ReLU in every checkpoint; `hidden_act` speaks of the stem and of the sums.
        if config.layer_type == "basic":
            self.body = nn.Sequential(ConvNorm(dim, out, 3, stride, "relu"), ConvNorm(out, out, 3))
        else:
            narrow = out // 4
            early, late = (stride, 1) if config.downsample_in_bottleneck else (1, stride)
            self.body = nn.Sequential(
                ConvNorm(dim, narrow, 1, early, "relu"),
                ConvNorm(narrow, narrow, 3, late, "relu"),
                ConvNorm(narrow, out, 1),
            )
        self.shortcut = ConvNorm(dim, out, 1, stride) if dim != out or stride != 1 else nn.Identity()
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.shortcut(x))


LAYER = "encoder.stages.*.layers.*"

NAMES: Names = {
    "stem.0.conv": "embedder.embedder.convolution",
    "stem.0.norm": "embedder.embedder.normalization",
    "layers.*.*.body.*.conv": f"{LAYER}.layer.*.convolution",
    "layers.*.*.body.*.norm": f"{LAYER}.layer.*.normalization",
    "layers.*.*.shortcut.conv": f"{LAYER}.shortcut.convolution",
    "layers.*.*.shortcut.norm": f"{LAYER}.shortcut.normalization",
}
