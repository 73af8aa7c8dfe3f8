"""A family of your own: a stem, then stages that each halve the map and double the width."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from backbone_cli import Backbone, BackboneConfig, register


@dataclass(kw_only=True)
class PlainNetConfig(BackboneConfig):
    model_type: ClassVar[str] = "plainnet"
    width: int = 16
    depth: int = 3

    @property
    def num_features(self) -> list[int]:  # channels of every stage, the stem first
        return [self.width * 2**i for i in range(self.depth + 1)]

    @property
    def strides(self) -> list[int]:  # image pixels per cell of the map, for every stage
        return [4 * 2**i for i in range(self.depth + 1)]


class PlainNetBackbone(Backbone):
    def __init__(self, config: PlainNetConfig) -> None:
        super().__init__(config)
        widths = config.num_features[: self.last + 1]  # nothing past the last requested stage is built
        self.stem = nn.Conv2d(3, config.width, 4, 4)
        self.layers = nn.ModuleList(nn.Conv2d(dim, 2 * dim, 3, 2, 1) for dim in widths[:-1])

    def states(self, pixels: Tensor) -> Iterator[Tensor]:  # yields each stage's map in turn
        yield (x := self.stem(pixels))
        for layer in self.layers:
            yield (x := layer(x.relu()))

    def names(self) -> dict[str, str]:  # names in this module on the left, in weight files on the right
        return {"stem": "embeddings.projection", "layers.*": "encoder.stages.*.conv"}


register("plainnet", PlainNetConfig, PlainNetBackbone, prefixes=("", "plainnet."))
