"""Names, stages, sizes, weights and preprocessing of every timm model, read from a data file without importing timm.

`tools/make_timm_catalog.py` generates the file from timm itself. A model that is not in the file is looked up in the
installed timm.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound, did_you_mean
from .facts import DEFAULT_DATA_CONFIG, Architecture, PretrainedTag, TimmStage

FILE = Path(__file__).with_name("catalog.json")

SIZE_KEYWORDS = ("dynamic_img_size", "dynamic_img_pad", "strict_img_size", "always_partition")
SHAPE_PRESERVING = {"num_classes", "global_pool", "in_chans", "img_size", "output_stride", *SIZE_KEYWORDS}
"""Model arguments that change neither the stages nor how map sizes follow from the image size."""


def find_architecture(name: str, model_args: Mapping[str, Any] | None = None) -> Architecture:
    """The architecture of a timm name (`resnet50`, `resnet50.a1_in1k`), built by default or with `model_args`."""
    architecture = current_name(name).partition(".")[0]
    model_args = model_args or {}
    if reshaping := {key: value for key, value in model_args.items() if key not in SHAPE_PRESERVING}:
        # Some of these, such as dropping the class token, are only valid together with global_pool.
        if "global_pool" in model_args:
            reshaping["global_pool"] = model_args["global_pool"]
        return probe_installed(architecture, json.dumps(reshaping))
    return read_architecture(architecture) if architecture in catalog()["models"] else probe_installed(architecture)


def current_name(name: str) -> str:
    """timm's present name for a model that was renamed."""
    return catalog()["renamed"].get(name, name)


@cache
def catalog() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


@cache
def read_architecture(name: str) -> Architecture:
    """Decode an architecture's row of the data file."""
    file = catalog()
    stages, build_args, multiple, rebuild_multiple, tags = file["models"][name]
    return Architecture(
        name,
        tuple(stage for run in file["stages"][stages] for stage in expand_run(*run)),
        file["build"][build_args],
        multiple,
        rebuild_multiple,
        {tag: read_tag(name, tag, row) for tag, row in tags.items()},
    )


def read_tag(architecture: str, tag: str, row: Any) -> PretrainedTag:
    """Decode a tag's row: the index of its data config, then its repository if that isn't the default one."""
    number, *repo = row if isinstance(row, list) else [row]
    data = dict(zip(DEFAULT_DATA_CONFIG, catalog()["pixels"][number], strict=True))
    return PretrainedTag(data, repo[0] if repo else f"timm/{architecture}.{tag}")


def expand_run(name: str, channels: int, stride: int, step: int, shift: int, count: int = 1) -> list[TimmStage]:
    """Stages that differ only in the number at the end of their names."""
    if count == 1:
        return [TimmStage(name, channels, stride, step, shift)]
    stem, _, first = name.rpartition(".")
    return [TimmStage(f"{stem}.{i}", channels, stride, step, shift) for i in range(int(first), int(first) + count)]


@cache
def probe_installed(architecture: str, model_args: str = "{}") -> Architecture:
    """Measure an architecture that is not in the data file, or is built in a non-default way, with the installed timm.

    `model_args` is JSON, so that calls can be cached.
    """
    if importlib.util.find_spec("timm") is None:
        raise unknown_model(architecture)
    from .probe import is_known, probe

    if not is_known(architecture):
        raise unknown_model(architecture)
    similar = [read_architecture(architecture)] if architecture in catalog()["models"] else []
    return probe(architecture, similar, **json.loads(model_args))


def unknown_model(name: str) -> ModelNotFound:
    return ModelNotFound(
        f"There is no folder and no timm model '{name}'.{did_you_mean(name, catalog()['models'])}"
        " Hub ids contain a slash; `backbone models --timm` lists timm's names."
    )


def list_architectures(pattern: str | None = None) -> list[Architecture]:
    """All architectures whose name (`convnext*`), or name with weights, matches a pattern."""
    architectures = map(read_architecture, sorted(catalog()["models"]))
    if pattern is None:
        return list(architectures)
    return [
        architecture
        for architecture in architectures
        if matches(architecture.name, pattern)
        or any(matches(f"{architecture.name}.{tag}", pattern) for tag in architecture.tags if tag)
    ]


def matches(name: str, pattern: str) -> bool:
    """A pattern without wildcards matches anywhere in the name."""
    return fnmatchcase(name, pattern) if set(pattern) & set("*?[") else pattern in name
