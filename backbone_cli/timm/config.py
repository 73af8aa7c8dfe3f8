"""Any timm model as a backbone: its name, and the settings that transformers' `TimmBackboneConfig` has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..configs.base import BackboneConfig
from ..configs.fields import IntOrPair, bounded, pair
from ..errors import UsageError
from .catalog import SIZE_KEYWORDS, current_name, find_architecture
from .facts import Architecture, TimmStage


@dataclass(kw_only=True)
class TimmBackboneConfig(BackboneConfig):
    model_type: ClassVar[str] = "timm_backbone"
    aliases: ClassVar = {"image_size": "img_size", "in_chans": "num_channels"}
    supported: ClassVar = {"features_only": (True,)}
    map_description: ClassVar[str] = (
        "the output of the named part of the network, as timm's feature extraction gives it"
    )

    backbone: str = field(default="", kw_only=False)
    """A timm name (`resnet50`, `resnet50.a1_in1k`)."""
    num_channels: int = bounded(3)
    features_only: bool = True
    use_pretrained_backbone: bool = False
    freeze_batch_norm_2d: bool = False
    output_stride: int | None = bounded(None)
    img_size: IntOrPair | None = bounded(None)
    """The image size to build the network for, if it is built for one; its own by default."""
    pretrained_cfg: dict[str, Any] | None = None
    """How the weights were trained, as in a timm config.json; timm's own knowledge by default."""
    model_args: dict[str, Any] | None = None
    """Further arguments for `timm.create_model`."""

    def check(self) -> None:
        if not self.backbone:
            raise ValueError("backbone is empty; give the name of a timm model.")
        self.backbone = current_name(self.backbone.removeprefix("hf-hub:").removeprefix("timm/"))
        if (model_args := dict(self.model_args or {})) and "output_stride" in model_args:
            self.output_stride, self.model_args = model_args.pop("output_stride"), model_args or None
        if self.output_stride is not None and self.output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, not {self.output_stride}.")
        if self.img_size is not None:
            self.architecture.check_size(pair(self.img_size), self.data_config["input_size"][-2:])

    @classmethod
    def from_dict(cls, raw_config: Mapping[str, Any], **overrides: Any) -> TimmBackboneConfig:
        """From a `config.json`; its arguments for timm's networks are collected in `model_args`."""
        if size_args := {key: raw_config[key] for key in SIZE_KEYWORDS if key in raw_config}:
            raw_config = {**raw_config, "model_args": {**(raw_config.get("model_args") or {}), **size_args}}
        return super().from_dict(raw_config, **overrides)

    @property
    def architecture(self) -> Architecture:
        return find_architecture(self.backbone, self.model_args)

    @property
    def data_config(self) -> Mapping[str, Any]:
        """timm's data config: how images were preprocessed when the weights were trained."""
        return self.architecture.data_config(self.backbone, self.pretrained_cfg)

    @property
    def stage_names(self) -> list[str]:  # type: ignore[override]
        return [stage.name for stage in self.architecture.stages]

    @property
    def num_features(self) -> list[int]:
        return [stage.channels for stage in self.architecture.stages]

    @property
    def strides(self) -> list[int]:
        return [min(stage.stride, self.output_stride or stage.stride) for stage in self.architecture.stages]

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        self.architecture.check_size((height, width), self.default_size())
        # With an output stride, stages that would shrink the map further keep its size.
        stages = self.architecture.stages
        effective = (max((s for s in stages if s.stride <= stride), key=stride_of) for stride in self.strides)
        return [stage.grid(height, width) for stage in effective]

    def default_size(self) -> tuple[int, int]:
        return pair(self.img_size or self.data_config["input_size"][-2:])

    def set_image_size(self, height: int, width: int) -> None:
        if self.architecture.rebuild_multiple:
            self.img_size = [height, width]
            self.check()

    def check_size(self, height: int, width: int) -> None:
        """Raise UsageError if a network of this config can't take images of this size."""
        size, own = (height, width), self.default_size()
        self.architecture.check_size(size, own)
        if size != own and self.architecture.rebuild_multiple:
            raise UsageError(
                f"'{self.backbone}' was built for {own[0]}x{own[1]} pixels; for {height}x{width},"
                f" build it with img_size=({height}, {width})."
            )


def stride_of(stage: TimmStage) -> int:
    return stage.stride
