"""From a model's name to its files, family and configuration. Reads JSON only: no torch, no weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

from .composites import find_composite
from .configs.base import BackboneConfig
from .errors import ModelNotFound, UnsupportedModel, UsageError
from .hub import ModelName, Repo, model_name, open_repo, path_kind
from .registry import Family, find_family

Config = TypeVar("Config", bound=BackboneConfig)


@dataclass(frozen=True)
class Resolved:
    """A model whose files, family and configuration are known, but which is not loaded yet."""

    name: str
    repo: Repo
    family: Family
    config: BackboneConfig
    prefixes: tuple[str, ...]
    """Prefixes that the backbone's tensor names may have in the weight files."""
    composite_type: str = ""
    """The model type of the composite (detector, segmenter, ...) that holds the backbone, if any."""

    @property
    def uses_timm_processor(self) -> bool:
        """Whether images are processed as timm does, by the settings in the configuration."""
        return self.family.model_type == "timm_backbone" and not self.composite_type


def resolve(
    model: ModelName, *, revision: str | None = None, offline: bool = False, timm: bool | None = None, **overrides: Any
) -> Resolved:
    """Resolve a model's name; `overrides` win over its config.json.

    A name means a local folder if there is one. Otherwise names with a slash are Hub ids, and others are timm's;
    `timm` overrides that rule.
    """
    name = model_name(model)
    repo, raw_config = open_model(name, revision, offline, timm)
    composite = find_composite(raw_config["model_type"])
    if composite:
        raw_config = composite.backbone(raw_config, lambda other: read_config(open_repo(other, offline=offline)))
    composite_type = composite.model_type if composite else ""
    family = find_family(raw_config["model_type"], composite_type=composite_type)
    config = family.config_class().from_dict(raw_config, **overrides)
    prefixes = product(composite.prefixes if composite else ("",), family.prefixes)
    return Resolved(name, repo, family, config, tuple(map("".join, prefixes)), composite_type)


def resolve_for_files(name: str, revision: str | None, offline: bool) -> Resolved:
    """`resolve` for the command line: maps on disk are (C, H, W), even if the config asks for tokens."""
    resolved = resolve(name, revision=revision, offline=offline)
    if hasattr(resolved.config, "reshape_hidden_states"):
        resolved.config.reshape_hidden_states = True
    return resolved


def open_model(name: str, revision: str | None, offline: bool, timm: bool | None) -> tuple[Repo, dict[str, Any]]:
    """A model's files and raw config; for a timm model, the equivalent of a config.json."""
    if timm or (timm is None and is_timm_name(name)):
        from .timm.weights import open_timm_repo

        repo = open_timm_repo(re.sub(r"^(hf[-_]hub:)?timm/", "", name), revision, offline)
        return repo, {"model_type": "timm_backbone", "backbone": name}
    repo = open_repo(re.sub(r"^(hf[-_]hub|local-dir):", "", name), revision, offline)
    return repo, read_config(repo)


def is_timm_name(name: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*", name) is not None and not path_kind(name)


def read_config(repo: Repo) -> dict[str, Any]:
    """The contents of a model's config.json, which must name its model type."""
    raw_config = repo.json("config.json")
    if raw_config is None:
        raise ModelNotFound(f"'{repo.name}' has no config.json, so its model type is unknown.")
    if (
        isinstance(raw_config.get("architecture"), str)
        and raw_config.get("model_type", "timm_wrapper") == "timm_wrapper"
    ):
        return to_timm_backbone_config(raw_config)
    if not isinstance(raw_config.get("model_type"), str):
        raise UnsupportedModel(f"The config.json of '{repo.name}' has no model_type, so its model type is unknown.")
    return raw_config


def to_timm_backbone_config(raw_config: dict[str, Any]) -> dict[str, Any]:
    """timm's own config.json (or that of transformers' timm wrapper) in the form of a timm backbone's."""
    pretrained_cfg, model_args = raw_config.get("pretrained_cfg") or raw_config, raw_config.get("model_args") or {}
    return {
        "model_type": "timm_backbone",
        "backbone": raw_config["architecture"],
        "pretrained_cfg": pretrained_cfg,
        "num_channels": model_args.pop("in_chans", (pretrained_cfg.get("input_size") or [3])[0]),
        "img_size": model_args.pop("img_size", None),
        "model_args": model_args or None,
    }


def load_config(
    name: ModelName, cls: type[Config], *, revision: str | None = None, offline: bool = False, **overrides: Any
) -> Config:
    """A model's configuration, which must be an instance of `cls`."""
    config = resolve(name, revision=revision, offline=offline, **overrides).config
    if not isinstance(config, cls):
        raise UsageError(f"'{name}' is a {config.model_type} model; use AutoConfig, or {type(config).__name__}.")
    return config
