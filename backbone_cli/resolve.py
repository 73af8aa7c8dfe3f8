"""From a model's name to what it is: its files, family and configuration. Reads JSON only: no torch, no weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

from . import composites, registry
from .configs.base import BackboneConfig
from .errors import ModelNotFound, UnsupportedModel, UsageError
from .hub import Repo, open_repo

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

    def image_size(self) -> tuple[int, int]:
        """The size that the model's own processor brings images to; where that varies, the config's."""
        from .images.plan import Plan, load_plan

        return load_plan(self, Plan).fixed_size or self.config.default_size()


def resolve(name: str, *, revision: str | None = None, offline: bool = False, **overrides: Any) -> Resolved:
    """Find the model of this name; `overrides` win over what its config.json says."""
    repo = open_repo(name, revision, offline)
    said = read_config(repo)
    composite = composites.find(said["model_type"])
    if composite:
        said = composite.backbone(said, lambda other: read_config(open_repo(other, offline=offline)))
    family = registry.find(said["model_type"], inside=composite.model_type if composite else "")
    config = family.config_class().from_dict(said, **overrides)
    prefixes = product(composite.prefixes if composite else ("",), family.prefixes)
    return Resolved(name, repo, family, config, tuple(map("".join, prefixes)))


def read_config(repo: Repo) -> dict[str, Any]:
    """What the config.json of a model says; it says of what type the model is."""
    said = repo.json("config.json")
    if said is None:
        raise ModelNotFound(f"'{repo.name}' has no config.json, so there is no telling what it is.")
    if not isinstance(said.get("model_type"), str):
        raise UnsupportedModel(
            f"The config.json of '{repo.name}' has no model_type, so there is no telling what it is."
        )
    return said


def load_config(
    name: str, cls: type[Config], *, revision: str | None = None, offline: bool = False, **overrides: Any
) -> Config:
    """The configuration of a model, which must be of the family that `cls` stands for."""
    config = resolve(name, revision=revision, offline=offline, **overrides).config
    if not isinstance(config, cls):
        raise UsageError(f"'{name}' is a {config.model_type} model; use AutoConfig, or {type(config).__name__}.")
    return config
