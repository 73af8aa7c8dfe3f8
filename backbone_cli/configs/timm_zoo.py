"""What timm's models are, without timm: names, stages, sizes, weights and pixels of its whole zoo, from a data file.

`tools/make_timm_zoo.py` makes the file from timm itself; for a model that is not in it, timm is asked.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound, UsageError, near_miss

FILE = Path(__file__).with_name("timm_zoo.json")

USUAL: Mapping[str, Any] = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
"""timm's data config where nothing else is said; the data file has the values in this order."""


SIZE_KEYWORDS = ("dynamic_img_size", "dynamic_img_pad", "strict_img_size", "always_partition")
SHAPELESS = {"num_classes", "global_pool", "in_chans", "img_size", "output_stride", *SIZE_KEYWORDS}
"""What timm can be told of a model that changes neither its stages nor how their maps follow from the image."""


@dataclass(frozen=True)
class TimmStage:
    """One stage; its map has floor((n + shift) / step) rows for an image of n, or `shift` rows where step is 0."""

    name: str
    channels: int
    stride: int
    step: int
    shift: int

    def grid(self, height: int, width: int) -> tuple[int, int]:
        if not self.step:
            return self.shift, self.shift
        return (height + self.shift) // self.step, (width + self.shift) // self.step


@dataclass(frozen=True)
class Tag:
    """One set of weights: how images are prepared for it, and the hub repository or address of it, if there is one."""

    data: Mapping[str, Any]
    source: str | None


@dataclass(frozen=True)
class Facts:
    """One architecture."""

    name: str
    stages: tuple[TimmStage, ...]
    build: Mapping[str, Any]
    """What timm is to be told so that the network takes images of other sizes than its own."""
    multiple: int
    """It takes images whose sides are multiples of this; 0 where it takes only the size it is built for."""
    rebuilt: int
    """It can be built for sizes that are multiples of this; 0 where it can't, or need not."""
    tags: Mapping[str, Tag]
    """Its weights, the usual ones first; one without a name where there are none."""

    def tag(self, name: str) -> Tag:
        """The weights of `resnet50.a1_in1k`, or the usual ones of `resnet50`."""
        _, dot, tag = name.partition(".")
        if not dot:
            return next(iter(self.tags.values()))
        if tag not in self.tags:
            listed = ", ".join(filter(None, self.tags)) or "none"
            raise ModelNotFound(f"timm has no weights '{tag}' for {self.name}; it has {listed}.")
        return self.tags[tag]

    def data(self, name: str, pretrained_cfg: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """How images are prepared: as a config.json of timm's says, or as timm knows of the weights of this name."""
        if pretrained_cfg is None:
            return self.tag(name).data
        return {key: pretrained_cfg.get(key) or default for key, default in USUAL.items()}

    def check_size(self, size: tuple[int, int], own: tuple[int, int]) -> None:
        """Raise UsageError where the network can neither take images of this size nor be built for them."""
        step = self.multiple or self.rebuilt
        if tuple(size) == tuple(own) or (step and size[0] % step == size[1] % step == 0):
            return
        others = f" and at multiples of {step}" if step else ""
        raise UsageError(f"{self.name} works at {own[0]}x{own[1]} pixels{others}, not at {size[0]}x{size[1]}.")


def find(name: str, model_args: Mapping[str, Any] | None = None) -> Facts:
    """The facts of a model of timm (`resnet50`, `resnet50.a1_in1k`), built as it usually is or as told."""
    architecture = current(name).partition(".")[0]
    told = model_args or {}
    if shape := {key: value for key, value in told.items() if key not in SHAPELESS}:
        # Some of them, such as having no class token, are possible with that alone.
        return ask(architecture, json.dumps(shape | {key: told[key] for key in ("global_pool",) if key in told}))
    return read(architecture) if architecture in zoo()["models"] else ask(architecture)


def current(name: str) -> str:
    """The name that timm has now for a model that it once called so."""
    return zoo()["renamed"].get(name, name)


@cache
def zoo() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


@cache
def read(architecture: str) -> Facts:
    """From the row that the data file has for an architecture."""
    file = zoo()
    stages, build, multiple, rebuilt, tags = file["models"][architecture]
    return Facts(
        architecture,
        tuple(stage for run in file["stages"][stages] for stage in unrolled(*run)),
        file["build"][build],
        multiple,
        rebuilt,
        {tag: read_tag(architecture, tag, said) for tag, said in tags.items()},
    )


def read_tag(architecture: str, tag: str, said: Any) -> Tag:
    """A tag's row: the number of its data config, and its repository where that is not called as usual."""
    number, *repo = said if isinstance(said, list) else [said]
    data = dict(zip(USUAL, zoo()["pixels"][number], strict=True))
    return Tag(data, repo[0] if repo else f"timm/{architecture}.{tag}")


def unrolled(name: str, channels: int, stride: int, step: int, shift: int, count: int = 1) -> list[TimmStage]:
    """A run of stages that differ in the number that ends their names."""
    if count == 1:
        return [TimmStage(name, channels, stride, step, shift)]
    stem, _, first = name.rpartition(".")
    return [TimmStage(f"{stem}.{i}", channels, stride, step, shift) for i in range(int(first), int(first) + count)]


@cache
def ask(architecture: str, shape: str = "{}") -> Facts:
    """The facts of a model that is not in the data file, or is built in a way of its own, from the installed timm."""
    if importlib.util.find_spec("timm") is None:
        raise unknown(architecture)
    from ..models.timm_facts import facts, is_known

    if not is_known(architecture):
        raise unknown(architecture)
    similar = [read(architecture)] if architecture in zoo()["models"] else []
    return facts(architecture, similar, **json.loads(shape))


def unknown(name: str) -> ModelNotFound:
    return ModelNotFound(
        f"There is no folder and no timm model '{name}'.{near_miss(name, zoo()['models'])}"
        " Names with a slash are the hub's; `backbone models --timm` lists timm's."
    )


def timm_names(pattern: str | None = None) -> list[Facts]:
    """The facts of all models that match a pattern, of names (`convnext*`) or of names with their weights."""
    found = map(read, sorted(zoo()["models"]))
    if pattern is None:
        return list(found)
    return [
        facts
        for facts in found
        if matches(facts.name, pattern) or any(matches(f"{facts.name}.{tag}", pattern) for tag in facts.tags if tag)
    ]


def matches(name: str, pattern: str) -> bool:
    """One without wildcards matches anywhere."""
    return fnmatchcase(name, pattern) if set(pattern) & set("*?[") else pattern in name
