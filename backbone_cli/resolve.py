"""From a model's name to what it is: its files, family and configuration. Reads JSON only: no torch, no weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

from . import composites, registry
from .configs.base import BackboneConfig
from .errors import ModelNotFound, UnsupportedModel, UsageError
from .hub import Name, Repo, as_text, kind_of, open_repo

Config = TypeVar("Config", bound=BackboneConfig)


@dataclass(frozen=True)
class Resolved:
    """A model that was found and understood, and not loaded yet."""

    name: str
    repo: Repo
    family: registry.Family
    config: BackboneConfig
    prefixes: tuple[str, ...]
    """What may stand before the backbone's tensor names in the weight files."""
    inside: str = ""
    """The type of the model that the backbone is a part of, where it is one."""

    @property
    def prepared_by_timm(self) -> bool:
        """Whether its images are prepared as timm does it, which its configuration tells."""
        return self.family.model_type == "timm_backbone" and not self.inside

    def image_size(self) -> tuple[int, int]:
        """The size that the model's own processor brings images to; where that varies, the config's."""
        if self.prepared_by_timm:
            return self.config.default_size()
        from .images.plan import Plan, load_plan

        try:
            fixed = load_plan(self, Plan).fixed_size
        except UnsupportedModel:  # which concerns those who bring images
            fixed = None
        return fixed or self.config.default_size()


def resolve(
    model: Name, *, revision: str | None = None, offline: bool = False, timm: bool | None = None, **overrides: Any
) -> Resolved:
    """Find the model of this name; `overrides` win over what its config.json says.

    A name is that of a folder where there is one. Else it is the hub's if it has a slash, and timm's if it has none;
    `timm` says which of the two is meant.
    """
    name = as_text(model)
    repo, said = open_model(name, revision, offline, timm)
    composite = composites.find(said["model_type"])
    if composite:
        said = composite.backbone(said, lambda other: read_config(open_repo(other, offline=offline)))
    inside = composite.model_type if composite else ""
    family = registry.find(said["model_type"], inside=inside)
    config = family.config_class().from_dict(said, **overrides)
    prefixes = product(composite.prefixes if composite else ("",), family.prefixes)
    return Resolved(name, repo, family, config, tuple(map("".join, prefixes)), inside)


def resolve_for_files(name: str, revision: str | None, offline: bool) -> Resolved:
    """The same for the command line: on disk a map is (C, H, W), also where a config asks for tokens."""
    found = resolve(name, revision=revision, offline=offline)
    if hasattr(found.config, "reshape_hidden_states"):
        found.config.reshape_hidden_states = True
    return found


def open_model(name: str, revision: str | None, offline: bool, timm: bool | None) -> tuple[Repo, dict[str, Any]]:
    """The files of a model, and what its config.json says, or would say of one that timm has."""
    if timm or (timm is None and is_of_timm(name)):
        from .timm_weights import weights_of_timm

        repo = weights_of_timm(re.sub(r"^(hf[-_]hub:)?timm/", "", name), revision, offline)
        return repo, {"model_type": "timm_backbone", "backbone": name}
    repo = open_repo(re.sub(r"^(hf[-_]hub|local-dir):", "", name), revision, offline)
    return repo, read_config(repo)


def is_of_timm(name: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*", name) is not None and not kind_of(name)


def read_config(repo: Repo) -> dict[str, Any]:
    """What the config.json of a model says; it says of what type the model is."""
    said = repo.json("config.json")
    if said is None:
        raise ModelNotFound(f"'{repo.name}' has no config.json, so there is no telling what it is.")
    if isinstance(said.get("architecture"), str) and said.get("model_type", "timm_wrapper") == "timm_wrapper":
        return as_timm_backbone(said)
    if not isinstance(said.get("model_type"), str):
        raise UnsupportedModel(
            f"The config.json of '{repo.name}' has no model_type, so there is no telling what it is."
        )
    return said


def as_timm_backbone(said: dict[str, Any]) -> dict[str, Any]:
    """What timm's own config.json (or transformers' wrapper of a timm model) says, as that of a timm backbone."""
    pretrained_cfg, model_args = said.get("pretrained_cfg") or said, said.get("model_args") or {}
    return {
        "model_type": "timm_backbone",
        "backbone": said["architecture"],
        "pretrained_cfg": pretrained_cfg,
        "num_channels": model_args.pop("in_chans", (pretrained_cfg.get("input_size") or [3])[0]),
        "img_size": model_args.pop("img_size", None),
        "model_args": model_args or None,
    }


def load_config(
    name: Name, cls: type[Config], *, revision: str | None = None, offline: bool = False, **overrides: Any
) -> Config:
    """The configuration of a model, which must be of the family that `cls` stands for."""
    config = resolve(name, revision=revision, offline=offline, **overrides).config
    if not isinstance(config, cls):
        raise UsageError(f"'{name}' is a {config.model_type} model; use AutoConfig, or {type(config).__name__}.")
    return config
