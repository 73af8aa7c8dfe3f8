"""Any model of timm as a backbone: its name, and what transformers' configuration of the same class says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import UsageError
from .base import BackboneConfig, Size, pair
from .timm_zoo import SIZE_KEYWORDS, Facts, TimmStage, current, find


@dataclass(kw_only=True)
class TimmBackboneConfig(BackboneConfig):
    model_type: ClassVar[str] = "timm_backbone"
    aliases: ClassVar = {"image_size": "img_size", "in_chans": "num_channels"}
    only: ClassVar = {"features_only": (True,)}
    maps_are: ClassVar[str] = "what timm's feature extraction gives: the output of the part of the network so named"

    backbone: str = field(default="", kw_only=False)
    """A name of timm's (`resnet50`, `resnet50.a1_in1k`)."""
    num_channels: int = 3
    features_only: bool = True
    use_pretrained_backbone: bool = False
    freeze_batch_norm_2d: bool = False
    output_stride: int | None = None
    img_size: Size | None = None
    """The image size to build for, where a model is built for one; by default its own."""
    pretrained_cfg: dict[str, Any] | None = None
    """What the weights were trained with, as a config.json of timm's says it; by default as timm knows it."""
    model_args: dict[str, Any] | None = None
    """More of what timm's model is to be told."""

    def check(self) -> None:
        if not self.backbone:
            raise ValueError("backbone is the name of a timm model, and there is none.")
        self.backbone = current(self.backbone.removeprefix("hf-hub:").removeprefix("timm/"))
        if (told := dict(self.model_args or {})) and "output_stride" in told:
            self.output_stride, self.model_args = told.pop("output_stride"), told or None
        if self.output_stride is not None and self.output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is 8, 16 or 32, not {self.output_stride}.")
        if self.img_size is not None:
            self.facts.check_size(pair(self.img_size), self.data["input_size"][-2:])

    @classmethod
    def from_dict(cls, said: Mapping[str, Any], **overrides: Any) -> TimmBackboneConfig:
        """From what a `config.json` says; what it has for timm's networks themselves goes to `model_args`."""
        if told := {key: said[key] for key in SIZE_KEYWORDS if key in said}:
            said = {**said, "model_args": {**(said.get("model_args") or {}), **told}}
        return super().from_dict(said, **overrides)

    @property
    def facts(self) -> Facts:
        return find(self.backbone, self.model_args)

    @property
    def data(self) -> Mapping[str, Any]:
        """timm's data config: how the images are prepared that the weights were trained with."""
        return self.facts.data(self.backbone, self.pretrained_cfg)

    @property
    def stage_names(self) -> list[str]:  # type: ignore[override]
        return [stage.name for stage in self.facts.stages]

    @property
    def num_features(self) -> list[int]:
        return [stage.channels for stage in self.facts.stages]

    @property
    def strides(self) -> list[int]:
        return [min(stage.stride, self.output_stride or stage.stride) for stage in self.facts.stages]

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        self.facts.check_size((height, width), self.default_size())
        # With an output stride, stages that would make the map smaller leave it as it is.
        kept = (max((s for s in self.facts.stages if s.stride <= stride), key=stride_of) for stride in self.strides)
        return [stage.grid(height, width) for stage in kept]

    def default_size(self) -> tuple[int, int]:
        return pair(self.img_size or self.data["input_size"][-2:])

    def expect(self, height: int, width: int) -> None:
        if self.facts.rebuilt:
            self.img_size = [height, width]
            self.check()

    def check_size(self, height: int, width: int) -> None:
        """Raise UsageError where a network of this config can't take images of this size."""
        size, own = (height, width), self.default_size()
        self.facts.check_size(size, own)
        if size != own and self.facts.rebuilt:
            raise UsageError(
                f"'{self.backbone}' was built for {own[0]}x{own[1]} pixels; for {height}x{width} it has to be"
                f" built with img_size=({height}, {width})."
            )


def stride_of(stage: TimmStage) -> int:
    return stage.stride
