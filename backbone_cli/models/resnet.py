"""ResNet (He et al. 2015, arXiv 1512.03385), with the stride in the 3x3 convolution ("v1.5") by default.

The stem reduces the image by 4; each stage is a chain of residual layers, the first of which may halve the map.
RT-DETR's variant ("ResNet-D", He et al. 2018, arXiv 1812.01187) has a deeper stem and average-pools in shortcuts.
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
        self.stem = nn.Sequential(*stem(config), nn.MaxPool2d(3, 2, 1))
        self.layers = nn.ModuleList(layer(config, i) for i in range(self.last))

    def states(self, pixels: Tensor) -> Iterator[Tensor]:  # B C H W throughout
        x = self.stem(pixels)
        yield x
        for blocks in self.layers:
            x = blocks(x)
            yield x

    def names(self) -> Names:
        return {**STEM, **NAMES}


class RTDetrResNetBackbone(ResNetBackbone):
    """ResNet with RT-DETR's stem and shortcuts."""

    def names(self) -> Names:
        return {**DEEP_STEM, **NAMES}


class ConvNorm(nn.Sequential):
    """A same-size (up to its stride) convolution, BatchNorm, and an optional activation."""

    def __init__(self, dim: int, out: int, kernel: int, stride: int = 1, act: str | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)
        if act:
            self.act = activation(act)


def stem(config: ResNetConfig) -> list[ConvNorm]:
    """The convolutions that halve the image; a pooling then halves it again."""
    dim, out, act = config.num_channels, config.embedding_size, config.hidden_act
    if config.deep:
        half = out // 2
        return [ConvNorm(dim, half, 3, 2, act), ConvNorm(half, half, 3, 1, act), ConvNorm(half, out, 3, 1, act)]
    return [ConvNorm(dim, out, 7, 2, act)]


def layer(config: ResNetConfig, i: int) -> nn.Sequential:
    """The residual layers of one stage."""
    dim = config.hidden_sizes[i - 1] if i else config.embedding_size
    out = config.hidden_sizes[i]
    stride = 2 if i or config.downsample_in_first_stage else 1
    first = Residual(config, dim, out, stride, shortcut(config, dim, out, stride))
    return nn.Sequential(first, *(Residual(config, out, out, 1, nn.Identity()) for _ in range(config.depths[i] - 1)))


def shortcut(config: ResNetConfig, dim: int, out: int, stride: int) -> nn.Module:
    """What brings a layer's input to the shape of its output."""
    basic = config.layer_type == "basic"
    if config.deep and (dim != out if basic else stride == 2):
        return nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), ConvNorm(dim, out, 1))
    # The deep variant's basic layers project even if the shape is right.
    if dim != out or stride != 1 or (config.deep and basic):
        return ConvNorm(dim, out, 1, stride)
    return nn.Identity()


class Residual(nn.Module):
    """shortcut(x) + body(x), then an activation."""

    def __init__(self, config: ResNetConfig, dim: int, out: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        # Inner activations are always ReLU; `hidden_act` is for the stem and after the sum.
        if config.layer_type == "basic":
            self.body = nn.Sequential(ConvNorm(dim, out, 3, stride, "relu"), ConvNorm(out, out, 3))
        else:
            inner = out // 4
            early, late = (stride, 1) if config.downsample_in_bottleneck else (1, stride)
            self.body = nn.Sequential(
                ConvNorm(dim, inner, 1, early, "relu"),
                ConvNorm(inner, inner, 3, late, "relu"),
                ConvNorm(inner, out, 1),
            )
        self.shortcut = shortcut
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.shortcut(x))


LAYER = "encoder.stages.*.layers.*"

STEM: Names = {
    "stem.0.conv": "embedder.embedder.convolution",
    "stem.0.norm": "embedder.embedder.normalization",
}

DEEP_STEM: Names = {
    "stem.*.conv": "embedder.embedder.*.convolution",
    "stem.*.norm": "embedder.embedder.*.normalization",
}

NAMES: Names = {
    "layers.*.*.body.*.conv": f"{LAYER}.layer.*.convolution",
    "layers.*.*.body.*.norm": f"{LAYER}.layer.*.normalization",
    "layers.*.*.shortcut.conv": f"{LAYER}.shortcut.convolution",
    "layers.*.*.shortcut.norm": f"{LAYER}.shortcut.normalization",
    "layers.*.*.shortcut.1.conv": f"{LAYER}.shortcut.1.convolution",
    "layers.*.*.shortcut.1.norm": f"{LAYER}.shortcut.1.normalization",
}
