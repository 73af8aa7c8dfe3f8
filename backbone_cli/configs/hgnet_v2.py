"""HGNet-V2: stages of blocks that concatenate the outputs of all their convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import BackboneConfig, check_same_length
from .fields import IntOrPair, bounded, pair

PER_STAGE = (
    "in_channels",
    "mid_channels",
    "out_channels",
    "num_blocks",
    "downsample",
    "downsample_strides",
    "light_block",
    "kernel_size",
    "numb_of_layers",
)


@dataclass(kw_only=True)
class HGNetV2Config(BackboneConfig):
    """HGNet-V2's settings; most are lists with one value per stage."""

    model_type: ClassVar[str] = "hgnet_v2"
    map_description: ClassVar[str] = "each stage's output, before the next stage's downsampling"

    num_channels: int = bounded(3)
    hidden_act: str = "relu"
    stem_channels: Sequence[int] = bounded((3, 32, 48))
    stem_strides: Sequence[IntOrPair] = bounded((2, 1, 1, 2, 1))
    stage_in_channels: Sequence[int] = bounded((48, 128, 512, 1024))
    stage_mid_channels: Sequence[int] = bounded((48, 96, 192, 384))
    stage_out_channels: Sequence[int] = bounded((128, 512, 1024, 2048))
    stage_num_blocks: Sequence[int] = bounded((1, 1, 3, 1), least=0)
    stage_downsample: Sequence[bool] = (False, True, True, True)
    stage_downsample_strides: Sequence[IntOrPair] = bounded((2, 2, 2, 2))
    stage_light_block: Sequence[bool] = (False, False, True, True)
    stage_kernel_size: Sequence[int] = bounded((3, 3, 5, 5))
    stage_numb_of_layers: Sequence[int] = bounded((6, 6, 6, 6), least=0)
    use_learnable_affine_block: bool = False

    def check(self) -> None:
        check_same_length(**{name: getattr(self, f"stage_{name}") for name in PER_STAGE})
        if list(map(pair, self.stem_strides[1:3])) != [(1, 1), (1, 1)]:
            raise ValueError(
                "the second and third of stem_strides must be 1, or the stem's two branches differ in size."
            )
        if [self.stem_channels[2], *self.stage_out_channels[:-1]] != list(self.stage_in_channels):
            raise ValueError("stage_in_channels must match the outputs of the stem and the preceding stages.")

    @property
    def num_features(self) -> list[int]:
        return [self.stem_channels[2], *self.stage_out_channels]

    @property
    def strides_by_axis(self) -> list[tuple[int, int]]:
        """Image pixels per cell, vertically and horizontally, for every stage."""
        steps = zip(self.stage_downsample, self.stage_downsample_strides, strict=True)
        factors = [*self.stem_strides, *(stride if down else 1 for down, stride in steps)]
        strides = [(1, 1)]
        for rows, cols in map(pair, factors):
            strides.append((strides[-1][0] * rows, strides[-1][1] * cols))
        return strides[len(self.stem_strides) :]

    @property
    def strides(self) -> list[int]:
        return [rows for rows, _ in self.strides_by_axis]

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        return [(-(-height // rows), -(-width // cols)) for rows, cols in self.strides_by_axis]
