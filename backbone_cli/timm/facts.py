"""What is known about one timm architecture: its stages, input sizes, weights and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ModelNotFound, UsageError

DEFAULT_DATA_CONFIG: Mapping[str, Any] = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
"""timm's data config where a model doesn't override it; the catalog file stores values in this order."""


@dataclass(frozen=True)
class TimmStage:
    """One stage. For an image side of n pixels its map has floor((n + shift) / step) rows, or `shift` if step is 0."""

    name: str
    channels: int
    stride: int
    step: int
    shift: int

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of the stage's map."""
        if not self.step:
            return self.shift, self.shift
        return (height + self.shift) // self.step, (width + self.shift) // self.step


@dataclass(frozen=True)
class PretrainedTag:
    """One set of weights: its data config, and the Hub repository or URL that holds it, if there is one."""

    data: Mapping[str, Any]
    source: str | None


@dataclass(frozen=True)
class Architecture:
    """One timm architecture."""

    name: str
    stages: tuple[TimmStage, ...]
    build_args: Mapping[str, Any]
    """Arguments for `timm.create_model` that let the network take image sizes other than its own."""
    multiple: int
    """Image sides must be multiples of this; 0 if the network takes only the size it was built for."""
    rebuild_multiple: int
    """The network can be built for sides that are multiples of this; 0 if it can't, or doesn't need to be."""
    tags: Mapping[str, PretrainedTag]
    """Its weights, the default ones first; a single unnamed tag if there are none."""

    def tag(self, name: str) -> PretrainedTag:
        """The weights of `resnet50.a1_in1k`, or the default ones of `resnet50`."""
        _, dot, tag = name.partition(".")
        if not dot:
            return next(iter(self.tags.values()))
        if tag not in self.tags:
            available = ", ".join(filter(None, self.tags)) or "none"
            raise ModelNotFound(f"timm has no weights '{tag}' for {self.name}; available: {available}.")
        return self.tags[tag]

    def data_config(self, name: str, pretrained_cfg: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """How images are preprocessed: from a timm config.json if given, else what timm knows for these weights."""
        if pretrained_cfg is None:
            return self.tag(name).data
        return {key: pretrained_cfg.get(key) or default for key, default in DEFAULT_DATA_CONFIG.items()}

    def check_size(self, size: tuple[int, int], own: tuple[int, int]) -> None:
        """Raise UsageError if the network can neither take images of this size nor be built for them."""
        step = self.multiple or self.rebuild_multiple
        if tuple(size) == tuple(own) or (step and size[0] % step == size[1] % step == 0):
            return
        others = f" and multiples of {step}" if step else ""
        raise UsageError(f"{self.name} takes images of {own[0]}x{own[1]} pixels{others}, not {size[0]}x{size[1]}.")
