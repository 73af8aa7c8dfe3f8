"""HGNet-V2, the backbone of D-FINE and of PaddlePaddle's detectors (Zhao et al. 2023, arXiv 2304.08069).

A block is a chain of convolutions; its input and all their outputs are concatenated and merged by two 1x1 convolutions.
In light blocks, each convolution is a 1x1 followed by a depthwise one.

Shapes: B images, C channels, H x W cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.fields import IntOrPair, pair
from ..configs.hgnet_v2 import HGNetV2Config
from .base import Backbone, Names
from .layers import activation


class HGNetV2Backbone(Backbone):
    config: HGNetV2Config
    has_attentions = False

    def __init__(self, config: HGNetV2Config) -> None:
        super().__init__(config)
        self.stem = Stem(config)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(self.last))

    def states(self, pixels: Tensor) -> Iterator[Tensor]:  # B C H W throughout
        x = self.stem(pixels)
        yield x
        for blocks in self.layers:
            x = blocks(x)
            yield x

    def names(self) -> Names:
        return NAMES


class Stem(nn.Module):
    """A convolution, two parallel branches (a pooling and two convolutions), and two more convolutions."""

    def __init__(self, config: HGNetV2Config) -> None:
        super().__init__()
        given, dim, out = config.stem_channels
        act, affine, strides = config.hidden_act, config.use_learnable_affine_block, config.stem_strides
        self.conv1 = ConvNorm(given, dim, 3, act, affine, strides[0])
        self.conv2a = ConvNorm(dim, dim // 2, 2, act, affine, strides[1])
        self.conv2b = ConvNorm(dim // 2, dim, 2, act, affine, strides[2])
        self.conv3 = ConvNorm(2 * dim, dim, 3, act, affine, strides[3])
        self.conv4 = ConvNorm(dim, out, 1, act, affine, strides[4])

    def forward(self, pixels: Tensor) -> Tensor:
        x = pad_one(self.conv1(pixels))
        branch = self.conv2b(pad_one(self.conv2a(x)))
        return self.conv4(self.conv3(torch.cat([F.max_pool2d(x, 2, 1), branch], 1)))


class Layer(nn.Module):
    """The blocks of one stage, with an optional downsampling before them."""

    def __init__(self, config: HGNetV2Config, i: int) -> None:
        super().__init__()
        dim, out = config.stage_in_channels[i], config.stage_out_channels[i]
        self.down: nn.Module = nn.Identity()
        if config.stage_downsample[i]:
            self.down = ConvNorm(dim, dim, 3, None, stride=config.stage_downsample_strides[i], groups=dim)
        self.blocks = nn.Sequential(
            *(Block(config, i, out if j else dim, residual=j > 0) for j in range(config.stage_num_blocks[i]))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.down(x))


class Block(nn.Module):
    def __init__(self, config: HGNetV2Config, i: int, dim: int, residual: bool) -> None:
        super().__init__()
        mid, out, count = config.stage_mid_channels[i], config.stage_out_channels[i], config.stage_numb_of_layers[i]
        kernel, affine = config.stage_kernel_size[i], config.use_learnable_affine_block
        conv = light_conv if config.stage_light_block[i] else ConvNorm
        self.residual = residual
        self.convs = nn.ModuleList(conv(mid if j else dim, mid, kernel, "relu", affine) for j in range(count))
        self.squeeze = ConvNorm(dim + count * mid, out // 2, 1, "relu", affine)
        self.excite = ConvNorm(out // 2, out, 1, "relu", affine)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for conv in self.convs:
            outputs.append(conv(outputs[-1]))
        y = self.excite(self.squeeze(torch.cat(outputs, 1)))
        return x + y if self.residual else y


class ConvNorm(nn.Sequential):
    """A convolution, BatchNorm, an optional activation, and an optional learned factor and offset."""

    def __init__(
        self,
        dim: int,
        out: int,
        kernel: int,
        act: str | None,
        affine: bool = False,
        stride: IntOrPair = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out, kernel, pair(stride), (kernel - 1) // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out)
        if act:
            self.act = activation(act)
        if act and affine:
            self.affine = Affine()


class Affine(nn.Module):
    """One learned factor and offset for a whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.bias


def light_conv(dim: int, out: int, kernel: int, act: str, affine: bool) -> nn.Sequential:
    """A 1x1 convolution, then a depthwise one."""
    return nn.Sequential(ConvNorm(dim, out, 1, None), ConvNorm(out, out, kernel, act, affine, groups=out))


def pad_one(x: Tensor) -> Tensor:
    """One row and column of zeros at the bottom and right, so that 2x2 windows keep the size."""
    return F.pad(x, (0, 1, 0, 1))


CONV = {"conv": "convolution", "norm": "normalization", "affine": "lab"}
BLOCK = "encoder.stages.*.blocks.*"
PLACES = {
    "stem.conv1": "embedder.stem1",
    "stem.conv2a": "embedder.stem2a",
    "stem.conv2b": "embedder.stem2b",
    "stem.conv3": "embedder.stem3",
    "stem.conv4": "embedder.stem4",
    "layers.*.down": "encoder.stages.*.downsample",
    "layers.*.blocks.*.convs.*": f"{BLOCK}.layers.*",
    "layers.*.blocks.*.convs.*.0": f"{BLOCK}.layers.*.conv1",
    "layers.*.blocks.*.convs.*.1": f"{BLOCK}.layers.*.conv2",
    "layers.*.blocks.*.squeeze": f"{BLOCK}.aggregation.0",
    "layers.*.blocks.*.excite": f"{BLOCK}.aggregation.1",
}

NAMES: Names = {
    f"{module}.{part}": f"{source}.{name}" for module, source in PLACES.items() for part, name in CONV.items()
}
